"""The lines of a result, with the place of each word as if its text was upright."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from actors.pages.page import OcrResult, Word


@dataclass(frozen=True, slots=True)
class UprightSpan:
    """Adjacent words of a line: ``text[start:end]``, from ``low`` to ``high`` along the line and
    from ``top`` to ``bottom`` across it, in pixels of the page rotated until the text is upright.
    ``field``: the form field, if they are in one."""

    start: int
    end: int
    low: float
    high: float
    top: float
    bottom: float
    field: str | None = None


UprightCell = tuple[UprightSpan, ...]
"""The words between two tabs of a line."""
UprightLine = tuple[UprightCell, ...]


def upright_lines(result: OcrResult) -> Iterator[tuple[int, list[UprightLine]]]:
    """Yield the lines of words that run in the same direction, with the number of their page."""
    for (page, _), words in groupby(result.words, lambda word: (word.box.page, word.turn)):
        yield page, list(_lines(result, list(words)))


def joined(spans: Sequence[UprightSpan]) -> UprightSpan:
    """Return adjacent spans as one."""
    return UprightSpan(
        spans[0].start,
        spans[-1].end,
        min(one.low for one in spans),
        max(one.high for one in spans),
        min(one.top for one in spans),
        max(one.bottom for one in spans),
        spans[0].field,
    )


def _lines(result: OcrResult, words: Sequence[Word]) -> Iterator[UprightLine]:
    line: list[UprightCell] = []
    cell: list[UprightSpan] = []
    for word, following in pairwise([*words, None]):
        assert word is not None
        cell.append(_upright(word, result.pages[word.box.page].turn))
        gap = "\n" if following is None else result.text[word.end : following.start]
        if gap == " ":
            continue
        line.append(tuple(cell))
        cell = []
        if "\t" not in gap:  # a line ends, or a word that is broken there
            yield tuple(line)
            line = []


def _upright(word: Word, page_turn: int) -> UprightSpan:
    box = word.box
    place = {
        0: (box.x0, box.x1, box.y0, box.y1),
        90: (-box.y1, -box.y0, box.x0, box.x1),
        180: (-box.x1, -box.x0, -box.y1, -box.y0),
        270: (box.y0, box.y1, -box.x1, -box.x0),
    }[(page_turn + word.turn) % 360]
    return UprightSpan(word.start, word.end, *place, word.field)
