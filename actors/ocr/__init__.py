"""OCR: the only package that imports rapidocr.

``OcrReader`` takes documents with images or PDFs and returns their text with the position of every
word. Detection and recognition are batched over the lines of several pages.
"""

from __future__ import annotations

from actors.extras import optional_imports

with optional_imports("reading pictures"):
    from actors.ocr.networks import network_files
    from actors.ocr.reader import OcrLost, OcrReader

__all__ = ["OcrLost", "OcrReader", "network_files"]
