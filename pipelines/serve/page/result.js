// The result: marked text, legend with filters, table, JSON and the equivalent curl command.
import { posted, uploaded } from "./curl.js";
import { changed as changedClean, cleanText, shown as showClean } from "./deidentify.js";
import { codeElement, codeWords, legendOfStatus, only, related, sectionName, statusWords } from "./details.js";
import { $, $$, button, make, many, number, time } from "./dom.js";
import { asText as layoutText, draw as drawLayout } from "./layout.js";
import { draw as drawMarks } from "./marks.js";
import { draw as drawPages } from "./sheets.js";
import { begin as beginReview, line as reviewedLine, reviewing } from "./review.js";
import { entities, look, passes, state, told } from "./state.js";
import { hide, point } from "./tips.js";
import { request } from "./wanted.js";

const HINT = "Paste a note on the left, or take an example. Entities are marked here, each with its score and position.";
const ROWS = 50, SHOWN = 20_000, DOUBTS = 12;

export function show(answer, text) {
  Object.assign(state, { answer, read: text, points: Array.from(text) });
  beginReview();
  changedClean();
  const failed = told().steps.find((step) => step.error);
  render();
  $("#status").textContent = failed
    ? `${failed.model} failed: ${failed.error.message}`
    : `${many(entities().length, "entity", "entities")} in ${time(answer.seconds)}${told().status === "truncated" ? ", truncated" : ""}`;
}

export function render() {
  const found = entities();
  $("#result").classList.remove("stale");
  hide();
  drawPages();
  said();
  shownTab("layout", drawLayout());
  $("#copy").hidden = !state.answer && !$("#text").value;
  legend();
  if (state.answer) drawMarks($("#marked"), state.points, found, { look, passes });
  else {
    $("#marked").className = "text";
    $("#marked").replaceChildren(make("p", "empty", HINT));
    $("#status").textContent = "";
  }
  const lost = found.map((entity, i) => [entity, i]).filter(([entity]) => entity.start === null);
  $("#unplaced").hidden = !lost.length;
  $("#unplaced ul").replaceChildren(...lost.map(([entity, i]) => {
    const item = make("li", look(entity.label));
    item.dataset.e = i;
    item.tabIndex = -1;
    item.append(make("span", "", entity.text), ", ", make("b", "", entity.label));
    return item;
  }));
  const first = $("#p-text [data-e]");
  if (first) first.tabIndex = 0;
  const doubts = problems(), hidden = doubts.length - DOUBTS;
  if (hidden > 0) doubts.splice(DOUBTS, hidden, many(hidden, "more problem", "more problems"));
  $("#doubts").hidden = !doubts.length;
  $("#doubts").replaceChildren(...doubts.map((problem) => make("li", "", problem)));
  const statuses = legendOfStatus(), sections = (told()?.sections ?? []).map(({ name }) => sectionName(name));
  $("#statuses").hidden = !statuses.length;
  $("#statuses span.all").replaceChildren(...statuses);
  $("#sections").hidden = !sections.length;
  $("#sections").textContent = `Sections: ${[...new Set(sections)].join(" · ")}`;
  sift();
}

// What was left out of the document or is doubtful, then what each model reports.
const problems = () => [
  ...(told()?.problems ?? []),
  ...(told()?.steps ?? []).flatMap(({ model, problems }) => problems.map((problem) => `${model}: ${problem}`)),
];

// The output of language models, while it streams and afterwards.
export function said() {
  const printed = state.printed || (told()?.steps ?? []).flatMap((step) => step.completion ?? []).join("\n\n");
  $("#said").textContent = printed;
  shownTab("said", printed);
}
// Show or hide a tab; the text takes the place of a hidden one.
function shownTab(name, on) {
  $(`#t-${name}`).hidden = !on;
  if (!on && $(`#t-${name}`).ariaSelected === "true") tab("text");
}

export function legend() {
  const counts = new Map();
  for (const { label, gone } of entities()) if (!gone) counts.set(label, (counts.get(label) ?? 0) + 1);
  for (const label of state.chosen) if (!counts.has(label)) counts.set(label, 0);
  $("#sift").hidden = !counts.size;
  const chips = [...counts].sort(([a], [b]) => a.localeCompare(b)).map(([label, count]) => {
    const chip = button(`chip ${look(label)}`, label);
    chip.append(" ", make("b", "", number(count)));
    chip.dataset.label = label;
    chip.setAttribute("aria-pressed", state.chosen.has(label));
    return chip;
  });
  if (state.chosen.size) {
    const all = button("clear", "Show all");
    all.dataset.all = "";
    chips.push(all);
  }
  const at = document.activeElement?.dataset?.label;
  $("#legend").replaceChildren(...chips);
  if (at !== undefined) chips.find((chip) => chip.dataset.label === at)?.focus();
}

// Update everything that depends on the filters.
export function sift() {
  const found = entities();
  for (const mark of $$(":is(#p-text, #sheets) [data-e]")) mark.classList.toggle("off", !passes(found[mark.dataset.e]));
  fill();
}
// Render only the visible view; others are rendered when they are shown.
export function fill() {
  const view = $("#copy").dataset.view;
  if (view === "table") table();
  if (view === "json") begin($("#json"), json(SHOWN / 100));  // an entity takes at least this many characters
  if (view === "curl") begin($("#curl"), curl());
  if (view === "clean") showClean();
}
// Only the start of a text: laying out megabytes takes a browser seconds.
function begin(pre, text) {
  pre.textContent = text.slice(0, SHOWN);
  const note = pre.nextElementSibling;
  note.hidden = text.length <= SHOWN;
  note.textContent = `Only the first ${number(SHOWN)} characters are shown. Copy includes all.`;
}

// ---- the table; rows are added while scrolling

let listed = [];
// Columns that are shown where some entity has something in them.
const FURTHER = {
  status: (entity) => statusWords(entity).join(", "),
  codes: (entity) => entity.codes.map(codeWords).join("; "),
  related: (_, i) => related(i).map((pair) => pair.join(": ")).join("; "),
  review: ({ verdict, was }) => (verdict ? verdict + (was ? `, was ${was}` : "") : ""),
};
function table() {
  for (const [name, words] of Object.entries(FURTHER)) {
    $("#p-table table").classList.toggle(`no-${name}`, !entities().some(words));
  }
  listed = entities().flatMap((entity, i) => (passes(entity) ? [i] : []));
  $("#rows").replaceChildren();
  rows();
  if (listed.length) return;
  const cell = make("td", "meta", state.answer ? "No entities." : "No result yet."), line = make("tr");
  cell.colSpan = 11;
  line.append(cell);
  $("#rows").append(line);
}
function rows() {
  const from = $("#rows").children.length, found = entities();
  $("#rows").append(...listed.slice(from, from + ROWS).map((i) => row(found[i], i)));
  const left = listed.length - from - ROWS;
  $("#more").hidden = left <= 0;
  $("#more").textContent = `${many(left, "more row", "more rows")}`;
  watcher.unobserve($("#more"));  // so that the observer fires again if it is still in view
  if (left > 0) watcher.observe($("#more"));
}
const watcher = new IntersectionObserver(([{ isIntersecting }]) => { if (isIntersecting) rows(); },
  { rootMargin: "50% 0px", scrollMargin: "50% 0px" });
function row(entity, i) {
  const made = make("tr", look(entity.label)), cell = make("td"), words = button("", entity.text);
  words.title = "Show it in the text";
  words.addEventListener("click", () => { tab("text"); point(i); });
  cell.append(words);
  made.append(
    make("td", "name", entity.label), cell, make("td", "r score", entity.score === null ? "" : entity.score.toFixed(3)),
    make("td", "r start", entity.start ?? ""), make("td", "r end", entity.end ?? ""));
  for (const [name, words] of Object.entries(FURTHER)) {
    const further = make("td", `f-${name}`, name === "codes" ? undefined : words(entity, i));
    if (name === "codes") further.append(...entity.codes.map(codeElement));
    made.append(further);
  }
  made.append(make("td", `g-${entity.grounding}`, entity.grounding), make("td", "model", entity.model));
  return made;
}
// The filtered response, with at most `most` entities.
function json(most) {
  if (!state.answer) return "";
  if (reviewing()) return JSON.stringify(reviewedLine(), null, 2);
  const pages = told().pages.map(({ picture, ...page }) => ({ ...page, picture: picture && "…" }));
  const kept = [...entities().keys()].filter((i) => passes(entities()[i])).slice(0, most);
  return JSON.stringify({ ...state.answer, documents: [{ ...only(told(), kept), pages }] }, null, 2);
}
function curl() {
  const { text, documents, ...options } = request(true);
  if (state.file && told()?.pages.length) return uploaded("/v1/extract/upload", state.file.name, options);
  return posted("/v1/extract", { ...options, ...(documents ? { documents } : { text }) });
}

// ---- views and copying

const NAMES = { text: "text", table: "as TSV", layout: "as TSV", clean: "clean text", json: "JSON", curl: "curl", said: "text" };
export function tab(name, focus = false) {
  for (const one of $$("[role=tab]")) {
    const on = one.id === `t-${name}`;
    one.setAttribute("aria-selected", on);
    one.tabIndex = on ? 0 : -1;
    $(`#${one.getAttribute("aria-controls")}`).hidden = !on;
    if (on && focus) one.focus();
  }
  $("#copy").textContent = `Copy ${NAMES[name]}`;
  $("#copy").dataset.view = name;
  fill();
  hide();
}
const COPIED = {
  text: () => state.read,
  table: () => [["label", "text", "score", "start", "end", "grounding", "model", ...Object.keys(FURTHER)],
    ...entities().flatMap((e, i) => (passes(e) ? [[e.label, e.text.replace(/\s+/g, " "), e.score, e.start, e.end, e.grounding, e.model,
      ...Object.values(FURTHER).map((words) => words(e, i))]] : []))]
    .map((cells) => cells.join("\t")).join("\n"),
  layout: layoutText,
  clean: cleanText,
  json: () => json(),
  curl,
  said: () => $("#said").textContent,
};
async function copy() {
  const copier = $("#copy"), text = COPIED[copier.dataset.view](), before = copier.textContent;
  if (!text) return;  // nothing comes out
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // the clipboard needs HTTPS or localhost
    const area = make("textarea", "vh");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    copier.focus();
  }
  copier.textContent = "Copied";
  setTimeout(() => { if (copier.textContent === "Copied") copier.textContent = before; }, 1400);
}

$("#copy").addEventListener("click", copy);
for (const one of $$("[role=tab]")) one.addEventListener("click", () => tab(one.id.slice(2)));
$("[role=tablist]").addEventListener("keydown", (event) => {
  const tabs = $$("[role=tab]:not([hidden])"), at = tabs.indexOf(document.activeElement);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  tab(tabs[(to + tabs.length) % tabs.length].id.slice(2), true);
});
