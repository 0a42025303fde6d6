"""Tables of a result: rows of cells that stand below each other in columns.

A line whose words leave wide gaps is several cells (``compose`` writes a tab between them). A run
of such lines is a table where the cells of its rows share columns: intervals of x that white space
separates in all of them. Rules that are drawn on the page are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from actors.pages.page import OcrResult, Word

_FEWEST_ROWS = 3
_IN_COLUMNS = 0.7  # fraction of a table's rows that fill two columns or more
_FAR = 2.5  # heights of a line: rows farther apart belong to different tables


@dataclass(frozen=True, slots=True)
class Cell:
    """``text[start:end]`` of the document, in a row and column, both from 0."""

    row: int
    column: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table of a page, counted from 0. ``header``: its first row names the columns.

    Cells are in reading order; a place without words has none.
    """

    page: int
    rows: int
    columns: int
    header: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A cell before it has a column: its offsets, and its place along and across the line."""

    start: int
    end: int
    low: float
    high: float
    top: float
    bottom: float


_Row = tuple[_Piece, ...]


def find_tables(result: OcrResult) -> tuple[PageTable, ...]:
    """Return the tables of a result, in the order of its text."""
    return tuple(
        table
        for (page, _), words in groupby(result.words, lambda word: (word.box.page, word.turn))
        for run in _runs(_rows(result, list(words)))
        for table in _table(result.text, page, run)
    )


def _rows(result: OcrResult, words: Sequence[Word]) -> Iterator[_Row]:
    """Yield the lines of words of one direction as cells."""
    row: list[_Piece] = []
    cell: list[Word] = []
    for word, following in pairwise([*words, None]):
        assert word is not None
        cell.append(word)
        gap = "\n" if following is None else result.text[word.end : following.start]
        if gap == " ":
            continue
        row.append(_piece(result, cell))
        cell = []
        if "\t" not in gap:  # a line ends, or a word that is broken there
            yield tuple(row)
            row = []


def _piece(result: OcrResult, words: Sequence[Word]) -> _Piece:
    page = result.pages[words[0].box.page]
    places = []
    for word in words:
        box = word.box
        turn = (page.turn + word.turn) % 360
        # Along the line and across it, as if the page was upright.
        places.append(
            {
                0: (box.x0, box.x1, box.y0, box.y1),
                90: (-box.y1, -box.y0, box.x0, box.x1),
                180: (-box.x1, -box.x0, -box.y1, -box.y0),
                270: (box.y0, box.y1, -box.x1, -box.x0),
            }[turn]
        )
    lows, highs, tops, bottoms = zip(*places, strict=True)
    return _Piece(words[0].start, words[-1].end, min(lows), max(highs), min(tops), max(bottoms))


def _runs(rows: Iterator[_Row]) -> Iterator[list[_Row]]:
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


def _column_of(cell: _Piece, columns: Sequence[tuple[float, float]]) -> int:
    return next(
        at for at, (low, high) in enumerate(columns) if low <= cell.low < max(high, low + 1)
    )


def _has_header(text: str, run: Sequence[_Row]) -> bool:
    """Return True if the first row has words only, and most others have numbers."""
    digits = [any(c.isdigit() for p in row for c in text[p.start : p.end]) for row in run]
    return not digits[0] and sum(digits[1:]) > 0.5 * (len(run) - 1) and len(run[0]) > 1
