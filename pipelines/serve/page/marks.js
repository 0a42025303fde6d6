// Render a text with nested and crossing spans as <mark> elements: the browser version of
// pipelines/markup. Offsets are code points, so texts are arrays of code points.

//
// A long text is rendered in parts of about a thousand characters. A part is plain text while it is
// far from the viewport: the DOM never has more than a few hundred marks, and the whole text can
// still be searched, selected and read aloud.

import { statusLooks, statusWords } from "./details.js";

const DEEPEST = 5, PART = 1000, AT_ONCE = 2;

// Split the text [0, length) at every span boundary and at `cuts`. Each piece lists its spans,
// outermost first, with a level each: two spans that share a character never share a level.
export function pieces(length, spans, cuts = []) {
  const edges = [...new Set([0, length, ...cuts, ...spans.flat()])].sort((a, b) => a - b);
  const place = new Map(edges.map((edge, i) => [edge, i]));
  const outermost = spans.map((_, i) => i).sort(
    (i, j) => spans[i][0] - spans[i][1] - (spans[j][0] - spans[j][1]) || spans[i][0] - spans[j][0] || i - j);
  const covering = edges.map(() => []), taken = edges.map(() => new Set()), level = [];
  for (const i of outermost) {
    for (let k = place.get(spans[i][0]); k < place.get(spans[i][1]); k++) covering[k].push(i);
  }
  for (const i of outermost.toReversed()) {  // shortest first, so that it is closest to the text
    const under = taken.slice(place.get(spans[i][0]), place.get(spans[i][1]));
    level[i] = 0;
    while (under.some((used) => used.has(level[i]))) level[i] += 1;
    for (const used of under) used.add(level[i]);
  }
  return edges.slice(0, -1).map((start, k) => ({
    start, end: edges[k + 1], spans: covering[k], levels: covering[k].map((i) => level[i]),
  }));
}

// Boundaries of parts: after a nearby line end, else after a word. A part is a block element, so a
// line of thousands of characters is broken there.
export function ends(points) {
  const found = [];
  for (let from = 0; points.length - from > 2 * PART; from = found.at(-1)) {
    const near = (what) => {
      const before = points.lastIndexOf(what, from + PART);
      return before > from ? before : points.indexOf(what, from + PART);
    };
    const line = near("\n"), word = near(" ");
    const end = [line, word].find((at) => at >= from && at < from + 2 * PART) ?? from + PART - 1;
    found.push(end + 1);
  }
  return [...found, points.length];
}

let parts = [], placed = [], stops = [], styled = null, watcher = null, all = [], shown = null;

// Render the grounded entities into an element. `style.look` returns an entity's class, and
// `style.passes` whether it passes the filters.
export function draw(element, points, entities, style) {
  watcher?.disconnect();
  styled = style;
  all = points;
  shown = element;
  placed = entities.map((entity, i) => [entity, i]).filter(([entity]) => entity.start !== null);
  const last = ends(points);
  const cut = pieces(points.length, placed.map(([entity]) => [entity.start, entity.end]), last);
  let start = 0, k = 0, deep = 0;
  parts = last.map((end) => {
    const own = [];
    for (; k < cut.length && cut[k].start < end; k++) {
      own.push({ ...cut[k], text: points.slice(cut[k].start, cut[k].end).join("") });
      for (const level of cut[k].levels) deep = Math.max(deep, level + 1);
    }
    const node = document.createElement("div");
    node.className = "part";
    const part = { start, end, node, pieces: own, marked: false };
    start = end;
    plain(part);
    return part;
  });
  const inOrder = placed.toSorted(byPlace);
  stops = [...entities.keys()].filter((i) => entities[i].start === null).concat(inOrder.map(([, i]) => i));
  parts.slice(0, AT_ONCE).forEach(mark);
  element.replaceChildren(...parts.map(({ node }) => node));
  element.className = `text deep${Math.min(deep, DEEPEST)}`;
  const byNode = new Map(parts.map((part) => [part.node, part]));
  watcher = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) {
      const part = byNode.get(target);
      if (isIntersecting) mark(part);
      else if (!target.contains(document.activeElement)) plain(part);
    }
  }, { rootMargin: "50% 0px", scrollMargin: "50% 0px" });
  if (parts.length > AT_ONCE) for (const { node } of parts) watcher.observe(node);
}

// By start, outer entities before inner ones.
const byPlace = ([a, i], [b, j]) => a.start - b.start || b.end - a.end || i - j;

// Render the parts of one entity anew, after a change of it; an entity that is not known yet is
// added. Cheap at any length of the text: only these parts are split again.
export function update(entity, i) {
  if (!placed.some(([, j]) => j === i)) {
    placed.push([entity, i]);
    const at = new Map(placed.map((pair) => [pair[1], pair]));
    const next = stops.findIndex((j) => at.has(j) && byPlace(at.get(j), [entity, i]) > 0);
    stops.splice(next < 0 ? stops.length : next, 0, i);
  }
  for (const part of parts) {
    if (part.start >= entity.end || part.end <= entity.start) continue;
    split(part);
    part.marked = false;
    mark(part);
  }
}
// Render all parts anew that have marks now.
export function updateAll() {
  for (const part of parts.filter(({ marked }) => marked)) {
    part.marked = false;
    mark(part);
  }
}
function split(part) {
  const own = [...placed.keys()].filter((n) => {
    const [entity] = placed[n];
    return !entity.gone && entity.start < part.end && entity.end > part.start;
  });
  const spans = own.map((n) => [placed[n][0].start, placed[n][0].end].map(
    (at) => Math.min(Math.max(at, part.start), part.end) - part.start));
  let deep = 0;
  part.pieces = pieces(part.end - part.start, spans).map((piece) => {
    for (const level of piece.levels) deep = Math.max(deep, level + 1);
    const start = piece.start + part.start, end = piece.end + part.start;
    return { start, end, spans: piece.spans.map((k) => own[k]), levels: piece.levels, text: all.slice(start, end).join("") };
  });
  const before = +/deep(\d)/.exec(shown.className)[1];
  if (deep > before) shown.className = `text deep${Math.min(deep, DEEPEST)}`;
}

// Between a selection of the browser and the text in code points.
export function selected() {
  const { anchorNode, rangeCount, isCollapsed } = getSelection();
  if (!rangeCount || isCollapsed || !shown?.contains(anchorNode)) return null;
  const range = getSelection().getRangeAt(0);
  const start = offset(range.startContainer, range.startOffset);
  const end = offset(range.endContainer, range.endOffset);
  return start === null || end === null || start >= end ? null : [start, end];
}
function offset(node, at) {
  if (node === shown) return parts[at]?.start ?? all.length;  // between two parts
  const part = parts.find((one) => one.node.contains(node));
  if (!part) return null;
  const before = document.createRange();
  before.setStart(part.node, 0);
  before.setEnd(node, at);
  return part.start + Array.from(before.toString()).length;
}
export function select(start, end) {
  const [from, to] = [position(start, false), position(end, true)];
  getSelection().setBaseAndExtent(...from, ...to);
  getSelection().getRangeAt(0).startContainer.parentElement.scrollIntoView({ block: "nearest" });
}
// The text node and the UTF-16 offset of a code point; at the border of two nodes `last` chooses.
function position(at, last) {
  const part = parts.find(({ start, end }) => (last ? at > start && at <= end : at >= start && at < end));
  let left = all.slice(part.start, at).join("").length;
  const walker = document.createTreeWalker(part.node, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); ; node = walker.nextNode()) {
    if (left < node.length || (last && left === node.length)) return [node, left];
    left -= node.length;
  }
}
// The first code point that is in view.
export function inView(view) {
  const top = view.getBoundingClientRect().top;
  return (parts.find(({ node }) => node.getBoundingClientRect().bottom > top) ?? parts[0]).start;
}

function plain(part) {
  part.marked = false;
  part.node.textContent = part.pieces.map(({ text }) => text).join("");
}
function mark(part) {
  if (part.marked) return;
  part.marked = true;
  part.node.replaceChildren(...part.pieces.map((piece) => {
    let node = document.createTextNode(piece.text);
    for (let n = piece.spans.length - 1; n >= 0; n--) {
      const [entity, i] = placed[piece.spans[n]], made = document.createElement("mark");
      const level = Math.min(piece.levels[n], DEEPEST - 1);
      made.className = styled.look(entity.label);
      made.classList.toggle("off", !styled.passes(entity));
      if (level) made.classList.add(`l${level}`);
      if (entity.start !== piece.start) made.classList.add("i");
      else made.tabIndex = i === stops[0] ? 0 : -1;
      if (entity.end !== piece.end) made.classList.add("o");
      made.dataset.e = i;
      made.dataset.t = entity.label;
      const status = statusWords(entity), said = entity.verdict ? [...status, entity.verdict] : status;
      made.classList.add(...statusLooks(status));
      if (entity.verdict) made.dataset.v = entity.verdict;
      if (said.length) made.dataset.s = `, ${said.join(", ")}`;  // read aloud after the label
      made.append(node);
      node = made;
    }
    return node;
  }));
}

// The first mark of an entity, rendered if necessary; null if it is ungrounded.
export function reach(i) {
  const at = placed.find(([, j]) => i === j)?.[0].start;
  const part = parts.find(({ start, end }) => at >= start && at < end);
  if (!part) return null;
  mark(part);
  return part.node.querySelector(`[data-e="${i}"]`);
}

// The entity `by` positions after another one (or from the start) in text order, among those that
// pass the filters; undefined at either end.
export function beyond(i, by, entities) {
  const some = stops.filter((j) => j === i || styled.passes(entities[j]));
  return some[some.indexOf(i) + by];
}
