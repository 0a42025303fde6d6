"""Tables, form fields and marks of a document's pages as grids of text for the reader page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

STRUCTURE_COLUMNS = {"tables": "table", "fields": "form field", "marks": "mark"}
"""Columns of the documents table, with the noun for one of their values."""
_MOST_CELLS = 4_000  # of one document: a page of a book of tables would slow the browser down


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows of text below a caption; ``header`` is empty if no row names the columns."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Structure:
    """The grids of a document, a summary of what they are, and how many were left out."""

    grids: tuple[Grid, ...]
    summary: str
    omitted: int = 0


def page_structure(text: str, pages: int, row: Mapping[str, Any]) -> Structure | None:
    """Build the grids of one row of the documents table; None if it has no structure.

    ``row`` has the values of STRUCTURE_COLUMNS, with offsets into the whole text; what lies
    beyond ``text``, its beginning, is shown as "…". Whole grids beyond 4,000 cells are omitted and
    counted.
    """
    shown: list[Grid] = []
    left, omitted = _MOST_CELLS, 0
    for grid in _grids(text, pages, row):
        left -= sum(map(len, grid.rows))
        if left < 0 and shown:
            omitted += 1
        else:
            shown.append(grid)
    if not shown:
        return None
    counts = ((len(row[name] or ()), word) for name, word in STRUCTURE_COLUMNS.items())
    summary = ", ".join(f"{n:,} {word}{'' if n == 1 else 's'}" for n, word in counts if n)
    return Structure(tuple(shown), summary, omitted)


def _grids(text: str, pages: int, row: Mapping[str, Any]) -> Iterator[Grid]:
    tables, fields, marks = (row[name] or () for name in STRUCTURE_COLUMNS)

    def words(place: Mapping[str, Any]) -> str:
        if place["end"] > len(text):
            return "…"
        return " ".join(text[place["start"] : place["end"]].split())

    if fields:
        rows = [(one["name"], words(one), str(one["page"] + 1)) for one in fields]
        yield _cut("Form fields", ("Field", "Value", "Page"), rows, pages)
    for table in tables:
        cells = [[""] * table["columns"] for _ in range(table["rows"])]
        for cell in table["cells"]:
            cells[cell["row"]][cell["column"]] = words(cell)
        header = tuple(cells.pop(0)) if table["header"] else ()
        where = f", page {table['page'] + 1}" if pages > 1 else ""
        yield Grid(f"Table{where}", header, tuple(map(tuple, cells)))
    if marks:
        box = "{x0:.0f}, {y0:.0f} to {x1:.0f}, {y1:.0f}"
        drawn = [
            (one["kind"], box.format(**one["box"]), str(one["box"]["page"] + 1)) for one in marks
        ]
        yield _cut("Drawn on the pages", ("Kind", "Box in pixels", "Page"), drawn, pages)


def _cut(
    caption: str, header: tuple[str, ...], rows: Sequence[tuple[str, ...]], pages: int
) -> Grid:
    """Leave out the page of each row if there is only one."""
    end = len(header) if pages > 1 else -1
    return Grid(caption, header[:end], tuple(row[:end] for row in rows))
