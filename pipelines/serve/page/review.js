// Review of what was found: accept, reject, relabel, add. Decisions stay in this tab, as fields of
// the entities (`verdict`, `was`: the label before, `gone`: added and taken back), until they are
// exported as a line of JSONL that `medspan evaluate --gold` reads.
import { $, $$, button, make, many } from "./dom.js";
import { beyond, inView, select, selected, update, updateAll } from "./marks.js";
import { fill, legend, tab } from "./result.js";
import { entities, look, passes, state } from "./state.js";
import { hide, point } from "./tips.js";
import { model } from "./wanted.js";

const DIGITS = 9;
const KEPT = ["accepted", "added"];
let current = null;  // the mark that was in focus last
let span = null;  // the words that are selected, in code points
let picking = false;  // whether arrows select words
let history = [];  // each a list of [entity, its fields before]
let exported = true;

export const reviewing = () => !$("#reviewer").hidden;

// A new answer: nothing of it is decided.
export function begin() {
  leave();
  current = span = null;
  history = [];
  exported = true;
  $("#review").hidden = !entities().length && !state.read;
}
export function leave() { if (reviewing()) toggle(); }
function toggle() {
  const on = !reviewing();
  $("#reviewer").hidden = $("#review-hints").hidden = !on;
  $("#review").setAttribute("aria-pressed", on);
  $("#text").readOnly = on;
  for (const one of [$("#go"), $("#clear-text"), $("#open"), ...$$("#samples button")]) one.disabled = on;
  $("#model").disabled = on || state.models.length < 2;
  picking = false;
  hide();
  fill();
  if (!on) return;
  tab("text");
  labels();
  say();
  const first = entities().findIndex((entity) => entity.start !== null && passes(entity));
  if (first >= 0) point(first);
  else $("#p-text").focus();
}

// ---- decisions

function change(some, fields, words) {
  history.push(some.map((i) => [i, { ...entities()[i] }]));
  for (const i of some) Object.assign(entities()[i], fields);
  exported = false;
  drawn(some);
  if ("label" in fields || "gone" in fields) counted();
  say(words);
}
function drawn(some) {
  if (some.length === 1) update(entities()[some[0]], some[0]);
  else updateAll();
  fill();
}
function counted() {
  legend();
  labels();
}
const named = ({ text, label }) => `“${text.replace(/\s+/g, " ")}”, ${label}`;

function judge(verdict) {
  if (current === null) return void say("Choose a mark first.");
  const entity = entities()[current];
  if (verdict === "rejected" && entity.verdict === "added") change([current], { gone: true }, `${named(entity)}: taken back.`);
  else change([current], { verdict: KEPT.includes(entity.verdict) && verdict === "accepted" ? entity.verdict : verdict }, `${named(entity)}: ${verdict}.`);
  const next = beyond(current, 1, entities()) ?? (entity.gone ? undefined : current);
  if (next === undefined) $("#p-text").focus();
  else point(next);
}
// Give the selected words a label, or the current mark another one.
function label(name) {
  if (!name) return void say("A label has a name.");
  if (span) return void add(span, name);
  if (current === null) return void say("Select words, or choose a mark.");
  const entity = entities()[current];
  if (entity.label === name && entity.verdict) return;
  const was = (entity.was ?? entity.label) === name ? undefined : entity.was ?? entity.label;
  const fields = entity.verdict === "added" ? { label: name } : { label: name, was, verdict: "accepted" };
  change([current], fields, `“${entity.text}”: ${name}.`);
  point(current);
}
function add([from, to], name) {
  let [start, end] = [from, to];
  const blank = (at) => /\s/u.test(state.points[at]);
  while (start < end && blank(start)) start += 1;
  while (end > start && blank(end - 1)) end -= 1;
  if (start === end) return void say("Select words first.");
  const same = entities().findIndex((one) => one.start === start && one.end === end && one.label === name && !one.gone);
  release();
  if (same >= 0) {
    current = same;
    return void judge("accepted");
  }
  const made = {
    label: name, text: state.points.slice(start, end).join(""), start, end, score: null, grounding: "exact", boxes: [],
    ocr_confidence: null, attributes: {}, model: "you", section: null, assertion: null, codes: [],
  };
  const i = entities().push({ ...made, gone: true }) - 1;  // undone, it is gone again
  change([i], { gone: false, verdict: "added" }, `${named(made)}: added.`);
  current = i;
  point(i);
}
function undo() {
  const last = history.pop();
  if (!last) return;
  for (const [i, before] of last) {
    for (const key of Object.keys(entities()[i])) if (!(key in before)) delete entities()[i][key];
    Object.assign(entities()[i], before);
  }
  drawn(last.map(([i]) => i));
  counted();
  say("Undone.");
  if (!entities()[last[0][0]].gone) point(last[0][0]);
}
const open = () => entities().flatMap((one, i) => (one.verdict || one.start === null || !passes(one) ? [] : [i]));

// ---- what is shown

// The labels of this note, then the others that the model knows.
function names() {
  const here = entities().filter(({ gone }) => !gone).map((one) => one.label);
  const known = (model()?.labels ?? []).map(({ name }) => name);
  return [...new Set([...here.sort(), ...known.sort()])];
}
function labels() {
  const all = names();
  $("#review-labels").replaceChildren(...all.slice(0, DIGITS).map((name, at) => {
    const made = button(`chip ${look(name)}`, name);
    made.append(make("kbd", "", at + 1));
    made.dataset.label = name;
    return made;
  }));
  $("#known-labels").replaceChildren(...all.map((name) => {
    const option = make("option");
    option.value = name;
    return option;
  }));
}
function say(words = "") {
  const left = open().length;
  const decided = entities().filter(({ verdict, gone }) => verdict && !gone).length;
  $("#review-said").textContent = `${words} ${many(decided, "decision", "decisions")}, ${left ? `${left} undecided` : "nothing undecided"}.`.trim();
  $("#undo").disabled = !history.length;
  $("#accept-rest").disabled = !left;
}

// ---- export

export function line() {
  const kept = entities().filter(({ verdict, gone, start }) => !gone && start !== null && KEPT.includes(verdict));
  const name = $("#review-name").value.trim();
  return {
    id: $("#review-id").value.trim() || "note",
    text: state.read,
    ...(name ? { annotator: name } : {}),
    entities: kept.sort((a, b) => a.start - b.start || b.end - a.end).map(
      ({ start, end, label, text }) => ({ start, end, label, text })),
  };
}
function download() {
  const blob = new Blob([`${JSON.stringify(line())}\n`], { type: "application/jsonl" });
  const link = make("a");
  link.href = URL.createObjectURL(blob);
  link.download = "reviewed.jsonl";  // the document's id may be a patient's
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  exported = true;
  const left = open().length;
  say(left ? "Exported without what is undecided." : "Exported.");
}

// ---- selecting words with the keyboard

const word = (at) => /[\p{L}\p{M}\p{N}]/u.test(state.points[at] ?? "");
function wordFrom(at) {
  let start = at;
  while (start < state.points.length && !word(start)) start += 1;
  let end = start;
  while (word(end)) end += 1;
  return start < end ? [start, end] : null;
}
function wordBefore(at) {
  let end = at;
  while (end > 0 && !word(end - 1)) end -= 1;
  let start = end;
  while (start > 0 && word(start - 1)) start -= 1;
  return start < end ? [start, end] : null;
}
function pick() {
  const mark = document.activeElement.closest?.("#p-text mark");
  const next = wordFrom(mark ? entities()[mark.dataset.e].end : inView($("#p-text")));
  if (!next) return;
  picking = true;
  current = null;
  $("#p-text").focus({ preventScroll: true });
  show(next);
}
function show(place) {
  span = place;
  select(...place);
  say(`Selected: “${state.points.slice(...place).join("").replace(/\s+/g, " ")}”.`);
}
function release() {
  picking = false;
  span = null;
  getSelection().removeAllRanges();
}
// Keys while words are being selected; whether the key was one of them.
function move(event) {
  const { key, shiftKey } = event, [start, end] = span;
  if (key === "Escape") release();
  else if (key === "Enter") $("#review-label").focus();
  else if (key === "ArrowRight") {
    const next = wordFrom(end);
    if (next) show(shiftKey ? [start, next[1]] : next);
  } else if (key === "ArrowLeft") {
    const before = shiftKey ? wordBefore(wordBefore(end)[0]) : wordBefore(start);
    if (before && (!shiftKey || before[1] > start)) show(shiftKey ? [start, before[1]] : before);
  } else if (shiftKey && key === "ArrowDown" && end < state.points.length) show([start, end + 1]);
  else if (shiftKey && key === "ArrowUp" && end - start > 1) show([start, end - 1]);
  else return false;
  return true;
}

// ---- user actions

$("#review").addEventListener("click", toggle);
$("#accept").addEventListener("click", () => judge("accepted"));
$("#reject").addEventListener("click", () => judge("rejected"));
$("#undo").addEventListener("click", undo);
$("#export").addEventListener("click", download);
$("#accept-rest").addEventListener("click", () => {
  const some = open();
  if (some.length) change(some, { verdict: "accepted" }, `${many(some.length, "mark", "marks")} accepted.`);
});
$("#review-labels").addEventListener("click", (event) => {
  const chip = event.target.closest("button");
  if (chip) label(chip.dataset.label);
});
// So that a click on a button leaves the selected words selected.
$("#reviewer").addEventListener("mousedown", (event) => { if (event.target.closest("button")) event.preventDefault(); });
$("#review-label").addEventListener("keydown", (event) => {
  if (event.key === "Escape") return void (current === null ? $("#p-text").focus() : point(current));
  if (event.key !== "Enter" || event.ctrlKey) return;
  event.preventDefault();
  label(event.target.value.trim());
  event.target.value = "";
});
$("#p-text").addEventListener("focusin", (event) => {
  const mark = event.target.closest("[data-e]");
  if (mark) current = entities()[mark.dataset.e].start === null ? null : +mark.dataset.e;
});
document.addEventListener("selectionchange", () => {
  if (!reviewing() || picking) return;
  const now = selected();
  if (now || $("#marked").contains(getSelection().anchorNode)) span = now;
});
addEventListener("keydown", (event) => {
  if (!reviewing() || event.ctrlKey || event.metaKey || event.altKey || !event.target.closest?.("#p-text")) return;
  const known = { a: () => judge("accepted"), r: () => judge("rejected"), z: undo, n: pick, l: () => $("#review-label").focus() };
  const digit = /^[1-9]$/.test(event.key) ? $$("#review-labels button")[event.key - 1] : null;
  const act = digit ? () => label(digit.dataset.label) : known[event.key.toLowerCase()];
  if (picking && move(event)) event.stopImmediatePropagation();
  else if (act) act();
  else return;
  event.preventDefault();
}, { capture: true });
addEventListener("beforeunload", (event) => { if (!exported) event.preventDefault(); });
