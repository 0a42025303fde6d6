"""Decode images and PDFs to pages, and map entities to positions on the pages.

``open_pages`` decodes in a separate process with limits; ``compose`` puts words into reading order;
``place`` gives entities their boxes. OCR itself is in ``actors.ocr``.
"""

from __future__ import annotations

from actors.pages.boxes import place
from actors.pages.coverage import Coverage
from actors.pages.decoding import page_format
from actors.pages.document_text import compose, size_of
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
from actors.pages.fields import find_fields
from actors.pages.notes import Note, page_problems
from actors.pages.page import (
    CHECKED,
    UNCHECKED,
    DecodeLimits,
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
from actors.pages.rectangles import Rectangle, strip_of, turned_box, union
from actors.pages.tables import find_tables

__all__ = [
    "CHECKED",
    "UNCHECKED",
    "Coverage",
    "DamagedFile",
    "DecodeLimits",
    "EmptyFile",
    "Note",
    "OcrResult",
    "Page",
    "PageError",
    "PageSize",
    "PasswordNeeded",
    "Picture",
    "PixelBudget",
    "PlacedWord",
    "Rectangle",
    "Strip",
    "TooLarge",
    "TooManyPages",
    "TooManyPixels",
    "TooSlow",
    "UnknownFormat",
    "UnsupportedEncoding",
    "Word",
    "compose",
    "find_fields",
    "find_tables",
    "open_pages",
    "page_format",
    "page_problems",
    "place",
    "size_of",
    "strip_of",
    "turned_box",
    "union",
]
