"""Signatures, stamps, handwriting and bar codes on pages: masked whole, with the words in them.

OCR reads such words badly, so no rule can tell which of them are names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from actors.config.deidentify import Category, Deidentify
from actors.deidentify.findings import Finding, Strength
from actors.pages import DecodeLimits, OcrResult, Word
from actors.spans import Box


@dataclass(frozen=True, slots=True)
class TakenMark:
    """A mark that the configuration masks, and where in the text the words in it are.
    ``content``: what a bar code says."""

    category: Category
    box: Box
    spans: tuple[tuple[int, int], ...]
    content: str = ""

    def findings(self) -> Iterator[Finding]:
        """Its words, as identifiers to take."""
        for start, end in self.spans:
            yield Finding(start, end, self.category, "mark", Strength.NAMED)


def with_bar_codes(
    content: bytes,
    reading: OcrResult,
    limits: DecodeLimits,
    config: Deidentify,
    cancelled: Callable[[], bool] = lambda: False,
) -> OcrResult:
    """The reading with the bar codes on the pages of a file among its marks, unless they are kept.

    ``cancelled`` is polled. Raises a PageError.
    """
    if not config.takes(Category.BARCODE):
        return reading
    from actors.pages.bar_codes import page_bar_codes  # its libraries take a while to import

    codes = page_bar_codes(content, limits, cancelled)
    return replace(reading, marks=(*reading.marks, *codes))


def taken_marks(reading: OcrResult, config: Deidentify) -> tuple[TakenMark, ...]:
    """The marks of a document's pages, but for those whose policy is ``keep``."""
    by_page: dict[int, list[Word]] = defaultdict(list)
    for word in reading.words:
        by_page[word.box.page].append(word)
    marks = [(Category(mark.kind.name), mark) for mark in reading.marks]
    return tuple(
        TakenMark(category, mark.box, tuple(_spans(by_page[mark.box.page], mark.box)), mark.content)
        for category, mark in marks
        if config.takes(category)
    )


def _spans(words: Sequence[Word], area: Box) -> Iterator[tuple[int, int]]:
    """Runs of words with their middle in the area, as places in the text."""
    start = end = None
    for word in words:
        if area.holds(word.box):
            start, end = word.start if start is None else start, word.end
        elif start is not None and end is not None:
            yield start, end
            start = None
    if start is not None and end is not None:
        yield start, end
