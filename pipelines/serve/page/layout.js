// The structure of a page: filled fields of a form, tables, and what was written or stamped on it.
import { $, make, many } from "./dom.js";
import { state, told } from "./state.js";

const words = (start, end) => state.points.slice(start, end).join("").replace(/\s+/g, " ").trim();
const onPage = (page) => (told().pages.length > 1 ? `, page ${page + 1}` : "");

// Rows of cells, empty where the page has none.
function grid({ rows, columns, cells }) {
  const made = Array.from({ length: rows }, () => Array(columns).fill(""));
  for (const { row, column, start, end } of cells) made[row][column] = words(start, end);
  return made;
}

function tableOf(rows, header, caption) {
  const table = make("table"), scroll = make("div", "scroll");
  table.append(make("caption", "", caption));
  rows.forEach((cells, at) => {
    const line = make("tr");
    for (const cell of cells) {
      const made = make(header && at === 0 ? "th" : "td", "", cell);
      if (header && at === 0) made.scope = "col";
      line.append(made);
    }
    table.append(line);
  });
  scroll.append(table);
  return scroll;
}

const fieldRows = (fields) => fields.map(({ name, start, end }) => [name, words(start, end)]);
const has = (document) => ["tables", "fields", "marks"].some((kind) => document?.[kind].length);

// Draw the panel; returns whether the document has any structure.
export function draw() {
  const document = told();
  if (!has(document)) return false;
  const { tables, fields, marks } = document, parts = [];
  if (fields.length) parts.push(tableOf([["Field", "Value"], ...fieldRows(fields)], true, many(fields.length, "field", "fields")));
  for (const table of tables) {
    const caption = `Table of ${many(table.rows, "row", "rows")}${onPage(table.page)}`;
    parts.push(tableOf(grid(table), table.header, caption));
  }
  if (marks.length) {
    parts.push(tableOf(marks.map(({ kind, box }) => [
      kind, `page ${box.page + 1}`, `${Math.round(box.x0)}, ${Math.round(box.y0)} to ${Math.round(box.x1)}, ${Math.round(box.y1)}`,
    ]), false, "Drawn on the page"));
  }
  $("#p-layout").replaceChildren(...parts);
  return true;
}

// Fields and tables as lines of tab-separated values.
export function asText() {
  const { tables, fields } = told();
  return [fieldRows(fields), ...tables.map(grid)].filter((rows) => rows.length)
    .map((rows) => rows.map((cells) => cells.join("\t")).join("\n")).join("\n\n");
}
