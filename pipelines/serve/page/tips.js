// Tooltip of the pointer or focus: every mark around it, innermost first, and the matching boxes on
// the page image.
import { details, relatedTo } from "./details.js";
import { $, $$, make } from "./dom.js";
import { beyond, reach } from "./marks.js";
import { entities, look } from "./state.js";

const WITHIN = ":is(#p-text, #sheets)";
export const parts = (i) => $$(`${WITHIN} [data-e="${i}"]`);

function section(i) {
  const entity = entities()[i];
  const part = make("section"), head = make("h4"), list = make("dl");
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
  for (const [name, words] of details(i)) fact(name, words);
  fact("grounding", entity.grounding).className = `g-${entity.grounding}`;
  fact("offsets", entity.start === null ? "not found in the text" : `${entity.start}–${entity.end}`);
  if (entity.ocr_confidence !== null) fact("read with", entity.ocr_confidence.toFixed(3));
  fact("model", entity.model);
  for (const [name, value] of Object.entries(entity.attributes)) fact(name, value);
  part.append(head, list);
  return part;
}
function tell(target) {
  const pop = $("#pop"), seen = [];
  for (let mark = target; mark; mark = mark.parentElement?.closest(`${WITHIN} [data-e]`)) seen.push(mark);
  pop.replaceChildren(...seen.map((mark) => section(+mark.dataset.e)));
  for (const mark of seen) for (const part of parts(mark.dataset.e)) part.classList.add("hot");
  for (const i of relatedTo(+target.dataset.e)) for (const part of parts(i)) part.classList.add("kin");
  target.setAttribute("aria-describedby", "pop");
  pop.hidden = false;
  const place = target.getClientRects()[0], below = place.bottom + 10 + pop.offsetHeight < innerHeight;
  pop.style.left = `${Math.max(12, Math.min(place.left, innerWidth - pop.offsetWidth - 12))}px`;
  pop.style.top = `${below ? place.bottom + 10 : Math.max(8, place.top - pop.offsetHeight - 8)}px`;
}
// Scroll the counterparts of a mark into view, within their own containers only.
function reveal(mark) {
  const i = +mark.dataset.e;
  const other = mark.matches("rect") ? reach(i) : parts(i).find((part) => part.matches("rect"));
  const desk = other?.closest(".desk, #p-text");
  if (!desk) return;
  const box = other.getBoundingClientRect(), view = desk.getBoundingClientRect();
  if (box.top < view.top || box.bottom > view.bottom) desk.scrollTop += box.top - view.top - view.height / 3;
  if (box.left < view.left || box.right > view.right) desk.scrollLeft += box.left - view.left - view.width / 3;
}
export function hide() {
  $("#pop").hidden = true;
  for (const mark of $$(".hot, .kin")) mark.classList.remove("hot", "kin");
  for (const mark of $$("[aria-describedby=pop]")) mark.removeAttribute("aria-describedby");
}
function over(event) {
  const mark = event.target.closest?.(`${WITHIN} [data-e]:not(.off)`);
  if (event.type !== "mouseover" && mark) reveal(mark);
  hide();
  if (mark) tell(mark);
}
export function point(i) {
  const part = reach(i) ?? $(`#unplaced [data-e="${i}"]`);
  part?.scrollIntoView({ block: "center" });
  part?.focus({ preventScroll: true });
}
function step(by) {
  const at = document.activeElement.closest("#p-text [data-e]")?.dataset.e;
  const next = beyond(at === undefined ? undefined : +at, by, entities());
  if (next !== undefined) point(next);
}

for (const panel of [$("#p-text"), $("#sheets")]) {
  for (const name of ["mouseover", "focusin", "click"]) panel.addEventListener(name, over);
  for (const name of ["mouseleave", "focusout"]) panel.addEventListener(name, hide);
}
let moved = 0;  // our own scrolling must not hide the tooltip
addEventListener("scroll", (event) => {
  if (!event.target.matches?.(".desk, #p-text") || Date.now() - moved > 300) hide();
}, { passive: true, capture: true });
for (const name of ["focusin", "click"]) addEventListener(name, () => { moved = Date.now(); }, { capture: true });
addEventListener("keydown", (event) => {
  if (event.key === "Escape") hide();
  else if ((event.key === "ArrowRight" || event.key === "ArrowLeft") && event.target.closest?.("#p-text")) {
    event.preventDefault();
    step(event.key === "ArrowRight" ? 1 : -1);
  }
});
