"""Read PDF with pdfium: the words that a page has, and an image of it where OCR may find more."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw
from numpy.typing import NDArray

from actors.pages.annotations import Annotated, read_annotations
from actors.pages.errors import DamagedFile, EmptyFile, PasswordNeeded, TooManyPages
from actors.pages.notes import Note
from actors.pages.page import DecodeLimits, Page, Picture, PlacedWord
from actors.pages.page_objects import PageObjects, page_objects
from actors.pages.page_transform import Device
from actors.pages.rectangles import Rectangle, union
from actors.pages.text_layer import TextLayer, read_text_layer

# pdfium has global state: two threads inside it, even on two documents, corrupt it.
_LOCK = threading.Lock()
_POINTS_PER_INCH = 72
_LOOK_DPI = 100  # resolution at which words are looked at to tell whether they can be seen
_LEAST_PICTURE = (24.0, 8.0)  # points of the longer and shorter side: less shows no words
_TILES = 20  # from this many pictures on, low ones may be one that was cut into strips
_LOOK_PIXELS = 10_000_000
_MARGIN = 12.0  # points around pictures that are searched, too


def pdf_pages(content: bytes, limits: DecodeLimits) -> Iterator[Page]:
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


def _page(document: pdfium.PdfDocument, index: int, limits: DecodeLimits) -> Page:
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
        annotated = read_annotations(document, page, size)
        if not limits.text_layer:
            return _made(size, annotated, None, _rendered(page, scale), None)
        objects = page_objects(page)
        layer = read_text_layer(page, size, objects, lambda: _looked_at(page))
        if _only_ocr_can_read(page, layer):
            return _made(size, annotated, layer, _rendered(page, scale), None)
        region = _region(page, size, objects, annotated)
        picture = None if region is None else _rendered(page, scale)
        return _made(size, annotated, layer, picture, region)
    finally:
        page.close()


def _only_ocr_can_read(page: pdfium.PdfPage, layer: TextLayer) -> bool:
    """Return True if the text layer has too little of a page that is not blank."""
    if layer.doubtful or layer.broken:
        return True
    return not layer.sure and raw.FPDFPage_CountObjects(page) > 0


def _region(
    page: pdfium.PdfPage, size: tuple[int, int], objects: PageObjects, annotated: Annotated
) -> tuple[int, int, int, int] | None:
    """Return the part of a page, in pixels, that has all its pictures; None without any."""
    device = Device.of(page, size)
    longer, shorter = (side * device.scale for side in _LEAST_PICTURE)
    boxes = []
    for box in [*(device.box(*picture) for picture in objects.pictures), *annotated.drawn]:
        sides = sorted((box[2] - box[0], box[3] - box[1]))
        if sides[1] >= longer and (sides[0] >= shorter or len(objects.pictures) >= _TILES):
            boxes.append(box)
    if not boxes:
        return None
    margin = _MARGIN * device.scale
    x0, y0, x1, y1 = union(boxes)
    region = (
        max(0, int(x0 - margin)),
        max(0, int(y0 - margin)),
        min(size[0], math.ceil(x1 + margin)),
        min(size[1], math.ceil(y1 + margin)),
    )
    return region if region[0] < region[2] and region[1] < region[3] else None


def _made(
    size: tuple[int, int],
    annotated: Annotated,
    layer: TextLayer | None,
    picture: Picture | None,
    region: tuple[int, int, int, int] | None,
) -> Page:
    layer = layer or TextLayer()
    notes = dict(layer.notes)
    if layer.broken:
        notes[Note.UNREADABLE] = layer.broken
    strips = (*layer.sure, *annotated.strips)
    words = [word for strip in strips for word in strip.words]
    struck = sum(any(_is_struck(word, box) for box in annotated.struck_out) for word in words)
    if struck:
        notes[Note.STRUCK_OUT] = struck
    if picture is not None:
        size = (picture.shape[1], picture.shape[0])
    return Page(*size, picture, strips, layer.doubtful, region, annotated.covered, notes)


def _is_struck(word: PlacedWord, box: Rectangle) -> bool:
    x, y = (word.x0 + word.x1) / 2, (word.y0 + word.y1) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _rendered(page: pdfium.PdfPage, scale: float) -> Picture:
    bitmap = page.render(scale=scale)
    try:
        picture = np.ascontiguousarray(bitmap.to_numpy()[:, :, :3])
        return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
    finally:
        bitmap.close()


def _looked_at(page: pdfium.PdfPage) -> NDArray[np.uint8]:
    """Return the page in gray, without its annotations."""
    width, height = page.get_size()
    scale = min(_LOOK_DPI / _POINTS_PER_INCH, math.sqrt(_LOOK_PIXELS / max(width * height, 1.0)))
    bitmap = page.render(scale=scale, grayscale=True, draw_annots=False, may_draw_forms=False)
    try:
        return np.array(bitmap.to_numpy().reshape(bitmap.height, bitmap.width, -1)[:, :, 0])
    finally:
        bitmap.close()
