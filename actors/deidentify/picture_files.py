"""Files made of pictures alone, written a page at a time: no text, no metadata, no dates.

Only one page is held as pixels; the file grows by what it takes compressed.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter

from actors.pages import PageError

_POINTS_PER_INCH = 72


def picture_file(pages: Iterable[Image.Image], kind: str | None, dpi: int) -> tuple[bytes, str]:
    """Encode RGB pages; returns the file and its kind: pdf for ``kind`` pdf, tiff for tiff and for
    more than one page, else png. ``dpi``: the resolution of a PDF's pages.

    Raises PageError if there is no page, and what the iteration raises.
    """
    remaining = iter(pages)
    first = next(remaining, None)
    if first is None:
        raise PageError("the file has no pages")
    if kind == "pdf":
        return _pdf(_with(first, remaining), dpi), "pdf"
    second = next(remaining, None)
    if kind == "tiff" or second is not None:
        # Frames of a GIF, WebP or HEIC become pages: a PNG would hold the first alone.
        rest = () if second is None else _with(second, remaining)
        return _tiff(_with(first, rest)), "tiff"
    out = io.BytesIO()
    first.save(out, "PNG")
    return out.getvalue(), "png"


def _with(first: Image.Image, rest: Iterable[Image.Image]) -> Iterator[Image.Image]:
    yield first
    yield from rest


def _tiff(pages: Iterable[Image.Image]) -> bytes:
    out = io.BytesIO()
    with AppendingTiffWriter(out, new=True) as writer:
        for page in pages:
            page.save(writer, "TIFF", compression="tiff_deflate")
            writer.newFrame()
    return out.getvalue()


def _pdf(pages: Iterable[Image.Image], dpi: int) -> bytes:
    """A PDF with a JPEG a page.

    Pillow's own writer holds all pages as pixels: 200 pages of A4 at 200 dpi take 2 GB.
    """
    out = io.BytesIO(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    out.seek(0, io.SEEK_END)
    places: dict[int, int] = {}

    def add(number: int, content: bytes) -> None:
        places[number] = out.tell()
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, content))

    count = 0
    for count, page in enumerate(pages, 1):
        number = 3 * count  # of the page; its drawing and its picture follow
        width, height = (side * _POINTS_PER_INCH / dpi for side in page.size)
        drawing = b"q %.4f 0 0 %.4f 0 0 cm /P Do Q" % (width, height)
        encoded = io.BytesIO()
        page.save(encoded, "JPEG")
        add(
            number,
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %.4f %.4f]/Contents %d 0 R"
            b"/Resources<</XObject<</P %d 0 R>>>>>>" % (width, height, number + 1, number + 2),
        )
        add(number + 1, _stream(b"", drawing))
        add(
            number + 2,
            _stream(
                b"/Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceRGB"
                b"/BitsPerComponent 8/Filter/DCTDecode" % page.size,
                encoded.getvalue(),
            ),
        )
    kids = b" ".join(b"%d 0 R" % (3 * n) for n in range(1, count + 1))
    add(1, b"<</Type/Catalog/Pages 2 0 R>>")
    add(2, b"<</Type/Pages/Count %d/Kids[%s]>>" % (count, kids))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(places) + 1))
    for number in sorted(places):
        out.write(b"%010d 00000 n \n" % places[number])
    out.write(b"trailer\n<</Size %d/Root 1 0 R>>\n" % (len(places) + 1))
    out.write(b"startxref\n%d\n%%%%EOF\n" % start)
    return out.getvalue()


def _stream(entries: bytes, content: bytes) -> bytes:
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (entries, len(content), content)
