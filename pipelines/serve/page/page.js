// The page: a client of /v1/models and /v1/extract, and of nothing else.
import { draw } from "./marks.js";
import { SAMPLES } from "./samples.js";

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const make = (name, className, text) => {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};
const number = (n) => n.toLocaleString("en");
const many = (n, one, more) => `${number(n)} ${n === 1 ? one : more}`;

const PAUSE_MS = 450;
const NEUTRAL = { light: "#465a75", dark: "#a9bbd3", line: "solid" };
const state = {
  models: [], limits: null, pictures: false, token: sessionStorage.getItem("token"),
  answer: null,  // the last answer, and the text that it is about
  read: "", points: [], chosen: new Set(), least: 0, looks: new Map(),
};
const styles = new CSSStyleSheet();
document.adoptedStyleSheets = [styles];

// ---- asking

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (state.token) headers.authorization = `Bearer ${state.token}`;
  const answer = await fetch(path, { ...options, headers });
  const text = await answer.text();
  let body = null;
  try { body = JSON.parse(text); } catch { /* a proxy in between may say something else */ }
  if (answer.ok && body) return body;
  const error = new Error(body?.error?.message ?? `the server answered ${answer.status}`);
  error.code = body?.error?.code;
  error.details = body?.error?.details ?? [];
  error.after = +answer.headers.get("retry-after") || 0;
  throw error;
}

function body() {
  const asked = { model: $("#model").value, text: $("#text").value };
  if (state.chosen.size) asked.labels = [...state.chosen].sort();
  if (state.least) asked.threshold = state.least;
  return asked;
}

let asking = null, waiting = 0;
async function read() {
  clearTimeout(waiting);
  asking?.abort();  // the server lets go of what nobody waits for
  const text = $("#text").value, model = $("#model").value;
  if (!text.trim() || !model) { forget(); return; }
  const mine = asking = new AbortController();
  working(true);
  try {
    // Everything, without the filters: they are then at work at once, here.
    const answer = await ask("/v1/extract", {
      method: "POST", signal: mine.signal,
      headers: { "content-type": "application/json" }, body: JSON.stringify({ model, text }),
    });
    if (mine !== asking) return;
    show(answer, text);
    problem("");
  } catch (error) {
    if (mine !== asking || error.name === "AbortError") return;
    if (error.code === "unauthorized") return void askToken(read);
    if (error.code === "overloaded" || error.code === "rate_limited") waiting = setTimeout(read, 1000 * (error.after || 1));
    problem(error.code ? sentence(error) : "The server cannot be reached.");
  }
  if (mine === asking) working(false);
}
// A picture is read by the server; then its text is the note, and its entities are there already.
async function readPicture(file) {
  asking?.abort();
  clearTimeout(waiting);
  const mine = asking = new AbortController();
  problem("");
  working(true);
  try {
    const image = (await dataUrl(file)).split(",")[1] ?? "";
    const answer = await ask("/v1/extract", {
      method: "POST", signal: mine.signal, headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: $("#model").value, documents: [{ image }] }),
    });
    if (mine !== asking) return;
    const [told] = answer.documents;
    if (told.error) problem(`The picture cannot be read: ${told.error.message}.`);
    else {
      $("#text").value = told.text;
      size();
      show(answer, told.text);
    }
  } catch (error) {
    if (mine !== asking || error.name === "AbortError") return;
    if (error.code === "unauthorized") return void askToken(() => readPicture(file));
    problem(error.code ? sentence(error) : "The server cannot be reached.");
  }
  if (mine === asking) working(false);
}
const dataUrl = (file) => new Promise((done, failed) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result);
  reader.onerror = () => failed(reader.error);
  reader.readAsDataURL(file);
});
const isPicture = (file) => /^image\/|^application\/(pdf|dicom)$/.test(file.type) || /\.(pdf|dcm|tiff?)$/i.test(file.name);
async function open(file) {
  if (file.size > (state.limits?.body_bytes ?? Infinity) * (isPicture(file) ? 0.74 : 1)) problem("This file is larger than the server reads.");
  else if (!isPicture(file)) put(await file.text());
  else if (state.pictures) readPicture(file);
  else problem("This server reads no pictures: its pipeline file has no ocr section.");
}
function later() {
  clearTimeout(waiting);
  if (!$("#text").value.trim()) return void read();
  if ($("#live").checked) waiting = setTimeout(read, PAUSE_MS);
  if ($("#text").value !== state.read) $("#result").classList.toggle("stale", !!state.answer);
}
function sentence(error) {
  const said = error.message[0].toUpperCase() + error.message.slice(1);
  return [said, ...error.details.map((d) => `${d.where}: ${d.message}`)].join(". ") + ".";
}
function problem(text) {
  $("#problem").hidden = !text;
  $("#problem").textContent = text;
  if (text) $("#status").textContent = "";
}
function working(on) {
  const status = $("#status");
  $("#result").setAttribute("aria-busy", on);
  // Said late, so that a quick answer does not flicker.
  clearTimeout(working.timer);
  if (on) working.timer = setTimeout(() => { status.className = "status meta push working"; status.textContent = "reading"; }, 250);
  else status.className = "status meta push";
}
function forget() {
  asking = null;
  working(false);
  state.answer = null;
  state.read = "";
  problem("");
  render();
}

// ---- what came

function show(answer, text) {
  state.answer = answer;
  state.read = text;
  state.points = Array.from(text);
  const failed = answer.documents[0].steps.find((step) => step.error);
  render();
  const count = answer.documents[0].entities.length;
  $("#status").textContent = failed
    ? `${failed.model} failed: ${failed.error.message}`
    : `${many(count, "entity", "entities")} in ${time(answer.seconds)}${answer.documents[0].status === "truncated" ? ", truncated" : ""}`;
}
const time = (s) => (s < 1 ? `${Math.max(1, Math.round(s * 1000))} ms` : `${s.toFixed(1)} s`);
const entities = () => state.answer?.documents[0].entities ?? [];
const passes = (entity) =>
  (entity.score === null || entity.score >= state.least) && (!state.chosen.size || state.chosen.has(entity.label));

function look(label) {
  if (!state.looks.has(label)) {  // a label that the model did not announce
    const i = state.looks.size;
    state.looks.set(label, `k${i}`);
    styles.insertRule(rule(i, NEUTRAL), styles.cssRules.length);
  }
  return state.looks.get(label);
}
const rule = (i, { light, dark, line }) => `.k${i}{--ink-light:${light};--ink-dark:${dark};--line:${line}}`;

function render() {
  const found = entities();
  const result = $("#result");
  result.classList.remove("stale");
  hide();
  $("#sift").hidden = !found.length;
  $("#copy").hidden = !state.answer && !$("#text").value;
  legend(found);
  if (state.answer) draw($("#marked"), state.points, found, (entity) => look(entity.label));
  else {
    $("#marked").className = "text";
    $("#marked").replaceChildren(make("p", "empty", "Paste a note on the left, or take an example. What the model finds is marked here, and every mark says how sure it is and where it stands."));
    $("#status").textContent = "";
  }
  const lost = found.map((entity, i) => [entity, i]).filter(([entity]) => entity.start === null);
  $("#unplaced").hidden = !lost.length;
  $("#unplaced ul").replaceChildren(...lost.map(([entity, i]) => {
    const item = make("li", look(entity.label));
    item.dataset.e = i;
    item.tabIndex = -1;
    item.append(make("span", "", entity.text), make("b", "", entity.label));
    return item;
  }));
  const first = $("#p-text [data-e]");
  if (first) first.tabIndex = 0;
  sift();
}

function legend(found) {
  const counts = new Map();
  for (const { label } of found) counts.set(label, (counts.get(label) ?? 0) + 1);
  for (const label of state.chosen) if (!counts.has(label)) counts.set(label, 0);
  const chips = [...counts].sort(([a], [b]) => a.localeCompare(b)).map(([label, count]) => {
    const chip = make("button", `chip ${look(label)}`, label);
    chip.type = "button";
    chip.append(make("b", "", number(count)));
    chip.dataset.label = label;
    chip.setAttribute("aria-pressed", state.chosen.has(label));
    return chip;
  });
  if (state.chosen.size) {
    const all = make("button", "clear", "Show all");
    all.type = "button";
    all.dataset.all = "";
    chips.push(all);
  }
  const at = document.activeElement?.dataset?.label;
  $("#legend").replaceChildren(...chips);
  if (at !== undefined) chips.find((chip) => chip.dataset.label === at)?.focus();
}

// Everything that follows from the filters.
function sift() {
  const found = entities();
  for (const mark of $$("#p-text [data-e]")) mark.classList.toggle("off", !passes(found[mark.dataset.e]));
  $("#rows").replaceChildren(...found.flatMap((entity, i) => {
    if (!passes(entity)) return [];
    const row = make("tr", look(entity.label)), cell = make("td"), button = make("button", "", entity.text);
    button.type = "button";
    button.title = "Show it in the text";
    button.addEventListener("click", () => { tab("text"); point(i); });
    cell.append(button);
    row.append(
      make("td", "name", entity.label), cell, make("td", "r", entity.score === null ? "" : entity.score.toFixed(3)),
      make("td", "r", entity.start ?? ""), make("td", "r", entity.end ?? ""),
      make("td", `g-${entity.grounding}`, entity.grounding), make("td", "", entity.model));
    return [row];
  }));
  if (!$("#rows").children.length) {
    const cell = make("td", "meta", state.answer ? "Nothing to show." : "Nothing has been read yet.");
    cell.colSpan = 7;
    $("#rows").append(make("tr"));
    $("#rows tr").append(cell);
  }
  $("#json").textContent = state.answer ? JSON.stringify(sifted(), null, 2) : "";
  $("#curl").textContent = curl();
}
function sifted() {
  const [document_] = state.answer.documents;
  return { ...state.answer, documents: [{ ...document_, entities: document_.entities.filter(passes) }] };
}
function curl() {
  const quoted = JSON.stringify(body(), null, 1).replaceAll("'", "'\\''");
  const token = state.token ? ' \\\n  -H "authorization: Bearer $MEDSPAN_TOKEN"' : "";
  return `curl ${location.origin}/v1/extract \\\n  -H 'content-type: application/json'${token} \\\n  -d '${quoted}'`;
}

// ---- what lies under the pointer or the focus: every mark around it, the innermost first

const parts = (i) => $$(`#p-text [data-e="${i}"]`);
function tell(target) {
  const pop = $("#pop"), seen = [];
  for (let mark = target; mark; mark = mark.parentElement?.closest("#p-text [data-e]")) seen.push(mark);
  pop.replaceChildren(...seen.map((mark) => {
    const entity = entities()[mark.dataset.e], part = make("section"), head = make("h4"), list = make("dl");
    head.append(make("mark", look(entity.label), entity.label));
    const fact = (name, value) => {
      const cell = make("dd");
      cell.append(value);
      list.append(make("dt", "", name), cell);
      return cell;
    };
    if (entity.score !== null) {
      const meter = make("meter");
      meter.value = entity.score;
      fact("score", meter).append(entity.score.toFixed(3));
    }
    fact("grounding", entity.grounding).className = `g-${entity.grounding}`;
    fact("offsets", entity.start === null ? "not found in the text" : `${entity.start}–${entity.end}`);
    fact("model", entity.model);
    for (const [name, value] of Object.entries(entity.attributes)) fact(name, value);
    part.append(head, list);
    return part;
  }));
  for (const mark of seen) for (const part of parts(mark.dataset.e)) part.classList.add("hot");
  target.setAttribute("aria-describedby", "pop");
  pop.hidden = false;
  const place = target.getClientRects()[0], below = place.bottom + 10 + pop.offsetHeight < innerHeight;
  pop.style.left = `${Math.max(12, Math.min(place.left, innerWidth - pop.offsetWidth - 12))}px`;
  pop.style.top = `${below ? place.bottom + 10 : Math.max(8, place.top - pop.offsetHeight - 8)}px`;
}
function hide() {
  $("#pop").hidden = true;
  for (const mark of $$(".hot")) mark.classList.remove("hot");
  for (const mark of $$("[aria-describedby=pop]")) mark.removeAttribute("aria-describedby");
}
function over(event) {
  const mark = event.target.closest?.("#p-text [data-e]:not(.off)");
  hide();
  if (mark) tell(mark);
}
function point(i) {
  const [part] = parts(i);
  part?.scrollIntoView({ block: "center" });
  part?.focus({ preventScroll: true });
}
function step(by) {
  const stops = $$("#p-text [data-e]:not(.off):not(.i)");
  if (!stops.length) return;
  const at = stops.indexOf(document.activeElement);
  stops[Math.max(0, Math.min(at + by, stops.length - 1))].focus();
}

// ---- views, copying, the token

function tab(name, focus = false) {
  for (const button of $$("[role=tab]")) {
    const on = button.id === `t-${name}`;
    button.setAttribute("aria-selected", on);
    button.tabIndex = on ? 0 : -1;
    $(`#${button.getAttribute("aria-controls")}`).hidden = !on;
    if (on && focus) button.focus();
  }
  const now = $("#copy");
  now.textContent = `Copy ${{ text: "text", table: "as TSV", json: "JSON", curl: "curl" }[name]}`;
  now.dataset.view = name;
  hide();
}
const COPIED = {
  text: () => state.read,
  table: () => [["label", "text", "score", "start", "end", "grounding", "model"],
    ...entities().filter(passes).map((e) => [e.label, e.text.replace(/\s+/g, " "), e.score, e.start, e.end, e.grounding, e.model])]
    .map((row) => row.join("\t")).join("\n"),
  json: () => $("#json").textContent,
  curl: () => $("#curl").textContent,
};
async function copy() {
  const button = $("#copy"), text = COPIED[button.dataset.view](), said = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // a page that did not come by HTTPS or from this machine has no clipboard
    const area = make("textarea", "vh");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = "Copied";
  setTimeout(() => { if (button.textContent === "Copied") button.textContent = said; }, 1400);
}
function askToken(then) {
  const dialog = $("#ask");
  if (state.token) $("#ask-why").textContent = "The server does not know this token.";
  dialog.onclose = () => {
    state.token = $("#token").value.trim();
    $("#token").value = "";
    if (!state.token) return;
    sessionStorage.setItem("token", state.token);
    then();
  };
  if (!dialog.open) dialog.showModal();
}

// ---- beginning

async function begin() {
  try {
    const { models, limits, pictures } = await ask("/v1/models");
    Object.assign(state, { models, limits, pictures });
  } catch (error) {
    if (error.code === "unauthorized") return void askToken(begin);
    problem(error.code === "model_unavailable" ? "The model is being loaded; this page tries again." : "The server cannot be reached; this page tries again.");
    return void setTimeout(begin, 2000);
  }
  problem("");
  const select = $("#model");
  select.replaceChildren(...state.models.map((model) => {
    const option = make("option", "", model.kind === "pipeline" ? `${model.name} (pipeline)` : model.name);
    option.value = model.name;
    option.selected = model.default;
    return option;
  }));
  select.disabled = state.models.length < 2;
  if (state.pictures) {
    $("#file").accept = "text/*,.txt,image/*,application/pdf,.dcm";
    $("#text").placeholder = "Paste a note, or drop a text file, a picture or a PDF here.";
  }
  state.looks.clear();
  const drawn = new Map(state.models.flatMap((model) => model.labels).map((label) => [label.name, label]));
  styles.replaceSync([...drawn.values()].map((label, i) => {
    state.looks.set(label.name, `k${i}`);
    return rule(i, label);
  }).join("\n"));
  if (!$("#text").value) put(SAMPLES[0].text);
  else { size(); read(); }
}
function put(text) {
  $("#text").value = text;
  $("#text").scrollTop = 0;
  size();
  read();
}
function size() {
  const points = Array.from($("#text").value).length, most = state.limits?.characters ?? Infinity;
  $("#size").textContent = many(points, "character", "characters") + (points > most ? `; at most ${number(most)}` : "");
}

$("#samples").append(...SAMPLES.map(({ name, text }) => {
  const chip = make("button", "chip plain", name);
  chip.type = "button";
  chip.addEventListener("click", () => put(text));
  return chip;
}));
$("#text").addEventListener("input", () => { size(); later(); });
$("#go").addEventListener("click", read);
$("#clear-text").addEventListener("click", () => { put(""); $("#text").focus(); });
$("#model").addEventListener("change", read);
$("#copy").addEventListener("click", copy);
$("#legend").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if ("all" in button.dataset) state.chosen.clear();
  else state.chosen.delete(button.dataset.label) || state.chosen.add(button.dataset.label);
  legend(entities());
  sift();
});
$("#score").addEventListener("input", (event) => {
  state.least = +event.target.value;
  $("#least").textContent = state.least.toFixed(2);
  sift();
});
$("#names").addEventListener("change", (event) => document.documentElement.classList.toggle("bare", !event.target.checked));
for (const button of $$("[role=tab]")) button.addEventListener("click", () => tab(button.id.slice(2)));
$("[role=tablist]").addEventListener("keydown", (event) => {
  const tabs = $$("[role=tab]"), at = tabs.indexOf(document.activeElement);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  tab(tabs[(to + tabs.length) % tabs.length].id.slice(2), true);
});
const panel = $("#p-text");
for (const name of ["mouseover", "focusin", "click"]) panel.addEventListener(name, over);
for (const name of ["mouseleave", "focusout"]) panel.addEventListener(name, hide);
addEventListener("scroll", hide, { passive: true, capture: true });
addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); read(); }
  else if (event.key === "Escape") hide();
  else if ((event.key === "ArrowRight" || event.key === "ArrowLeft") && event.target.closest?.("#p-text")) {
    event.preventDefault();
    step(event.key === "ArrowRight" ? 1 : -1);
  }
});
const note = $(".note");
for (const name of ["dragenter", "dragover"]) {
  note.addEventListener(name, (event) => { event.preventDefault(); note.classList.add("over"); });
}
for (const name of ["dragleave", "drop"]) note.addEventListener(name, () => note.classList.remove("over"));
$("#open").addEventListener("click", () => $("#file").click());
$("#file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = "";  // so that the same file can be opened again
  if (file) open(file);
});
note.addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) open(file);
  else if (event.dataTransfer.getData("text/plain")) put(event.dataTransfer.getData("text/plain"));
});

tab("text");
render();
begin();
