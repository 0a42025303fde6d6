"""Relations within the tables of a document. A row belongs together, whatever stands between its
cells; its other cells and the header complete a value."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from actors.relations.quantities import ucum_unit
from actors.spans import Cell, PageTable

_REFERENCE = re.compile(
    r"\b(?:ref(?:erence|\.)?|normal|(?:ref\.? )?range|interval|norm|referenz\w*|r[ée]f[ée]ren\w*"
    r"|normalbereich|valores? de referencia)\b",
    re.IGNORECASE,
)
_BRACKETS = re.compile(r"[(\[]([^()\[\]]+)[)\]]\s*\Z")  # "Result (mmol/L)"


@dataclass(frozen=True, slots=True)
class Place:
    """The cell of an entity: the number of its table, its column, the row it belongs to, and where
    the cell ends in the text."""

    table: int
    row: int
    column: int
    end: int


class TableRows:
    """The cells of a document's tables, found by place in its text."""

    def __init__(self, text: str, tables: Sequence[PageTable]) -> None:
        self._text, self._tables = text, tables
        placed = [(cell, number) for number, table in enumerate(tables) for cell in table.cells]
        self._cells = sorted(placed, key=lambda pair: pair[0].start)
        self._starts = [cell.start for cell, _ in self._cells]
        self._firsts = [_rows_with_a_first_cell(table) for table in tables]

    def place(self, start: int, end: int) -> Place | None:
        """Return the cell that holds [start, end) whole; None if none does. A row without a first
        cell continues the one above."""
        at = bisect_right(self._starts, start) - 1
        if at < 0 or self._cells[at][0].end < end:
            return None
        cell, number = self._cells[at]
        above = bisect_right(self._firsts[number], cell.row) - 1
        row = self._firsts[number][above] if above >= 0 else cell.row
        return Place(number, row, cell.column, cell.end)

    def attributes(self, place: Place, reading: dict[str, str]) -> dict[str, str]:
        """Return what a row and its header say of the value in a cell: ``unit`` if ``reading`` of
        the value has none, ``reference_range``, and the name of its ``column``."""
        table = self._tables[place.table]
        row = {one.column: self._words(one) for one in table.cells if one.row == place.row}
        header = {one.column: self._words(one) for one in table.cells if one.row == 0}
        if not table.header or place.row == 0:
            header = {}
        found: dict[str, str] = {}
        named = header.get(place.column, "")
        if "unit" not in reading:
            brackets = _BRACKETS.search(named)
            written = [words for column, words in row.items() if column != place.column]
            # A single letter is a flag: H of a high value is no hour.
            units = {ucum_unit(words) for words in written if len(words) > 1} - {None}
            if not units and brackets is not None:
                units = {ucum_unit(brackets[1])}
            unit = units.pop() if len(units) == 1 else None
            if unit is not None:
                found["unit"] = unit
        ranges = [
            row[column]
            for column, words in header.items()
            if column != place.column and column in row and _REFERENCE.search(words)
        ]
        if len(ranges) == 1:
            found["reference_range"] = ranges[0]
        return found | ({"column": named} if named else {})

    def _words(self, cell: Cell) -> str:
        return " ".join(self._text[cell.start : cell.end].split())


def _rows_with_a_first_cell(table: PageTable) -> list[int]:
    return sorted({cell.row for cell in table.cells if cell.column == 0})
