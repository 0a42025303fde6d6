"""Tables of a result: rows of cells that stand below each other in columns.

A line with wide gaps between its words is several cells (``compose`` writes a tab between them). A
run of such lines is a table where the cells of its rows share columns: intervals of x that white
space separates in all of them. Rules that are drawn on the page are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from actors.pages.page import OcrResult
from actors.pages.upright import UprightSpan, joined, upright_lines
from actors.spans import Cell, PageTable

_FEWEST_ROWS = 3
_IN_COLUMNS = 0.7  # fraction of a table's rows that fill two columns or more
_FAR = 2.5  # heights of a line: rows farther apart belong to different tables


_Row = tuple[UprightSpan, ...]


def find_tables(result: OcrResult) -> tuple[PageTable, ...]:
    """Return the tables of a result, in the order of its text."""
    return tuple(
        table
        for page, lines in upright_lines(result)
        for run in _runs([tuple(map(joined, line)) for line in lines])
        for table in _table(result.text, page, run)
    )


def _runs(rows: Sequence[_Row]) -> Iterator[list[_Row]]:
    """Yield rows that may be one table: rows of several cells, and single cells between them."""
    run: list[_Row] = []
    for row in rows:
        if run and not _follows(run[-1], row):
            yield run
            run = []
        if len(row) > 1 or run:
            run.append(row)
    if run:
        yield run


def _follows(above: _Row, row: _Row) -> bool:
    """Return True for a row that is below another, and near it."""
    top, bottom = min(one.top for one in row), max(one.bottom for one in row)
    height = bottom - top
    gap = top - max(one.bottom for one in above)
    return -height < gap < _FAR * max(height, 1.0)


def _table(text: str, page: int, run: list[_Row]) -> Iterator[PageTable]:
    """Yield the table of a run of rows; the longest part of it that has columns."""
    while run and len(run[-1]) == 1:  # what follows the last row of cells is no row
        run = run[:-1]
    if len(run) < _FEWEST_ROWS:
        return
    columns = _columns(run)
    placed = [[_column_of(cell, columns) for cell in row] for row in run]
    filled = sum(len(set(row)) > 1 for row in placed)
    if len(columns) < 2 or filled < _IN_COLUMNS * len(run):
        # A line across, such as a title, hides the columns of the rows below it.
        if len(run[0]) <= 2:
            yield from _table(text, page, run[1:])
        return
    cells = []
    for at, (row, at_columns) in enumerate(zip(run, placed, strict=True)):
        for column, group in groupby(zip(at_columns, row, strict=True), lambda pair: pair[0]):
            pieces = [piece for _, piece in group]
            cells.append(Cell(at, column, pieces[0].start, pieces[-1].end))
    yield PageTable(page, len(run), len(columns), _has_header(text, run), tuple(cells))


def _columns(run: Sequence[_Row]) -> list[tuple[float, float]]:
    """Return the intervals that the cells of the rows cover together."""
    columns: list[tuple[float, float]] = []
    for low, high in sorted((cell.low, cell.high) for row in run for cell in row):
        if columns and low < columns[-1][1]:
            columns[-1] = (columns[-1][0], max(columns[-1][1], high))
        else:
            columns.append((low, high))
    return columns


def _column_of(cell: UprightSpan, columns: Sequence[tuple[float, float]]) -> int:
    return next(
        at for at, (low, high) in enumerate(columns) if low <= cell.low < max(high, low + 1)
    )


def _has_header(text: str, run: Sequence[_Row]) -> bool:
    """Return True if the first row has words only, and most others have numbers."""
    digits = [any(c.isdigit() for p in row for c in text[p.start : p.end]) for row in run]
    return not digits[0] and sum(digits[1:]) > 0.5 * (len(run) - 1) and len(run[0]) > 1
