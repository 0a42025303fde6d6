// Request options: model, labels or guideline, and prompt; builds the request.
import { $, $$, button, make } from "./dom.js";
import { moved } from "./sections.js";
import { look, state, told } from "./state.js";

const OWN = "\u0001own";  // no guideline has this name
export const model = () => state.models.find((one) => one.name === $("#model").value);

// Parse lines `LABEL` or `LABEL: definition` into a guideline; null if there are none.
function written() {
  const lines = $("#labels").value.split("\n").map((line) => line.trim()).filter(Boolean);
  const labels = Object.fromEntries(lines.map((line) => {
    const [, name, definition] = /^([^:]*?)\s*(?::\s*(.*))?$/.exec(line) ?? [null, line, ""];
    return [name, definition ?? ""];
  }));
  return lines.length ? { name: "page", labels } : null;
}
function guideline() {
  const value = $("#guideline").value;
  return value === OWN ? written() : value || null;
}

// The request for the page's inputs; `sifted`: including the filters that the page applies itself.
export function request(sifted = false) {
  const asked = { model: $("#model").value }, prompt = $("#prompt").value.trim(), text = $("#text").value;
  const follows = guideline();
  if (follows && !$("#look-guideline").hidden) asked.guideline = follows;
  if (sifted && state.chosen.size) asked.labels = [...state.chosen].sort();
  if (sifted && state.least) asked.threshold = state.least;
  const sections = moved(told()?.stated_sections ?? [], state.read, text);
  const document = { text, ...(prompt && model()?.prompts ? { prompt } : {}), ...(sections.length ? { sections } : {}) };
  if (Object.keys(document).length > 1) asked.documents = [document];
  else asked.text = text;
  return asked;
}

// Show the options that the chosen model supports.
export function offer() {
  const chosen = model();
  if (!chosen) return;
  const choice = $("#guideline"), before = choice.value;
  const options = [["", chosen.guideline === "any" ? "the model's own" : "all that the model finds"]];
  options.push(...state.guidelines.map(({ name }) => [name, name]));
  if (chosen.guideline === "any") options.push([OWN, "labels of my own"]);
  choice.replaceChildren(...options.map(([value, text]) => {
    const option = make("option", "", text);
    option.value = value;
    return option;
  }));
  choice.value = options.some(([value]) => value === before) ? before : "";
  $("#look-guideline").hidden = chosen.guideline === "none" || options.length < 2;
  $("#look-prompt").hidden = !chosen.prompts;
  $("#look-labels").hidden = choice.value !== OWN;
  const known = state.guidelines.find(({ name }) => name === choice.value);
  const labels = choice.value === OWN ? [] : (known ?? chosen).labels;
  $("#all-labels").replaceChildren(...labels.map(({ name }) => {
    const chip = button(`chip ${look(name)}`, name);
    chip.dataset.label = name;
    chip.setAttribute("aria-pressed", state.chosen.has(name));
    return chip;
  }));
  $("#choice").hidden = !labels.length;
  $("#look").hidden = !labels.length && $$("#look .look-row > *").every((one) => one.hidden);
  summary(labels.length);
}
function summary(count) {
  const only = [...state.chosen].sort().join(", ");
  $("#look-what").textContent = only || (count ? `all ${count} labels` : "the model's own guideline");
}
