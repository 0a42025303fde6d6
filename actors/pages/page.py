"""The words of this room: pages before reading, and what was read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.config.ocr import PageLimits
from actors.pages.errors import TooManyPixels
from actors.spans import Box

Picture = NDArray[np.uint8]
"""Height x width x 3, blue first: the order of OpenCV and of the recognition models."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a file may ask for before it is refused. ``text_layer``: whether a PDF page's own text
    is taken; else every page is rendered. ``page_seconds``: CPU seconds, and ``page_bytes``: memory
    beside the file itself, that decoding or rendering one page may take."""

    dpi: int = 200
    max_pages: int = 500
    max_pixels: int = 60_000_000
    text_layer: bool = True
    page_seconds: float = 10.0
    page_bytes: int = 2_000_000_000

    @classmethod
    def of(cls, asked: PageLimits) -> Limits:
        """The limits that a model file asks for."""
        return cls(
            asked.dpi,
            asked.max_pages,
            int(asked.max_megapixels * 1e6),
            asked.text_layer,
            asked.page_seconds,
            int(asked.page_memory_mb * 1e6),
        )


@dataclass(frozen=True, slots=True)
class PageSize:
    """A page as boxes are measured on it: the picture as a viewer shows it, with its EXIF
    orientation applied, or the PDF page rendered at the configured resolution.

    ``turn``: degrees clockwise that make the text upright, found by reading it; boxes are not
    turned.
    """

    width: int
    height: int
    turn: int = 0


@dataclass(frozen=True, slots=True)
class PlacedWord:
    """A word on a page, not yet in a text. ``confidence`` is None where nothing was guessed."""

    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Strip:
    """Words that stand beside each other: a line, or a cell of one. The rectangle is the strip's
    own on the page after deskewing: reading order is found with it, boxes are made of words."""

    words: tuple[PlacedWord, ...]
    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def height(self) -> float:
        """Height of the strip, which is about that of its letters."""
        return self.y1 - self.y0


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a file: a picture to read, or the strips of a PDF's own text layer."""

    width: int
    height: int
    picture: Picture | None = None
    strips: tuple[Strip, ...] = ()


class PixelBudget:
    """Pixels that several files may have together: those of one request. For one thread."""

    def __init__(self, pixels: int) -> None:
        self._most = self._left = pixels

    def take(self, page: Page) -> None:
        """Count a decoded page; raises TooManyPixels where the pages are too large together."""
        self._left -= page.width * page.height
        if self._left < 0:
            raise TooManyPixels(
                f"the pictures of a request have more than {self._most / 1e6:g} megapixels together"
            )


@dataclass(frozen=True, slots=True)
class Word:
    """Where a word of the text is on its page: ``text[start:end]`` lies in ``box``."""

    start: int
    end: int
    box: Box
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: the text that offsets refer to, its words in order, and its pages."""

    text: str
    words: tuple[Word, ...]
    pages: tuple[PageSize, ...]
