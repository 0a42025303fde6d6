// The note or file without its identifiers, where the server's pipeline offers it: before and
// after, what was taken, what the second look still finds, and the covered file.
import { ask, sentence, token } from "./ask.js";
import { posted, uploaded } from "./curl.js";
import { $, $$, make, many, time } from "./dom.js";
import { ends } from "./marks.js";
import { look, state, told } from "./state.js";

const TEXTS = "/v1/deidentify", FILES = "/v1/deidentify/upload";
const HOW = {
  mask: "masked", same_length: "as asterisks", surrogate: "made up", hash: "hashed", shift: "shifted",
  generalise: "generalised",
};
const KINDS = { png: "picture", tiff: "pictures (TIFF)", pdf: "PDF", dcm: "DICOM file" };

let asking = null, clean = null;  // the answer's document
const isShown = () => !$("#p-clean").hidden;

// The answer of before is no answer to what the page reads now.
export function changed() {
  stop();
  clean = null;
  $("#t-clean").hidden = !state.deidentify;
  if (isShown()) run();
}
// The tab was chosen.
export function shown() { if (!clean && !asking) run(); }
export const cleanText = () => clean?.text ?? "";

function stop() {
  asking?.abort();
  asking = null;
}

// Path and content of the request: a picture as a file, all else as the text that is shown, with
// the sections that its file states.
function wanted() {
  const patient = $("#clean-patient").value.trim();
  const names = $("#clean-names").value.split(/[;\n]/).map((name) => name.trim()).filter(Boolean);
  const known = { ...(patient ? { patient } : {}), ...(names.length ? { names } : {}) };
  if (state.file && told().pages.length) {
    return { file: state.file, options: { ...(state.deidentify.pages ? { pages: true } : {}), ...known } };
  }
  const sections = told().stated_sections;
  return { body: { documents: [{ text: state.read, ...known, ...(sections.length ? { sections } : {}) }] } };
}
async function run() {
  stop();
  clean = null;
  problem("");
  if (!state.answer) return void draw("Nothing to de-identify yet.");
  const mine = asking = new AbortController(), { file, options, body } = wanted();
  let content = body;
  if (file) {
    content = new FormData();
    content.append("file", file, "file");  // its name may be a patient's
    content.append("options", JSON.stringify(options));
  }
  draw(file ? "covering the pages" : "de-identifying");
  try {
    const answer = await ask(file ? FILES : TEXTS, content, mine.signal);
    if (mine !== asking) return;
    asking = null;
    [clean] = answer.documents;
    draw(summary(answer.seconds));
  } catch (error) {
    if (mine !== asking || error.name === "AbortError") return;
    asking = null;
    if (error.code === "unauthorized") return void token.ask(run);
    draw("");
    problem(sentence(error));
  }
}

// ---- what is shown

const taken = () => clean.counts.reduce((sum, { count }) => sum + count, 0);
function summary(seconds) {
  if (clean.text === null) return `No text comes out. ${time(seconds)}`;
  const again = clean.residue.length ? "" : " The second look found nothing more.";
  return `${many(taken(), "identifier", "identifiers")} taken in ${time(seconds)}.${again}`;
}
// Why nothing comes out, or what is left in what does.
function doubt() {
  if (!clean) return "";
  if (clean.status === "failed") return `Nothing comes out: ${clean.error?.message ?? "the document failed"}.`;
  if (!clean.residue.length) return "";
  const found = [...new Set(clean.residue.map(({ start, category, by }) =>
    `${category} by ${by}${start === null ? " on the covered page" : ""}`))].join(", ");
  return clean.text === null
    ? `Withheld: the second look still finds ${found}. Neither text nor file comes out.`
    : `The second look still finds ${found}; this server lets the text out all the same.`;
}
function problem(words) {
  $("#clean-problem").hidden = !words;
  $("#clean-problem").textContent = words;
}
function draw(said) {
  const text = clean?.text ?? null;
  $("#clean-said").textContent = said;
  $("#p-clean").setAttribute("aria-busy", !!asking);
  $("#clean-go").textContent = asking ? "Cancel" : "De-identify again";
  problem(doubt());
  $("#clean-counts").hidden = !clean?.counts.length;
  $("#clean-counts").replaceChildren(...(clean?.counts ?? []).map(({ category, policy, count }) => {
    const item = make("li", `chip ${look(category)}`, category);
    item.append(" ", make("b", "", `${count} ${HOW[policy] ?? policy}`));
    return item;
  }));
  $("#clean-text").hidden = text === null;
  $("#clean-file").hidden = !clean?.file;
  $("#clean-file").textContent = clean?.file ? `Download covered ${KINDS[clean.file.kind]}` : "";
  const page = $("#clean-page"), isPicture = clean?.file?.kind === "png";
  page.hidden = !isPicture;
  if (isPicture) page.src = `data:image/png;base64,${clean.file.content}`;
  else page.removeAttribute("src");
  $(".clean-pair").hidden = !clean;
  $(".clean-pair").classList.toggle("one", text === null);
  $("#h-after").parentElement.hidden = text === null;
  $("#clean-asked").hidden = !state.answer;
  drawTexts(text);
  drawCurl();
}
function drawTexts(text) {
  if (!clean) return void $$(".clean-pair .text").forEach((one) => one.replaceChildren());
  const left = clean.residue.filter(({ start }) => start !== null).toSorted((a, b) => a.start - b.start);
  const before = text === null
    ? left.map(({ start, end, category }) => ({ start, end, category, label: `${category} is left` }))
    : clean.edits.map(({ start, end, category }) => ({ start, end, category, label: category }));
  pane($("#before"), state.read, before);
  pane($("#after"), text ?? "", clean.edits.map(({ new_start, new_end, category }) => ({ start: new_start, end: new_end, category })));
  const first = $("#before mark");
  if (first) first.tabIndex = 0;
}
// A text with marks that neither nest nor cross, in parts that are laid out once they are in view.
function pane(element, text, spans) {
  const points = Array.from(text);
  let at = 0, k = 0;
  const words = (from, to) => points.slice(from, to).join("");
  element.replaceChildren(...ends(points).map((end) => {
    const part = make("div", "part");
    while (at < end) {
      while (k < spans.length && spans[k].end <= at) k += 1;
      const span = spans[k];
      const inside = span && span.start <= at;
      const to = inside ? Math.min(span.end, end) : Math.min(span?.start ?? end, end);
      part.append(inside ? marked(words(at, to), span, k, span.start >= at, span.end <= to) : words(at, to));
      at = to;
    }
    return part;
  }));
}
function marked(words, { category, label }, n, isFirst, isLast) {
  const made = make("mark", `${look(category)}${isFirst ? "" : " i"}${isLast ? "" : " o"}`, words);
  made.dataset.n = n;
  // A mask says itself what it stands for.
  if (label || !words.startsWith("[")) made.dataset.t = label ?? category;
  if (isFirst && label) made.tabIndex = -1;
  return made;
}
function drawCurl() {
  if (!state.answer) return;
  const { file, options, body } = wanted();
  $("#clean-curl").textContent = file ? uploaded(FILES, file.name, options) : posted(TEXTS, body);
}

// ---- downloads

// The name of the file says nothing: that of the original may be a patient's.
function download(parts, type, ending) {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob(parts, { type }));
  link.download = `deidentified.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
$("#clean-text").addEventListener("click", () => download([clean.text], "text/plain;charset=utf-8", "txt"));
$("#clean-file").addEventListener("click", () => {
  const { kind, media_type, content } = clean.file;
  download([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], media_type, kind);
});

// ---- user actions

$("#clean-ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!asking) return void run();
  stop();
  draw("cancelled");
});
for (const input of [$("#clean-patient"), $("#clean-names")]) input.addEventListener("change", drawCurl);

// A mark and its counterpart are shown together.
const pair = $(".clean-pair");
function over(event) {
  const n = event.type === "focusout" ? undefined : event.target.closest?.("mark")?.dataset.n;
  for (const mark of $$("mark", pair)) mark.classList.toggle("hot", mark.dataset.n === n);
}
for (const name of ["mouseover", "mouseleave", "focusin", "focusout"]) pair.addEventListener(name, over);
pair.addEventListener("keydown", (event) => {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key], marks = $$("#before mark[tabindex]");
  const at = marks.indexOf(document.activeElement);
  if (!by || at < 0) return;
  event.preventDefault();
  marks[at + by]?.focus();
});
