// Entry point of the page, which uses only the public API.
import { ask, listen, sentence, token } from "./ask.js";
import { changed as changedClean } from "./deidentify.js";
import { $, button, make, many, number } from "./dom.js";
import { opened } from "./files.js";
import { legend, render, said, show, sift, tab } from "./result.js";
import { leave, reviewing } from "./review.js";
import { SAMPLES } from "./samples.js";
import { learn, state, told } from "./state.js";
import { model, offer, request } from "./wanted.js";

const PAUSE_MS = 450;

// ---- extraction

let asking = null, waiting = 0, tries = 0, retry = null;
function stop() {
  clearTimeout(waiting);
  asking?.abort();  // the server cancels the work
  asking = retry = null;
}
async function read() {
  if (reviewing()) return;  // what was decided is of this answer
  stop();
  tries = 0;
  const text = $("#text").value;
  if (state.file) return void readFile(state.file);
  if (!text.trim() || !$("#model").value) { forget(); return; }
  // Request everything without filters; the page applies them itself, without another request.
  const asked = request(), again = () => attempt(asked, again, { text });
  await again();
}
// The server reads an image, or markup; its text becomes the note, and its entities are already
// known.
async function readFile(file) {
  stop();
  tries = 0;
  problem("");
  const { text, documents, ...options } = request();
  let asked;
  if ((await opened(file)).picture) {
    const image = (await dataUrl(file)).split(",")[1] ?? "";
    asked = { ...options, documents: [{ image }], page_pictures: true };
  } else {
    asked = new FormData();
    asked.append("file", file, "file");  // its name may be a patient's
    asked.append("options", JSON.stringify(options));
  }
  const again = () => attempt(asked, again, { file });
  await again();
}
async function attempt(asked, again, { text, file }) {
  const mine = asking = new AbortController();
  retry = null;
  working(asked instanceof FormData ? "reading the file" : file ? "reading the pages" : "reading");
  const onPages = (pages) => { working.on = `reading the pages, ${many(pages, "page", "pages")} done`; };
  try {
    const answer = await answered(asked, mine, onPages);
    if (mine !== asking) return;
    const [one] = answer.documents;
    tries = 0;
    if (one.error) problem(`The file cannot be read: ${one.error.message}.`);
    else {
      state.file = file ?? null;
      const seen = text ?? one.text ?? await file.text();  // null: the file as it is
      if (file) { $("#text").value = seen; size(); }
      show(answer, seen);
      problem("");
    }
  } catch (error) {
    if (mine !== asking || error.name === "AbortError") return;
    working();
    if (error.code === "unauthorized") return void token.ask(again);
    const after = comesAgain(error);
    retry = after ? again : null;
    if (retry) waiting = setTimeout(retry, 1000 * after);
    problem(sentence(error) + (after ? ` This page tries again in ${many(after, "second", "seconds")}.` : ""));
    $("#cancel").hidden = !after;
    return;
  }
  if (mine === asking) working();
}
// Seconds until a retry: the server's Retry-After, or exponential backoff if it is unreachable.
function comesAgain({ code, after }) {
  if (code && !["overloaded", "rate_limited", "model_unavailable"].includes(code)) return 0;
  tries += 1;
  return Math.max(after || 0, code ? 1 : 0, code && after ? 0 : Math.min(15, 2 ** (tries - 1)));
}
// Show the output of language models while it is generated.
async function answered(asked, mine, onPages) {
  state.printed = "";
  if (asked instanceof FormData) return ask("/v1/extract/upload", asked, mine.signal);
  if (model()?.guideline === "labels" && !asked.page_pictures) return ask("/v1/extract", asked, mine.signal);
  const windows = new Map();
  const answer = await listen(asked, mine.signal, ({ model: name, window, text }) => {
    if (mine !== asking) return;
    windows.set(`${name} ${window}`, (windows.get(`${name} ${window}`) ?? "") + text);
    state.printed = [...windows.values()].join("\n\n");
    said();
  }, onPages);
  if (mine === asking && model()?.prompts && $("#t-text").ariaSelected === "true") tab("said");
  return answer;
}
const dataUrl = (file) => new Promise((done, failed) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result);
  reader.onerror = () => failed(reader.error);
  reader.readAsDataURL(file);
});
async function open(file) {
  if (reviewing()) return;
  const most = state.limits?.body_bytes ?? Infinity;
  const large = `This file is too large: the server accepts requests of up to ${number(most / 1e6)} MB.`;
  if (!file.size) return void problem("This file is empty.");
  if (file.size > most) return void problem(large);
  const { text, picture } = await opened(file);
  if (text !== undefined) put(text);
  else if (!picture) readFile(file);
  else if (!state.pictures) problem("This server cannot read images: its pipeline file has no ocr section.");
  else if (file.size > most * 0.74) problem(large);  // base64 takes four bytes for three
  else readFile(file);
}
function later() {
  clearTimeout(waiting);
  if (!$("#text").value.trim()) return void read();
  if ($("#live").checked) waiting = setTimeout(read, PAUSE_MS);
  if ($("#text").value !== state.read) $("#result").classList.toggle("stale", !!state.answer);
}
function problem(text) {
  $("#problem").hidden = !text;
  $("#problem").textContent = text;
  if (text) $("#status").textContent = "";
}
// Show the current activity, with elapsed seconds once it takes a while; hide it without `what`.
function working(what = "") {
  const status = $("#status");
  $("#result").setAttribute("aria-busy", !!what);
  clearTimeout(working.begins);
  clearInterval(working.goesOn);
  $("#cancel").hidden = true;
  if (!what) return void (status.className = "status meta push");
  const began = Date.now();
  working.on = what;
  // Delayed, so that a fast response does not flicker.
  working.begins = setTimeout(() => {
    status.className = "status meta push working";
    status.textContent = what;
    $("#cancel").hidden = false;
  }, 250);
  // Seldom, and seconds in tens, since screen readers announce each update.
  working.goesOn = setInterval(() => {
    const seconds = Math.floor((Date.now() - began) / 10_000) * 10;
    const words = seconds ? `${working.on}, ${seconds} s so far` : working.on;
    if (status.textContent !== words) status.textContent = words;
  }, 2000);
}
function forget() {
  asking = null;
  working();
  Object.assign(state, { answer: null, read: "", printed: "", file: null });
  problem("");
  render();
  changedClean();
}
function put(text) {
  leave();
  state.file = null;
  if (told()) told().stated_sections.length = 0;  // those of another note
  $("#text").value = text;
  $("#text").scrollTop = 0;
  size();
  read();
}
function size() {
  const text = $("#text").value, most = state.limits?.characters ?? Infinity;
  const points = text.length - (text.match(/[\ud800-\udbff][\udc00-\udfff]/g)?.length ?? 0);
  $("#size").textContent = many(points, "character", "characters") + (points > most ? `; at most ${number(most)}` : "");
}

// ---- start

async function begin() {
  try {
    const { models, guidelines, limits, pictures, deidentify } = await ask("/v1/models");
    const { vocabularies } = await ask("/v1/vocabularies");
    Object.assign(state, { models, guidelines, limits, pictures, deidentify, vocabularies });
  } catch (error) {
    if (error.code === "unauthorized") return void token.ask(begin);
    problem(error.code === "model_unavailable" ? "The model is loading; this page retries." : "The server cannot be reached; this page retries.");
    return void setTimeout(begin, 2000);
  }
  problem("");
  const select = $("#model");
  select.replaceChildren(...state.models.map((one) => {
    const option = make("option", "", one.kind === "pipeline" ? `${one.name} (pipeline)` : one.name);
    option.value = one.name;
    option.selected = one.default;
    return option;
  }));
  select.disabled = state.models.length < 2;
  if (state.pictures) {
    $("#file").accept = "text/*,.txt,.docx,image/*,application/pdf,.dcm";
    $("#text").placeholder = "Paste a note, or drop a text file, an image or a PDF here.";
  }
  learn([...state.models, ...state.guidelines].flatMap((one) => one.labels));
  learn(state.deidentify?.categories ?? []);
  changedClean();
  offer();
  if (!$("#text").value) put(SAMPLES[0].text);
  else { size(); read(); }
}

// ---- user actions

function choose(label) {
  if (label === undefined) state.chosen.clear();
  else state.chosen.delete(label) || state.chosen.add(label);
  legend();
  offer();
  sift();
}
for (const chips of [$("#legend"), $("#all-labels")]) {
  chips.addEventListener("click", (event) => {
    const chip = event.target.closest("button");
    if (!chip) return;
    const label = chip.dataset.label;
    choose(label);
    [...chips.children].find((one) => one.dataset.label === label)?.focus();
  });
}
$("#samples").append(...SAMPLES.map(({ name, text }) => {
  const chip = button("chip plain", name);
  chip.addEventListener("click", () => put(text));
  return chip;
}));
$("#text").addEventListener("input", () => { state.file = null; size(); later(); });
$("#as-text").addEventListener("click", () => {
  told().pages.length = 0;
  state.file = null;
  render();
  $("#text").focus();
});
$("#go").addEventListener("click", read);
$("#cancel").addEventListener("click", () => {
  stop();
  working();
  problem("");
  $("#status").textContent = "cancelled";
  $("#go").focus();
});
$("#clear-text").addEventListener("click", () => { put(""); $("#text").focus(); });
$("#model").addEventListener("change", () => { state.chosen.clear(); offer(); read(); });
$("#guideline").addEventListener("change", () => {
  state.chosen.clear();
  offer();
  if ($("#look-labels").hidden) read();
  else $("#labels").focus();
});
for (const field of [$("#labels"), $("#prompt")]) field.addEventListener("change", read);
$("#score").addEventListener("input", (event) => {
  state.least = +event.target.value;
  $("#least").textContent = state.least.toFixed(2);
  sift();
});
$("#names").addEventListener("change", (event) => $("#p-text").classList.toggle("bare", !event.target.checked));
addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); read(); }
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

// Retry at once when the machine wakes up or regains its network.
addEventListener("online", () => {
  clearTimeout(waiting);
  retry?.();
});

tab("text");
render();
begin();
