"""Core types of the pages package: pages before OCR, and the result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.config.ocr import PageLimits
from actors.pages.errors import TooManyPixels
from actors.spans import Box

Picture = NDArray[np.uint8]
"""Height x width x 3, BGR: the channel order of OpenCV and of the recognition models."""


@dataclass(frozen=True, slots=True)
class Limits:
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
    def of(cls, configured: PageLimits) -> Limits:
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
    """A word on a page, before composing the text. ``confidence`` is None if it is certain."""

    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Strip:
    """Adjacent words: a line, or a cell of one. The rectangle is the strip's own on the deskewed
    page: it serves reading order, while boxes are made from words."""

    words: tuple[PlacedWord, ...]
    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def height(self) -> float:
        """Height of the strip, roughly that of its letters."""
        return self.y1 - self.y0


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a file: an image for OCR, or the strips of a PDF's text layer.

    ``problems``: what of the page was left out or is doubtful; never quotes the page.
    """

    width: int
    height: int
    picture: Picture | None = None
    strips: tuple[Strip, ...] = ()
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
    """Position of a word of the text on its page: ``text[start:end]`` is inside ``box``."""

    start: int
    end: int
    box: Box
    confidence: float | None


@dataclass(frozen=True, slots=True)
class OcrResult:
    """The OCR result: the text that offsets refer to, its words in order, and its pages.

    ``problems``: what was left out or is doubtful, by page, counted from 1.
    """

    text: str
    words: tuple[Word, ...]
    pages: tuple[PageSize, ...]
    problems: tuple[str, ...] = ()
