// Requests to the server: responses, event streams and the bearer token.
import { $ } from "./dom.js";

export const token = {
  value: sessionStorage.getItem("token"),
  // Ask the user for a token, then retry.
  ask(then) {
    const dialog = $("#ask");
    if (this.value) $("#ask-why").textContent = "The server does not know this token.";
    dialog.onclose = () => {
      this.value = $("#token").value.trim();
      $("#token").value = "";
      if (!this.value) return;
      sessionStorage.setItem("token", this.value);
      then();
    };
    if (!dialog.open) dialog.showModal();
  },
};

async function send(path, content, signal) {
  const headers = token.value ? { authorization: `Bearer ${token.value}` } : {};
  const form = content instanceof FormData;  // the browser writes its type, with the boundary
  if (content && !form) headers["content-type"] = "application/json";
  const body = content && !form ? JSON.stringify(content) : content;
  const answer = await fetch(path, { signal, headers, method: content ? "POST" : "GET", body });
  if (answer.ok) return answer;
  let said = null;
  try { said = await answer.json(); } catch { /* a proxy may have answered something else */ }
  throw problem(said, `the server answered ${answer.status}`, +answer.headers.get("retry-after") || 0);
}
function problem(said, otherwise, after = 0) {
  const error = new Error(said?.error?.message ?? otherwise);
  return Object.assign(error, { code: said?.error?.code, details: said?.error?.details ?? [], after });
}

export async function ask(path, content, signal) {
  return (await send(path, content, signal)).json();
}

// The response of /v1/extract, assembled from a stream; `onText` is called with each piece of text,
// `onPages` with the number of pages that OCR has read.
export async function listen(content, signal, onText, onPages) {
  const answer = await send("/v1/extract/stream", content, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const whole = { documents: [] };
  for (let left = ""; ;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("the response was interrupted");
    const blocks = (left + value).split("\n\n");
    left = blocks.pop();
    for (const block of blocks) {
      const [, event, data] = /^event: (.*)\ndata: (.*)$/.exec(block) ?? [];
      if (!event) continue;  // keep-alive comment
      const said = JSON.parse(data);
      if (event === "text") onText(said);
      else if (event === "pages") onPages(said.pages);
      else if (event === "document") whole.documents.push(said);
      else if (event === "error") throw problem(said);
      else Object.assign(whole, said);
      if (event === "done") return whole;
    }
  }
}

export function sentence(error) {
  if (!error.code) return "The server cannot be reached.";
  const said = error.message[0].toUpperCase() + error.message.slice(1);
  return [said, ...error.details.map((d) => `${d.where}: ${d.message}`)].join(". ") + ".";
}
