// Page images with entity boxes, beside the text read from them: the browser version of
// pipelines/markup/page_image.py.
import { $, $$ } from "./dom.js";
import { entities, look, told } from "./state.js";

const SVG = "http://www.w3.org/2000/svg";
const TURNS = {
  0: () => "", 90: (w, h) => `translate(${h} 0) rotate(90)`,
  180: (w, h) => `translate(${w} ${h}) rotate(180)`, 270: (w) => `translate(0 ${w}) rotate(270)`,
};
const svg = (name, attributes) => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

function sheet({ width, height, turn, picture }, index) {
  const aside = turn === 90 || turn === 270;
  const whole = svg("svg", {
    class: "sheet", role: "img", "aria-label": `Page ${index + 1}`,
    viewBox: aside ? `0 0 ${height} ${width}` : `0 0 ${width} ${height}`,
  });
  const inside = svg("g", { transform: TURNS[turn](width, height) });
  inside.append(svg("image", { href: `data:image/webp;base64,${picture}`, width, height, preserveAspectRatio: "none" }));
  entities().forEach((entity, i) => {
    for (const box of entity.boxes.filter((box) => box.page === index)) {
      inside.append(svg("rect", {
        class: `${look(entity.label)} i`, "data-e": i,
        x: box.x0, y: box.y0, width: box.x1 - box.x0, height: box.y1 - box.y0,
      }));
    }
  });
  for (const { kind, box } of told().marks.filter(({ box }) => box.page === index)) {
    const drawn = svg("rect", { class: "drawn", x: box.x0, y: box.y0, width: box.x1 - box.x0, height: box.y1 - box.y0 });
    const title = svg("title", {});
    title.textContent = kind;
    drawn.append(title);
    inside.append(drawn);
  }
  whole.append(inside);
  return whole;
}

// Render the pages of the response; without pages, show the text input again.
export function draw() {
  const pages = (told()?.pages ?? []).filter((page) => page.picture);
  const on = pages.length > 0, shown = $("#sheets");
  $("#desk").replaceChildren(...pages.map(sheet));
  shown.hidden = !on;
  $("#text").hidden = on;
  $("#as-text").hidden = !on;
  $("#clear-text").hidden = on;
  $("#pages").textContent = pages.length === 1 ? "1 page" : `${pages.length} pages`;
}

shownSize(1);
function shownSize(size) {
  $("#desk").dataset.zoom = Math.max(1, Math.min(5, size));
  for (const one of $$("svg", $("#desk"))) one.style.width = `${100 * $("#desk").dataset.zoom}%`;
}
for (const button of $$("[data-zoom]", $("#sheets figcaption"))) {
  button.addEventListener("click", () => shownSize($("#desk").dataset.zoom * (button.dataset.zoom > 0 ? 1.4 : 1 / 1.4)));
}
