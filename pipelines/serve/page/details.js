// What is known of an entity beside its label and place: status with its cues, codes, and what it is
// related to. What pipelines/markup/status_words.py and report.py say in the report.
import { make } from "./dom.js";
import { entities, state, told } from "./state.js";

// Words of a status, each with the class of reader.css that draws it.
const LOOKS = {
  negated: "negated", uncertain: "unsure", hypothetical: "unsure", conditional: "unsure",
  historical: "historical", family: "others", other: "others",
};
const LEGEND = {
  negated: "negated", unsure: "uncertain, hypothetical or conditional",
  historical: "historical", others: "of family or another person",
};
const one = (text) => text.replace(/\s+/g, " ").trim();
export const sectionName = (name) => name.replaceAll("_", " ");

// What an assertion says beyond "of the patient, now".
export function statusWords({ assertion }) {
  if (!assertion) return [];
  const words = Object.keys(LOOKS).filter((word) => assertion[word] === true);
  return assertion.experiencer === "patient" ? words : [...words, assertion.experiencer];
}
export const statusLooks = (words) => [...new Set(words.map((word) => LOOKS[word]))];

function because(word, { assertion }) {
  const attribute = word === assertion.experiencer ? "experiencer" : word;
  const cues = assertion.cues.filter((cue) => cue.attribute === attribute).map(
    ({ start, end, rule }) => `“${one(state.points.slice(start, end).join(""))}” (${rule})`);
  return cues.length ? `${word}: ${cues.join(", ")}` : word;
}
// Pairs of a kind of relation and the words at its other end, with their reading.
export function related(i) {
  return (told()?.relations ?? []).flatMap(({ head, tail, type, attributes }) => {
    const reading = Object.entries(attributes).map((pair) => pair.join(" ")).join(", ");
    if (head === i) return [[type, one(entities()[tail].text) + (reading && ` (${reading})`)]];
    return tail === i ? [[`${type} of`, one(entities()[head].text)]] : [];
  });
}
export const relatedTo = (i) => (told()?.relations ?? []).flatMap(
  ({ head, tail }) => (head === i ? [tail] : tail === i ? [head] : []));
export const codeWords = ({ system, code, term }) => `${system} ${code}, ${term}`;

// All of it as pairs of a name and words.
export function details(i) {
  const entity = entities()[i];
  return [
    ...statusWords(entity).map((word) => ["status", because(word, entity)]),
    ...entity.codes.map((code) => {
      const above = code.parents.length ? `; below ${code.parents.join(", ")}` : "";
      return ["code", `${codeWords(code)} (${code.how}, ${code.score.toFixed(2)}${above})`];
    }),
    ...related(i),
    ...(entity.section ? [["section", sectionName(entity.section)]] : []),
    ...(entity.attributes.field ? [["field", entity.attributes.field]] : []),
  ];
}

// A code as an element: a link where the server's configuration has a template for its vocabulary.
export function codeElement(code) {
  const link = state.vocabularies.find(({ name }) => name === code.system)?.link;
  if (!link) return make("span", "", codeWords(code));
  const made = make("a", "", codeWords(code));
  made.href = link.replaceAll("{code}", encodeURIComponent(code.code));
  made.target = "_blank";
  made.rel = "noopener noreferrer";
  return made;
}

// The answer with some of its entities only, by their places: relations name new places.
export function only(document, kept) {
  const place = new Map(kept.map((old, now) => [old, now]));
  const relations = document.relations.flatMap(({ head, tail, ...link }) =>
    (place.has(head) && place.has(tail) ? [{ head: place.get(head), tail: place.get(tail), ...link }] : []));
  return { ...document, entities: kept.map((i) => document.entities[i]), relations };
}

// How the statuses that occur are drawn; empty where there are none.
export function legendOfStatus() {
  const used = statusLooks(entities().flatMap(statusWords));
  return Object.entries(LEGEND).filter(([look]) => used.includes(look)).map(([look, meaning]) => {
    const made = make("span"), sample = make("span", `sample ${look}`, "Abc");
    sample.ariaHidden = true;
    made.append(sample, " ", meaning);
    return made;
  });
}
