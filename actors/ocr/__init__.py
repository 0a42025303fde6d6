"""Reading pictures: the only room that imports rapidocr.

``OcrReader`` takes documents with pictures or PDFs and gives their text with the place of every
word. Detection and recognition are batched over the lines of several pages.
"""

from __future__ import annotations

from actors.extras import optional_imports

with optional_imports("reading pictures"):
    from actors.ocr.models import network_files
    from actors.ocr.reader import OcrReader, ReadFailure

__all__ = ["OcrReader", "ReadFailure", "network_files"]
