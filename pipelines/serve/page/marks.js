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
function ends(points) {
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

let parts = [], placed = [], stops = [], styled = null, watcher = null;

// Render the grounded entities into an element. `style.look` returns an entity's class, and
// `style.passes` whether it passes the filters.
export function draw(element, points, entities, style) {
  watcher?.disconnect();
  styled = style;
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
  // By start, outer entities before inner ones.
  const inOrder = placed.toSorted(([a, i], [b, j]) => a.start - b.start || b.end - a.end || i - j);
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
      const status = statusWords(entity);
      made.classList.add(...statusLooks(status));
      if (status.length) made.dataset.s = `, ${status.join(", ")}`;  // read aloud after the label
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
