"""Give words that OCR has read in the boxes of a form the name of their field.

A check box becomes a word, ☒ or ☐, named by the words beside it. The words in a ruled box are the
value of a label without a colon: small print in its corner, the words before or above it, or the
cell to its left in rows of two cells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from actors.ocr.form_boxes import FormBoxes
from actors.ocr.line_crops import source_box
from actors.ocr.networks import Quad
from actors.pages import CHECKED, UNCHECKED, PlacedWord, Rectangle, Strip, turned_box, union

_MOST_WORDS, _MOST_CHECKED, _MOST_VALUE = 5, 8, 25  # of a label, of a check box's label, of a value
_WORD = re.compile(r"[^\W\d_][\w.'’()/#&°-]*", re.UNICODE)
_SMALL = 0.9  # of the height of its value: small print in the corner of a cell
_CONFIDENCE = 0.95  # of a check box: about as many were found right on made forms
# In line heights, or sides of a check box.
_BESIDE, _SPACE = 1.5, 1.2  # from a check box to its label, and between the words of that
_BEFORE, _ABOVE, _ALIGNED = 12.0, 1.0, 1.5  # from a box to its label, and their left sides
_JOINED = 0.5  # between cells that share a border


@dataclass(slots=True)
class _Line:
    """A strip, with the rectangles of its words on the upright page."""

    strip: Strip
    boxes: list[Rectangle]

    @property
    def box(self) -> Rectangle:
        return union(self.boxes)

    @property
    def height(self) -> float:
        return max(1.0, self.strip.height)


def with_form_fields(
    strips: Sequence[Strip], boxes: FormBoxes, size: tuple[int, int], turn: int
) -> list[Strip]:
    """Return the strips of a page with check boxes among their words, and with the names of fields.
    ``boxes``: on the page of ``size`` rotated clockwise by ``turn`` degrees, as its strips are."""
    if not boxes.checks and not boxes.cells:
        return list(strips)
    others = [one for one in strips if one.turn != turn]
    lines = [
        _Line(one, [turned_box((w.x0, w.y0, w.x1, w.y1), size, turn) for w in one.words])
        for one in strips
        if one.turn == turn
    ]
    _name_cells(lines, [_bounds(quad) for quad in boxes.cells])
    marks = [(_bounds(one.quad), one.on) for one in boxes.checks]
    for at, (box, on) in enumerate(marks):
        source = source_box(boxes.checks[at].quad, size, turn)
        _insert(lines, box, source, on, [other for other, _ in marks])
    return [*(line.strip for line in lines), *others]


def _insert(
    lines: Sequence[_Line], box: Rectangle, source: Rectangle, on: bool, marks: Sequence[Rectangle]
) -> None:
    """Put a check box before or after its label; one without a label is none."""
    side = box[2] - box[0]
    level = [line for line in lines if _is_level(line, box)]
    for line, first, step in _nearest(level, box, side):
        indexes = list(_label(line, first, step, marks))
        if not indexes:
            continue
        low, high = min(indexes), max(indexes)
        name = " ".join(word.text for word in line.strip.words[low : high + 1]).strip(" :")
        word = PlacedWord(CHECKED if on else UNCHECKED, *source, _CONFIDENCE, name)
        at = low if step > 0 else high + 1
        words = (*line.strip.words[:at], word, *line.strip.words[at:])
        before, after = (box[0] - line.box[0], box[2] - line.box[2])
        line.strip = replace(
            line.strip,
            words=words,
            x0=line.strip.x0 + min(0.0, before),
            x1=line.strip.x1 + max(0.0, after),
        )
        line.boxes.insert(at, box)
        return


def _nearest(
    lines: Sequence[_Line], box: Rectangle, side: float
) -> Iterator[tuple[_Line, int, int]]:
    """Yield the line, the word and the direction of what may be a label, to the right first."""
    for step in (1, -1):
        found = [
            (gap, at, number)
            for at, line in enumerate(lines)
            for number, word in enumerate(line.boxes)
            if line.strip.words[number].text not in (CHECKED, UNCHECKED)
            and -0.4 * side < (gap := _gap(box, word, step)) < _BESIDE * side
        ]
        if found:
            _, at, number = min(found)
            yield lines[at], number, step


def _gap(box: Rectangle, word: Rectangle, step: int) -> float:
    return word[0] - box[2] if step > 0 else box[0] - word[2]


def _label(line: _Line, first: int, step: int, marks: Sequence[Rectangle]) -> Iterator[int]:
    """Yield the words from ``first`` on that belong together, up to a gap or another check box."""
    last: Rectangle | None = None
    for number in range(first, len(line.boxes) if step > 0 else -1, step):
        word, box = line.strip.words[number], line.boxes[number]
        if word.text in (CHECKED, UNCHECKED) or abs(number - first) >= _MOST_CHECKED:
            return
        if last is not None:
            low, high = (last[2], box[0]) if step > 0 else (box[2], last[0])
            between = any(
                low - 3 < (one[0] + one[2]) / 2 < high + 3 and one[1] < box[3] and box[1] < one[3]
                for one in marks
            )
            if between or high - low > _SPACE * line.height:
                return
        yield number
        last = box


def _is_level(line: _Line, box: Rectangle) -> bool:
    middle, side = (box[1] + box[3]) / 2, box[3] - box[1]
    return any(one[1] - 0.3 * side < middle < one[3] + 0.3 * side for one in line.boxes)


def _name_cells(lines: Sequence[_Line], cells: Sequence[Rectangle]) -> None:
    """Give the words in ruled cells the name of their label."""
    within = [_cell_of(line, cells) for line in lines]
    free = [line for line, cell in zip(lines, within, strict=True) if cell is None]
    rows = {
        cell: sorted(
            (line for line, own in zip(lines, within, strict=True) if own == cell),
            key=lambda line: line.box[1],
        )
        for cell in cells
    }
    for cell in cells:
        own = rows[cell]
        if not own:
            continue
        left, right = _joined(cell, cells, -1), _joined(cell, cells, 1)
        if _is_small_print(own):
            _name(_text(own[0]), own[1:])
        elif left is None and right is None:
            label = _outside(cell, free, cells)
            if label is not None:
                _name(_text(label), own)
        elif left is not None and right is None and _joined(left, cells, -1) is None:
            before = rows[left]
            if len(before) == 1 and not _is_small_print(before) and _is_label(before[0]):
                _name(_text(before[0]), own)


def _name(name: str, lines: Sequence[_Line]) -> None:
    if sum(len(line.strip.words) for line in lines) <= _MOST_VALUE:
        for line in lines:
            words = tuple(replace(word, field=name) for word in line.strip.words)
            line.strip = replace(line.strip, words=words)


def _is_small_print(lines: Sequence[_Line]) -> bool:
    """Return True if the first line of a cell is the label of those below."""
    return (
        len(lines) > 1
        and _is_label(lines[0])
        and lines[0].height < _SMALL * min(line.height for line in lines[1:])
    )


def _outside(cell: Rectangle, lines: Sequence[_Line], cells: Sequence[Rectangle]) -> _Line | None:
    """Return the label before or above a box that stands alone."""
    before = [
        line
        for line in lines
        if cell[1] < (line.box[1] + line.box[3]) / 2 < cell[3]
        and line.box[2] < cell[0] + 0.3 * line.height
        and cell[0] - line.box[2] < _BEFORE * line.height
    ]
    if before:
        nearest = max(before, key=lambda line: line.box[2])
        edge = nearest.box[2]
        blocked = any(
            edge <= one[0] and one[2] <= cell[0] and one[1] < nearest.box[3] < one[3] + 1
            for one in cells
        )
        return nearest if _is_label(nearest) and not blocked else None
    above = [
        line
        for line in lines
        if -0.4 * line.height < cell[1] - line.box[3] < _ABOVE * line.height
        and abs(line.box[0] - cell[0]) < _ALIGNED * line.height
        and line.box[2] < cell[2] + line.height
    ]
    return above[0] if len(above) == 1 and _is_label(above[0]) else None


def _is_label(line: _Line) -> bool:
    """Return True for a few words without digits. One with a colon is a label anyhow."""
    texts = [word.text for word in line.strip.words]
    return (
        len(texts) <= _MOST_WORDS
        and not texts[-1].endswith(":")
        and all(_WORD.fullmatch(text.rstrip("*")) for text in texts)
    )


def _text(line: _Line) -> str:
    return " ".join(word.text for word in line.strip.words).rstrip("* ")


def _cell_of(line: _Line, cells: Sequence[Rectangle]) -> Rectangle | None:
    """Return the smallest cell that a line is in."""
    box = line.box
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    around = [one for one in cells if one[0] < x < one[2] and one[1] < y < one[3]]
    return min(around, key=lambda one: (one[2] - one[0]) * (one[3] - one[1]), default=None)


def _joined(cell: Rectangle, cells: Sequence[Rectangle], side: int) -> Rectangle | None:
    """Return the cell that shares the left (-1) or right (1) border of a cell."""
    height = cell[3] - cell[1]
    for other in cells:
        gap = other[0] - cell[2] if side > 0 else cell[0] - other[2]
        shared = min(cell[3], other[3]) - max(cell[1], other[1])
        if other != cell and abs(gap) < _JOINED * height and shared > 0.6 * height:
            return other
    return None


def _bounds(quad: Quad) -> Rectangle:
    (x0, y0), (x1, y1) = quad.min(axis=0), quad.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)
