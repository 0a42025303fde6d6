"""Assemble lines into the text of a document, with the position of every word."""

from __future__ import annotations

from collections.abc import Sequence

from actors.pages.layout import reading_order
from actors.pages.page import OcrResult, PageSize, Strip, Word
from actors.spans import Box

_CELL_GAP = 1.2  # in line heights: narrower gaps are spaces between words


def compose(pages: Sequence[tuple[PageSize, Sequence[Strip]]]) -> OcrResult:
    """Compose the result of a document from the strips of its pages.

    Words are separated by a space, cells of a row by a tab, lines by a newline, paragraphs and
    pages by a blank line.
    """
    text = _Text()
    for number, (_, strips) in enumerate(pages):
        for index, line in enumerate(reading_order(strips)):
            if text.length:
                text.add("\n\n" if line.apart or index == 0 else "\n")
            for place, cell in enumerate(line.cells):
                if place:
                    text.add(_between(line.cells[place - 1], cell))
                _cell(text, cell, number)
    return OcrResult("".join(text.parts), tuple(text.words), tuple(size for size, _ in pages))


class _Text:
    """A text builder that tracks the length."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.words: list[Word] = []
        self.length = 0

    def add(self, part: str) -> None:
        self.parts.append(part)
        self.length += len(part)


def _cell(text: _Text, cell: Strip, page: int) -> None:
    for index, word in enumerate(cell.words):
        if index:
            text.add(" ")
        start = text.length
        text.add(word.text)
        box = Box(page, word.x0, word.y0, word.x1, word.y1)
        text.words.append(Word(start, text.length, box, word.confidence))


def _between(left: Strip, right: Strip) -> str:
    height = min(left.height, right.height)
    return "\t" if right.x0 - left.x1 > _CELL_GAP * height else " "
