"""The words of a result as pages of blocks of lines, as export formats want them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from actors.pages.page import OcrResult, PageSize, Word
from actors.pages.rectangles import Rectangle, union


@dataclass(frozen=True, slots=True)
class TextWord:
    """A word with its rectangle in pixels, and its mean probability if OCR read it."""

    text: str
    box: Rectangle
    confidence: float | None


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of words. ``turn``: degrees clockwise that make it upright."""

    words: tuple[TextWord, ...]
    turn: int

    @property
    def box(self) -> Rectangle:
        """The rectangle around its words."""
        return union([word.box for word in self.words])


@dataclass(frozen=True, slots=True)
class TextBlock:
    """Lines without a blank line between them."""

    lines: tuple[TextLine, ...]

    @property
    def box(self) -> Rectangle:
        """The rectangle around its lines."""
        return union([line.box for line in self.lines])


@dataclass(frozen=True, slots=True)
class TextPage:
    """A page, counted from 0, with its blocks in reading order."""

    number: int
    size: PageSize
    blocks: tuple[TextBlock, ...]


def text_pages(result: OcrResult) -> Iterator[TextPage]:
    """Yield every page of a result, those without words as well."""
    words = {
        page: list(of_page) for page, of_page in groupby(result.words, lambda word: word.box.page)
    }
    for number, size in enumerate(result.pages):
        yield TextPage(number, size, tuple(_blocks(result.text, size, words.get(number, ()))))


def _blocks(text: str, size: PageSize, words: Sequence[Word]) -> Iterator[TextBlock]:
    lines: list[TextLine] = []
    for begins, line in _lines(text, size, words):
        if begins and lines:
            yield TextBlock(tuple(lines))
            lines = []
        lines.append(line)
    if lines:
        yield TextBlock(tuple(lines))


def _lines(text: str, size: PageSize, words: Iterable[Word]) -> Iterator[tuple[bool, TextLine]]:
    """Yield each line, and whether a blank line precedes it."""
    current: list[Word] = []
    begins = False
    for word in words:
        gap = text[current[-1].end : word.start] if current else ""
        # No gap: the second part of a word that a hyphen breaks at a line's end.
        if current and (not gap or "\n" in gap or word.turn != current[-1].turn):
            yield begins, _line(text, size, current)
            current, begins = [], "\n\n" in gap
        current.append(word)
    if current:
        yield begins, _line(text, size, current)


def _line(text: str, size: PageSize, words: Sequence[Word]) -> TextLine:
    return TextLine(
        tuple(
            TextWord(
                text[word.start : word.end],
                (word.box.x0, word.box.y0, word.box.x1, word.box.y1),
                word.confidence,
            )
            for word in words
        ),
        (size.turn + words[0].turn) % 360,
    )
