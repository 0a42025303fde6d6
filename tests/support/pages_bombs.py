"""Small files that ask for much: pages that draw themselves, that inflate, that are too many."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

from PIL import Image


def pdf(objects: Sequence[bytes]) -> bytes:
    """A PDF of raw objects, numbered from 1; the first is the catalog, the second the pages."""
    body, places = b"%PDF-1.7\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    rows = b"".join(b"%010d 00000 n \n" % at for at in places)
    table = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + rows
    trailer = b"trailer <</Size %d /Root 1 0 R>>\n" % (len(objects) + 1)
    return body + table + trailer + b"startxref\n%d\n%%%%EOF" % len(body)


def stream(data: bytes, keys: bytes = b"") -> bytes:
    """A stream object."""
    return b"<<%s /Length %d>>\nstream\n%s\nendstream" % (keys, len(data), data)


def _one_page(content: bytes, resources: bytes, *more: bytes) -> bytes:
    page = (
        b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R /Resources <<%s>>>>"
    )
    pages = b"<</Type /Pages /Kids [3 0 R] /Count 1>>"
    return pdf([b"<</Type /Catalog /Pages 2 0 R>>", pages, page % resources, content, *more])


def endless_pdf(levels: int = 12, each: int = 10) -> bytes:
    """A page that draws a form that draws ten forms, and so on: 10^12 lines in 3 kB."""
    forms = []
    for level in range(levels):
        last = level == levels - 1
        inner = b"" if last else b"/Resources <</XObject <</X %d 0 R>>>>" % (6 + level)
        keys = b"/Type /XObject /Subtype /Form /BBox [0 0 200 200] " + inner
        forms.append(stream(b"0 0 m 10 10 l S" if last else b"/X Do " * each, keys))
    return _one_page(stream(b"/X Do " * each), b"/XObject <</X 5 0 R>>", *forms)


def inflating_pdf(megabytes: int) -> bytes:
    """A page with a drawing that is compressed twice, to a few kB."""
    packed = zlib.compress(zlib.compress(b"0 0 m 9 9 l S\n" * (megabytes * 1_000_000 // 14)))
    return _one_page(stream(packed, b"/Filter [/FlateDecode /FlateDecode]"), b"")


def text_pdf(words: bytes) -> bytes:
    """A page with a text layer."""
    font = b"<</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>"
    drawn = stream(b"BT /F1 4 Tf 10 100 Td (" + words + b") Tj ET")
    return _one_page(drawn, b"/Font <</F1 5 0 R>>", font)


def many_frames(form: str, count: int) -> bytes:
    """A picture of ``count`` small frames, none like the one before."""
    frames = [Image.new("L", (8, 8), 255 * (i % 2)) for i in range(count)]
    file = io.BytesIO()
    frames[0].save(file, form, save_all=True, append_images=frames[1:])
    return file.getvalue()


def long_tiff(pages: int) -> bytes:
    """A TIFF with pages of 8 x 8 pixels that share their data."""
    size = 2 + 8 * 12 + 4
    tags = ((256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 8), (278, 8), (279, 64))
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    first = 8 + 64
    parts = [struct.pack("<2sHI", b"II", 42, first), bytes(64)]
    for page in range(pages):
        following = first + (page + 1) * size if page < pages - 1 else 0
        parts.append(struct.pack("<H", len(tags)) + rows + struct.pack("<I", following))
    return b"".join(parts)


def long_gif(frames: int) -> bytes:
    """A GIF with equal frames."""
    one = many_frames("GIF", 1)
    begins, ends = one.index(b"\x2c"), one.rindex(b"\x3b")
    return one[:begins] + one[begins:ends] * frames + b"\x3b"
