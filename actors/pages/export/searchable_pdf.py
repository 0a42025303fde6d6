"""Searchable PDF: pages look as before, and the words that OCR read can be searched and copied.

The pages of a PDF stay as they are and get invisible words where OCR read some; its own text is
not written again. Any other file becomes a PDF of its pages as JPEG images.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import replace
from typing import BinaryIO

import numpy as np
from PIL import Image
from pypdf import PageObject, PdfReader, PdfWriter
from pypdf.errors import PyPdfError
from pypdf.generic import (
    ArrayObject,
    DecodedStreamObject,
    DictionaryObject,
    IndirectObject,
    NameObject,
    NumberObject,
    PdfObject,
    StreamObject,
)

from actors.pages.decoding import page_format
from actors.pages.errors import DamagedFile
from actors.pages.export.invisible_font import ADVANCE, add_font, encode
from actors.pages.export.pdf_stream import PdfStream
from actors.pages.export.text_lines import TextPage, text_pages
from actors.pages.page import DecodeLimits, OcrResult, Picture
from actors.pages.process import open_pages

_POINTS_PER_INCH = 72
_QUALITY = 85
_FONT, _IMAGE = "/MedspanText", "/MedspanPage"


def write_searchable_pdf(
    content: bytes, result: OcrResult, limits: DecodeLimits, out: BinaryIO
) -> None:
    """Write the file ``content`` as a searchable PDF with the words of ``result``.

    ``limits``: those it was read with; images are taken to have their ``dpi``, and are written page
    by page. Raises PageError, after which what was written is no PDF.
    """
    pages = text_pages(result)
    try:
        if page_format(content) == "pdf":
            _on_pages(content, pages).write(out)
        else:
            _write_images(content, pages, limits, out)
    except PyPdfError as error:
        raise DamagedFile(f"the PDF cannot be rewritten: {type(error).__name__}") from None


def _on_pages(content: bytes, pages: Iterable[TextPage]) -> PdfWriter:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(content)))
    font = add_font(writer._add_object)
    for page, text in zip(writer.pages, pages, strict=True):
        box = page.cropbox
        size = (float(box.width), float(box.height))
        turn = page.rotation % 360
        shown = size if turn in (0, 180) else size[::-1]
        # Words of the text layer have no confidence: they are in the PDF already.
        words = _words(text, shown, only_ocr=True)
        if words:
            corner = (float(box.left), float(box.bottom))
            _append(writer, page, f"q {_upright(turn, corner, size)} cm\n{words}Q\n", font)
    return writer


def _write_images(
    content: bytes, pages: Iterable[TextPage], limits: DecodeLimits, out: BinaryIO
) -> None:
    pdf = PdfStream(out)
    font = add_font(pdf.add)
    pictures = open_pages(content, replace(limits, text_layer=False))
    for page, text in zip(pictures, pages, strict=True):
        if page.picture is None:  # a report within a DICOM file has words alone
            page = replace(page, picture=np.full((page.height, page.width, 3), 255, np.uint8))
        assert page.picture is not None
        size = _points(page.width, limits), _points(page.height, limits)
        drawn = f"q {size[0]:.2f} 0 0 {size[1]:.2f} 0 0 cm {_IMAGE} Do Q\n"
        named = ("/XObject", _IMAGE, pdf.add(_jpeg(page.picture))), ("/Font", _FONT, font)
        resources = DictionaryObject(
            {
                NameObject(kind): DictionaryObject({NameObject(name): value})
                for kind, name, value in named
            }
        )
        contents = pdf.add(_stream(drawn + _words(text, size, only_ocr=False)))
        pdf.add_page(size, contents, resources)
    pdf.finish()


def _points(pixels: int, limits: DecodeLimits) -> float:
    return pixels * _POINTS_PER_INCH / limits.dpi


def _words(text: TextPage, size: tuple[float, float], *, only_ocr: bool) -> str:
    """Return the operators that write the words of a page of this size in points; or nothing."""
    width, height = size
    across, down = width / text.size.width, height / text.size.height
    operators = []
    for block in text.blocks:
        for line in block.lines:
            for word in line.words:
                if word.confidence is not None or not only_ocr:
                    x0, y0, x1, y1 = word.box
                    place = (x0 * across, height - y1 * down, x1 * across, height - y0 * down)
                    operators.append(_word(word.text, place, line.turn))
    return f"BT 3 Tr\n{''.join(operators)}ET\n" if operators else ""


def _word(text: str, place: tuple[float, float, float, float], turn: int) -> str:
    """Return the operators for a word that fills its rectangle, in points from the bottom left."""
    left, bottom, right, top = place
    long, high = right - left, top - bottom
    if turn in (90, 270):
        long, high = high, long
    # The axes of the text, and the corner where its baseline begins.
    axes, x, y = {
        0: ("1 0 0 1", left, bottom),
        90: ("0 1 -1 0", right, bottom),
        180: ("-1 0 0 -1", right, top),
        270: ("0 -1 1 0", left, top),
    }[turn]
    high = max(high, 0.1)
    units = len(encode(text)) // 4
    stretch = 100 * max(long, 0.1) / (units * ADVANCE * high)
    shown = f"<{encode(text + ' ')}> Tj"
    return f"{_FONT} {high:.2f} Tf {stretch:.2f} Tz {axes} {x:.2f} {y:.2f} Tm {shown}\n"


def _upright(turn: int, corner: tuple[float, float], size: tuple[float, float]) -> str:
    """Return the matrix from the page as a viewer shows it, turned by /Rotate, to its own axes."""
    (left, bottom), (width, height) = corner, size
    axes, x, y = {
        0: ("1 0 0 1", left, bottom),
        90: ("0 1 -1 0", left + width, bottom),
        180: ("-1 0 0 -1", left + width, bottom + height),
        270: ("0 -1 1 0", left, bottom + height),
    }[turn]
    return f"{axes} {x:.2f} {y:.2f}"


def _append(writer: PdfWriter, page: PageObject, operators: str, font: IndirectObject) -> None:
    """Append operators to a page, whatever graphics state its own leave behind."""
    own: list[PdfObject] = []
    if "/Contents" in page:
        raw = page.raw_get("/Contents")
        resolved = raw.get_object()
        own = list(resolved) if isinstance(resolved, ArrayObject) else [raw]
    before, after = _stream("q\n"), _stream("\nQ\n" + operators)
    parts = [writer._add_object(before), *own, writer._add_object(after)]
    page[NameObject("/Contents")] = ArrayObject(parts)
    _resource(page, "/Font", _FONT, font)


def _stream(operators: str) -> StreamObject:
    stream = DecodedStreamObject()
    stream.set_data(operators.encode("ascii"))
    return stream.flate_encode()


def _resource(page: PageObject, kind: str, name: str, value: IndirectObject) -> None:
    """Name an object in the resources of a page, which may share them with others."""
    resources = DictionaryObject(page.get("/Resources", DictionaryObject()).get_object())
    named = DictionaryObject(resources.get(kind, DictionaryObject()).get_object())
    named[NameObject(name)] = value
    resources[NameObject(kind)] = named
    page[NameObject("/Resources")] = resources


def _jpeg(picture: Picture) -> StreamObject:
    file = io.BytesIO()
    Image.fromarray(picture[:, :, ::-1]).save(file, "JPEG", quality=_QUALITY)
    height, width = picture.shape[:2]
    image = StreamObject()
    image.set_data(file.getvalue())
    image.update(
        {
            NameObject("/Type"): NameObject("/XObject"),
            NameObject("/Subtype"): NameObject("/Image"),
            NameObject("/Width"): NumberObject(width),
            NameObject("/Height"): NumberObject(height),
            NameObject("/ColorSpace"): NameObject("/DeviceRGB"),
            NameObject("/BitsPerComponent"): NumberObject(8),
            NameObject("/Filter"): NameObject("/DCTDecode"),
        }
    )
    return image
