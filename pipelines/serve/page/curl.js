// The curl command that asks what the page asked.
import { token } from "./ask.js";

const quoted = (value) => `'${value.replaceAll("'", "'\\''")}'`;
const bearer = () => (token.value ? ' \\\n  -H "authorization: Bearer $MEDSPAN_TOKEN"' : "");

export function posted(path, body) {
  return `curl ${location.origin}${path} \\\n  -H 'content-type: application/json'${bearer()} \\\n  -d ${quoted(JSON.stringify(body, null, 1))}`;
}
export function uploaded(path, name, options) {
  const given = Object.keys(options).length ? ` \\\n  -F ${quoted(`options=${JSON.stringify(options)}`)}` : "";
  return `curl ${location.origin}${path}${bearer()} \\\n  -F ${quoted(`file=@${name}`)}${given}`;
}
