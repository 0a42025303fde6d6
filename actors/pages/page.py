"""Core types of the pages package: pages before OCR, and the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from actors.config.ocr import PageLimits
from actors.pages.errors import TooManyPixels
from actors.pages.notes import Note
from actors.spans import Box, PageMark

Picture = NDArray[np.uint8]
"""Height x width x 3, BGR: the channel order of OpenCV and of the recognition models."""

CHECKED, UNCHECKED = "☒", "☐"
"""The words that a check box is."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Limits on a file. ``text_layer``: use a PDF page's own text; otherwise every page is
    rendered. ``page_seconds`` (CPU) and ``page_bytes`` (beyond the file itself) limit the decoding
    or rendering of one page."""

    dpi: int = 200
    max_pages: int = 500
    max_pixels: int = 60_000_000
    text_layer: bool = True
    page_seconds: float = 10.0
    page_bytes: int = 2_000_000_000

    @classmethod
    def of(cls, configured: PageLimits) -> DecodeLimits:
        """Return the limits configured in a model file."""
        return cls(
            configured.dpi,
            configured.max_pages,
            int(configured.max_megapixels * 1e6),
            configured.text_layer,
            configured.page_seconds,
            int(configured.page_memory_mb * 1e6),
        )


@dataclass(frozen=True, slots=True)
class PageSize:
    """The page that boxes refer to: the image as a viewer shows it, with EXIF orientation applied,
    or the PDF page rendered at the configured resolution.

    ``turn``: degrees clockwise that make the text upright, detected by OCR; boxes are not rotated.
    """

    width: int
    height: int
    turn: int = 0


@dataclass(frozen=True, slots=True)
class PlacedWord:
    """A word on a page, before composing the text. ``confidence`` is None if it is certain,
    ``field`` the name of its form field, if it has one."""

    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    confidence: float | None = None
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Strip:
    """Adjacent words: a line, or a cell of one. The rectangle is the strip's own on the deskewed
    page, rotated clockwise by ``turn`` degrees: there its text is upright. It serves reading order,
    while boxes are made from words."""

    words: tuple[PlacedWord, ...]
    x0: float
    y0: float
    x1: float
    y1: float
    turn: int = 0

    @property
    def height(self) -> float:
        """Height of the strip, roughly that of its letters."""
        return self.y1 - self.y0


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a file: an image for OCR, the words that a PDF has for it, or both.

    ``strips``: words that need no OCR. ``doubtful``: words of the text layer that count only if OCR
    confirms them. ``region``: the part of the image where OCR may find more than these words, as
    x0, y0, x1, y1 in pixels; None: all of it. ``covered``: rectangles of the text in ``strips``.
    ``notes``: what was left out or read in another way than usual, with its count. ``problems``:
    what else was left out or is doubtful; never quotes the page.
    """

    width: int
    height: int
    picture: Picture | None = None
    strips: tuple[Strip, ...] = ()
    doubtful: tuple[Strip, ...] = ()
    region: tuple[int, int, int, int] | None = None
    covered: tuple[tuple[float, float, float, float], ...] = ()
    notes: Mapping[Note, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


class PixelBudget:
    """Pixel budget shared by several files, such as those of one request. Not thread-safe."""

    def __init__(self, pixels: int) -> None:
        self._total = self._left = pixels

    def take(self, page: Page) -> None:
        """Charge a decoded page; raises TooManyPixels if the budget is exceeded."""
        self._left -= page.width * page.height
        if self._left < 0:
            raise TooManyPixels(
                f"the images of a request exceed {self._total / 1e6:g} megapixels in total"
            )


@dataclass(frozen=True, slots=True)
class Word:
    """Position of a word of the text on its page: ``text[start:end]`` is inside ``box``.

    ``turn``: degrees clockwise, beyond those of its page, that make it upright. ``field``: its form
    field, if it has one. A word that a hyphen breaks at a line's end is two of these,
    without a space between them.
    """

    start: int
    end: int
    box: Box
    confidence: float | None
    turn: int = 0
    field: str | None = None


@dataclass(frozen=True, slots=True)
class OcrResult:
    """The OCR result: the text that offsets refer to, its words in order, and its pages.

    ``problems``: what was left out or is doubtful, by page, counted from 1. ``marks``: stamps,
    signatures and handwriting, in the order of the pages.
    """

    text: str
    words: tuple[Word, ...]
    pages: tuple[PageSize, ...]
    problems: tuple[str, ...] = ()
    marks: tuple[PageMark, ...] = ()
