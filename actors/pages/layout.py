"""Reading order: turn a page's strips into lines, keeping columns and table rows apart.

The page is scanned downwards in rows. A gap that consecutive rows leave free is a gutter, and the
rows along it form a region. A region is a table, read row by row, if its cells are level and short;
otherwise its columns are read one after the other. Columns need not be level with each other. A gap
hardly wider than a space between words is a gutter only between columns of prose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from actors.pages.page import Strip

# All in strip heights. A strip includes a margin around its letters: lines of a paragraph touch.
_GUTTER = 1.0  # minimum width of a gap between columns
_NARROW = 0.4  # and between columns of prose, where
_NARROW_ROWS = 3  # at least so many rows of each leave it free
_BESIDE = 0.2  # rows that overlap by this may belong to columns side by side
_APART = 0.8  # a line in only one column, this far below, starts a new region
_FAR = 2.0  # and so does any line this far below
_PARAGRAPH = 0.5  # a gap between lines that separates paragraphs
_PROSE_FILL = 0.7  # minimum fill of its column by a line of prose
_PROSE_LENGTH = 22  # minimum characters in a line of prose
_PAIRED = 0.7  # fraction of a table's rows with cells in several columns


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text: its cells from left to right, and whether a blank line precedes it."""

    cells: tuple[Strip, ...]
    apart: bool


_Row = list[Strip]
_Gap = tuple[float, float]


def reading_order(strips: Sequence[Strip]) -> list[Line]:
    """Return the strips of a page as lines, in reading order."""
    if not strips:
        return []
    unit = median(strip.height for strip in strips for _ in strip.words)
    return _lines(_rows(strips), max(unit, 1.0))


def _rows(strips: Sequence[Strip]) -> list[_Row]:
    """Group level strips into rows, left to right; rows from top to bottom."""
    rows: list[_Row] = []
    for strip in sorted(strips, key=lambda s: s.y0 + s.y1):
        middle = (strip.y0 + strip.y1) / 2
        level = [row for row in rows[-3:] if _level(row, strip, middle)]
        if level:
            level[-1].append(strip)
        else:
            rows.append([strip])
    for row in rows:
        row.sort(key=lambda s: s.x0)
    return rows


def _level(row: _Row, strip: Strip, middle: float) -> bool:
    # A strip at the same x is below, not beside.
    if any(min(s.x1, strip.x1) - max(s.x0, strip.x0) > 0.5 * strip.height for s in row):
        return False
    nearest = min(row, key=lambda s: max(s.x0 - strip.x1, strip.x0 - s.x1))
    reach = 0.45 * min(nearest.height, strip.height)
    return abs((nearest.y0 + nearest.y1) / 2 - middle) < reach


def _lines(rows: list[_Row], unit: float) -> list[Line]:
    lines: list[Line] = []
    at = 0
    while at < len(rows):
        end, gutters = _region(rows, at, unit, _GUTTER)
        narrow_end, narrow_gutters = _narrow_region(rows, at, unit)
        if narrow_end > end:
            end, gutters = narrow_end, narrow_gutters
        region = rows[at:end]
        if len(gutters) == 0 or len(region) == 1 or _is_table(region, gutters):
            for number, row in enumerate(region):
                above = rows[at + number - 1] if at + number else None
                lines.append(Line(tuple(row), above is not None and _parted(above, row, unit)))
        else:
            lines.extend(_columns(region, gutters, unit))
        at = end
    return lines


def _columns(region: list[_Row], gutters: list[_Gap], unit: float) -> list[Line]:
    lines: list[Line] = []
    prose = _is_prose(region, gutters)
    for column in _by_column(region, gutters):
        if column:
            own = _lines(_rows(column), unit)
            # Prose continues at the top of the next column; side-by-side blocks do not.
            lines.append(Line(own[0].cells, apart=not (prose and lines)))
            lines.extend(own[1:])
    return lines


def _narrow_region(rows: list[_Row], at: int, unit: float) -> tuple[int, list[_Gap]]:
    """Return the region of columns of prose with a narrow gutter that begins at a row, if any."""
    end, gutters = _region(rows, at, unit, _NARROW)
    region = rows[at:end]
    short = any(
        sum(any(_column_of(s, gutters) == c for s in row) for row in region) < _NARROW_ROWS
        for c in range(len(gutters) + 1)
    )
    return (at + 1, []) if short or not _is_prose(region, gutters) else (end, gutters)


def _region(rows: list[_Row], at: int, unit: float, least: float) -> tuple[int, list[_Gap]]:
    """Return the end of the region that begins at a row, and the gutters through it, at least as
    wide as ``least`` strip heights."""
    gutters = _gaps(_beside(rows, at), least * unit)
    if not gutters:
        return at + 1, []
    end = at + 1
    bottom = max(s.y1 for s in rows[at])
    while end < len(rows):
        row = rows[end]
        gap = min(s.y0 for s in row) - bottom
        occupied = {_column_of(strip, gutters) for strip in row}
        if gap > _FAR * unit or (gap > _APART * unit and len(occupied) == 1):
            break
        left = _narrowed(gutters, row, least * unit)
        if not left:
            break
        gutters = left
        bottom = max(bottom, max(s.y1 for s in row))
        end += 1
    return end, gutters


def _beside(rows: list[_Row], at: int) -> _Row:
    """Return a row with the strips of the next one beside it. Columns with lines at different
    heights make rows by turns."""
    row = rows[at]
    if at + 1 == len(rows):
        return row
    bottom = min(s.y1 - _BESIDE * s.height for s in row)
    following = [s for s in rows[at + 1] if s.y0 < bottom]
    if any(s.x0 < other.x1 and other.x0 < s.x1 for s in following for other in row):
        return row
    return sorted([*row, *following], key=lambda s: s.x0)


def _gaps(row: _Row, least: float) -> list[_Gap]:
    gaps = []
    for left, right in pairwise(row):
        if right.x0 - left.x1 >= least:
            gaps.append((left.x1, right.x0))
    return gaps


def _narrowed(gutters: list[_Gap], row: _Row, least: float) -> list[_Gap]:
    """Return the parts of the gutters that the strips of a row leave free."""
    free = gutters
    for strip in row:
        parts: list[_Gap] = []
        for left, right in free:
            if strip.x1 <= left or strip.x0 >= right:
                parts.append((left, right))
                continue
            # A gutter that is split continues as its wider part.
            pieces = [(left, strip.x0), (strip.x1, right)]
            widest = max(pieces, key=lambda piece: piece[1] - piece[0])
            if strip.x0 <= left and strip.x1 >= right:
                continue
            if widest[1] - widest[0] >= least:
                parts.append(widest)
        free = parts
    return free


def _column_of(strip: Strip, gutters: list[_Gap]) -> int:
    middle = (strip.x0 + strip.x1) / 2
    return sum(middle > (left + right) / 2 for left, right in gutters)


def _by_column(region: list[_Row], gutters: list[_Gap]) -> list[list[Strip]]:
    columns: list[list[Strip]] = [[] for _ in range(len(gutters) + 1)]
    for row in region:
        for strip in row:
            columns[_column_of(strip, gutters)].append(strip)
    return columns


def _is_table(region: list[_Row], gutters: list[_Gap]) -> bool:
    if _is_prose(region, gutters):
        return False
    paired = sum(len({_column_of(s, gutters) for s in row}) > 1 for row in region)
    longest = max(
        sum(any(_column_of(s, gutters) == c for s in row) for row in region)
        for c in range(len(gutters) + 1)
    )
    return paired >= _PAIRED * longest


def _is_prose(region: list[_Row], gutters: list[_Gap]) -> bool:
    columns = [column for column in _lines_of_columns(region, gutters) if column]
    if len(columns) < 2:
        return False
    for column in columns:
        left, right = min(s[0].x0 for s in column), max(s[-1].x1 for s in column)
        fill = median((s[-1].x1 - s[0].x0) / max(right - left, 1.0) for s in column)
        length = median(sum(len(w.text) + 1 for s in line for w in s.words) for line in column)
        if fill < _PROSE_FILL or length < _PROSE_LENGTH:
            return False
    return True


def _lines_of_columns(region: list[_Row], gutters: list[_Gap]) -> list[list[_Row]]:
    """Return the lines of each column; the strips are parts of them."""
    columns: list[list[_Row]] = [[] for _ in range(len(gutters) + 1)]
    for row in region:
        for number, column in enumerate(columns):
            line = [strip for strip in row if _column_of(strip, gutters) == number]
            if line:
                column.append(line)
    return columns


def _parted(above: _Row, row: _Row, unit: float) -> bool:
    return min(s.y0 for s in row) - max(s.y1 for s in above) > _PARAGRAPH * unit
