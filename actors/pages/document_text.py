"""Assemble lines into the text of a document, with the position of every word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from actors.pages.hyphens import HyphenatedWords
from actors.pages.layout import Line, reading_order
from actors.pages.page import OcrResult, PageSize, Strip, Word
from actors.spans import Box

# In line heights: narrower gaps are spaces between words; wider ones part cells if they are as wide
# as the second, or if a line above or below has a gap there, too.
_CELL_GAP, _SURE_GAP = 1.2, 2.5


def size_of(width: int, height: int, strips: Sequence[Strip]) -> PageSize:
    """Return the size of a page, turned as most of its letters are."""
    letters: Counter[int] = Counter()
    for strip in strips:
        letters[strip.turn] += sum(len(word.text) for word in strip.words)
    return PageSize(width, height, letters.most_common(1)[0][0] if letters else 0)


def compose(pages: Sequence[tuple[PageSize, Sequence[Strip]]]) -> OcrResult:
    """Compose the result of a document from the strips of its pages.

    Words are separated by a space, cells of a row by a tab, lines by a newline, paragraphs and
    pages by a blank line. A word that a hyphen breaks at a line's end is whole in the text, and two
    Words. Text that runs in another direction than its page's follows the page's own.
    """
    text = _Text()
    known = HyphenatedWords(
        word.text for _, strips in pages for strip in strips for word in strip.words
    )
    for number, (size, strips) in enumerate(pages):
        first = True
        for turn in _turns(size, strips):
            lines = reading_order([strip for strip in strips if strip.turn == turn])
            for index, line in enumerate(lines):
                above = lines[index - 1] if index else None
                following = lines[index + 1] if index + 1 < len(lines) else None
                if text.length and not text.open:
                    text.add("\n\n" if line.apart or first or index == 0 else "\n")
                first = False
                gaps = list(_gaps(line, (above, following)))
                _line(text, line, gaps, number, (turn - size.turn) % 360, known, following)
    return OcrResult("".join(text.parts), tuple(text.words), tuple(size for size, _ in pages))


class _Text:
    """A text builder that tracks the length. ``open``: its last word goes on in the next line."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.words: list[Word] = []
        self.length = 0
        self.open = False

    def add(self, part: str) -> None:
        self.parts.append(part)
        self.length += len(part)


def _turns(size: PageSize, strips: Sequence[Strip]) -> list[int]:
    """Return the directions of a page's text, its own first."""
    return sorted({strip.turn for strip in strips}, key=lambda turn: (turn - size.turn) % 360)


def _line(
    text: _Text,
    line: Line,
    gaps: Sequence[str],
    page: int,
    turn: int,
    known: HyphenatedWords,
    following: Line | None,
) -> None:
    """Add a line; ``gaps``: what stands between its cells."""
    last = line.cells[-1].words[-1]
    shown = last.text
    continuing, text.open = text.open, False
    if following is not None and "\t" not in gaps:
        continued = known.joined(last.text, following.cells[0].words[0].text)
        if continued is not None:
            shown, text.open = continued, True
    for place, cell in enumerate(line.cells):
        for index, word in enumerate(cell.words):
            if place or index:
                # The line ends where the word does that began in the one before.
                text.add("\n" if continuing else " " if index else gaps[place - 1])
                continuing = False
            start = text.length
            text.add(shown if word is last else word.text)
            box = Box(page, word.x0, word.y0, word.x1, word.y1)
            text.words.append(Word(start, text.length, box, word.confidence, turn, word.field))


def _gaps(line: Line, neighbours: Sequence[Line | None]) -> Iterator[str]:
    """Yield what stands between the cells of a line: a tab, or the space of words."""
    for left, right in pairwise(line.cells):
        height = min(left.height, right.height)
        gap = (left.x1, right.x0)
        width = gap[1] - gap[0]
        is_cell = width > _CELL_GAP * height and (
            width > _SURE_GAP * height
            or any(_has_gap(other, gap, height) for other in neighbours if other is not None)
        )
        yield "\t" if is_cell else " "


def _has_gap(line: Line, gap: tuple[float, float], height: float) -> bool:
    """Return True if a line has a gap between cells at about the same place."""
    return any(
        min(right.x0, gap[1]) - max(left.x1, gap[0]) > _CELL_GAP / 2 * height
        for left, right in pairwise(line.cells)
    )
