"""Decode images and PDFs to pages, and map entities to positions on the pages.

``open_pages`` decodes in a separate process with limits; ``compose`` puts words into reading order;
``place`` gives entities their boxes. OCR itself is in ``actors.ocr``.
"""

from __future__ import annotations

from actors.pages.boxes import place
from actors.pages.document_text import compose
from actors.pages.errors import (
    DamagedFile,
    EmptyFile,
    PageError,
    PasswordNeeded,
    TooLarge,
    TooManyPages,
    TooManyPixels,
    TooSlow,
    UnknownFormat,
    UnsupportedEncoding,
)
from actors.pages.formats import kind_of
from actors.pages.page import (
    Limits,
    OcrResult,
    Page,
    PageSize,
    Picture,
    PixelBudget,
    PlacedWord,
    Strip,
    Word,
)
from actors.pages.process import open_pages

__all__ = [
    "DamagedFile",
    "EmptyFile",
    "Limits",
    "OcrResult",
    "Page",
    "PageError",
    "PageSize",
    "PasswordNeeded",
    "Picture",
    "PixelBudget",
    "PlacedWord",
    "Strip",
    "TooLarge",
    "TooManyPages",
    "TooManyPixels",
    "TooSlow",
    "UnknownFormat",
    "UnsupportedEncoding",
    "Word",
    "compose",
    "kind_of",
    "open_pages",
    "place",
]
