// A text with spans that nest and cross, as nested <mark> elements: what pipelines/markup does for
// the report, done in the browser. Offsets are code points, so texts come as arrays of them.

const DEEPEST = 5;

// The text [0, length) cut at every edge of a span. Each piece names the spans over it, outermost
// first, and a level for each: two spans that share a character never share a level.
export function pieces(length, spans) {
  const edges = [...new Set([0, length, ...spans.flat()])].sort((a, b) => a - b);
  const place = new Map(edges.map((edge, i) => [edge, i]));
  const outermost = spans.map((_, i) => i).sort(
    (i, j) => spans[i][0] - spans[i][1] - (spans[j][0] - spans[j][1]) || spans[i][0] - spans[j][0] || i - j);
  const covering = edges.map(() => []), taken = edges.map(() => new Set()), level = [];
  for (const i of outermost) {
    for (let k = place.get(spans[i][0]); k < place.get(spans[i][1]); k++) covering[k].push(i);
  }
  for (const i of outermost.toReversed()) {  // the shortest first, so that it is nearest to the text
    const under = taken.slice(place.get(spans[i][0]), place.get(spans[i][1]));
    level[i] = 0;
    while (under.some((used) => used.has(level[i]))) level[i] += 1;
    for (const used of under) used.add(level[i]);
  }
  return edges.slice(0, -1).map((start, k) => ({
    start, end: edges[k + 1], spans: covering[k], levels: covering[k].map((i) => level[i]),
  }));
}

// Draw entities that have a place into an element. `classes` gives each entity's class.
export function draw(element, points, entities, classes) {
  const placed = entities.map((entity, i) => [entity, i]).filter(([entity]) => entity.start !== null);
  const cut = pieces(points.length, placed.map(([entity]) => [entity.start, entity.end]));
  element.replaceChildren(...cut.map((piece) => {
    let node = document.createTextNode(points.slice(piece.start, piece.end).join(""));
    for (let n = piece.spans.length - 1; n >= 0; n--) {
      const [entity, i] = placed[piece.spans[n]], mark = document.createElement("mark");
      const level = Math.min(piece.levels[n], DEEPEST - 1);
      mark.className = classes(entity);
      if (level) mark.classList.add(`l${level}`);
      if (entity.start !== piece.start) mark.classList.add("i");
      else mark.tabIndex = -1;
      if (entity.end !== piece.end) mark.classList.add("o");
      mark.dataset.e = i;
      mark.dataset.t = entity.label;
      mark.append(node);
      node = mark;
    }
    return node;
  }));
  const deep = Math.min(Math.max(0, ...cut.flatMap((piece) => piece.levels.map((level) => level + 1))), DEEPEST);
  element.className = `text deep${deep}`;
}
