"""Read PDF with pdfium: a page's text layer if it has one, otherwise the page as an image."""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Iterator

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw

from actors.pages.errors import DamagedFile, EmptyFile, PasswordNeeded, TooManyPages
from actors.pages.page import Limits, Page, PlacedWord, Strip

# pdfium has global state: two threads inside it, even on two documents, corrupt it.
_LOCK = threading.Lock()
_POINTS_PER_INCH = 72
_FINER = 16  # pdfium returns whole pixels: query on a finer grid
# A scan may carry a stamped line of text, which is not a text layer: below this many characters, a
# page that is mostly an image goes to OCR.
_FEW_CHARACTERS = 100
_MOSTLY = 0.5
_BROKEN_SHARE = 0.1
_CELL_GAP = 1.2  # in line heights: a wider gap separates cells, not words


def pdf_pages(content: bytes, limits: Limits) -> Iterator[Page]:
    """Yield the pages of a PDF."""
    with _LOCK:
        document = _open(content)
    try:
        with _LOCK:
            pages = len(document)
        if pages == 0:
            raise EmptyFile("the PDF has no pages")
        if pages > limits.max_pages:
            raise TooManyPages(f"{pages} pages, more than {limits.max_pages}")
        for index in range(pages):
            with _LOCK:
                page = _page(document, index, limits)
            yield page
    finally:
        with _LOCK:
            document.close()


def _open(content: bytes) -> pdfium.PdfDocument:
    try:
        document = pdfium.PdfDocument(content)
        document.init_forms()
    except pdfium.PdfiumError as error:
        if error.err_code == raw.FPDF_ERR_PASSWORD:
            raise PasswordNeeded("the PDF needs a password") from None
        raise DamagedFile("the PDF is damaged and cannot be opened") from None
    return document


def _page(document: pdfium.PdfDocument, index: int, limits: Limits) -> Page:
    try:
        page = document[index]
    except pdfium.PdfiumError:
        raise DamagedFile(f"page {index} of the PDF cannot be opened") from None
    try:
        width, height = page.get_size()
        # A poster is rendered at a lower resolution instead of being rejected.
        scale = min(
            limits.dpi / _POINTS_PER_INCH,
            math.sqrt(limits.max_pixels / max(width * height, 1.0)) * 0.999,
        )
        size = (max(1, math.ceil(width * scale)), max(1, math.ceil(height * scale)))
        strips = _text_layer(page, size) if limits.text_layer else None
        if strips is not None:
            return Page(*size, strips=strips)
        bitmap = page.render(scale=scale)
        try:
            picture = np.ascontiguousarray(bitmap.to_numpy()[:, :, :3])
            if picture.shape[2] == 1:
                picture = np.repeat(picture, 3, axis=2)
        finally:
            bitmap.close()
        return Page(picture.shape[1], picture.shape[0], picture)
    finally:
        page.close()


def _text_layer(page: pdfium.PdfPage, size: tuple[int, int]) -> tuple[Strip, ...] | None:
    """Return the strips of a page's text layer; None if it has none that can be trusted."""
    text = page.get_textpage()
    try:
        characters = [
            chr(raw.FPDFText_GetUnicode(text, i)) for i in range(raw.FPDFText_CountChars(text))
        ]
        printed = [c for c in characters if not c.isspace()]
        broken = sum(c == "�" or c == "\0" or 0xE000 <= ord(c) <= 0xF8FF for c in printed)
        if not printed or broken > _BROKEN_SHARE * len(printed):
            return None
        if len(printed) < _FEW_CHARACTERS and _picture_share(page) > _MOSTLY:
            return None
        return tuple(
            _strips(characters, [_box(page, text, i, size) for i in range(len(characters))])
        )
    finally:
        text.close()


def _picture_share(page: pdfium.PdfPage) -> float:
    """Return the fraction of the page covered by images; may exceed 1 if they overlap."""
    width, height = page.get_size()
    covered = 0.0
    for item in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE]):
        left, bottom, right, top = item.get_bounds()
        covered += max(0.0, right - left) * max(0.0, top - bottom)
    return float(covered / max(width * height, 1.0))


_Rectangle = tuple[float, float, float, float]


def _box(
    page: pdfium.PdfPage, text: pdfium.PdfTextPage, index: int, size: tuple[int, int]
) -> _Rectangle | None:
    rectangle = raw.FS_RECTF()
    if not raw.FPDFText_GetLooseCharBox(text, index, rectangle):
        return None
    corners = []
    for x, y in ((rectangle.left, rectangle.top), (rectangle.right, rectangle.bottom)):
        column, row = ctypes.c_int(), ctypes.c_int()
        raw.FPDF_PageToDevice(page, 0, 0, size[0] * _FINER, size[1] * _FINER, 0, x, y, column, row)
        corners.append((column.value / _FINER, row.value / _FINER))
    (ax, ay), (bx, by) = corners
    return min(ax, bx), min(ay, by), max(ax, bx), max(ay, by)


def _strips(characters: list[str], boxes: list[_Rectangle | None]) -> Iterator[Strip]:
    words: list[PlacedWord] = []
    letters: list[str] = []
    places: list[_Rectangle] = []
    ended = False  # a line has ended since the last word
    for character, box in zip([*characters, "\n"], [*boxes, None], strict=True):
        if not character.isspace() and character != "\0":
            # pdfium writes U+0002 for the hyphen of a broken word.
            letters.append("-" if character == "\x02" else character)
            if box is not None:
                places.append(box)
            continue
        if letters and places:
            word = PlacedWord("".join(letters), *_union(places))
            if words and (ended or _apart(words[-1], word)):
                yield _strip(words)
                words = []
            words.append(word)
            ended = False
        letters, places = [], []
        ended = ended or character in "\r\n"
    if words:
        yield _strip(words)


def _apart(left: PlacedWord, right: PlacedWord) -> bool:
    height = max(left.y1 - left.y0, right.y1 - right.y0)
    return right.x0 - left.x1 > _CELL_GAP * height or right.x0 < left.x0 - height


def _strip(words: list[PlacedWord]) -> Strip:
    return Strip(tuple(words), *_union([(w.x0, w.y0, w.x1, w.y1) for w in words]))


def _union(boxes: list[_Rectangle]) -> _Rectangle:
    return (
        min(b[0] for b in boxes),
        min(b[1] for b in boxes),
        max(b[2] for b in boxes),
        max(b[3] for b in boxes),
    )
