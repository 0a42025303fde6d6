"""A font for invisible text: every character is the same box, half as wide as high.

Codes are UTF-16 units (Identity-H), so that text of any language needs one font of a few hundred
bytes. Tesseract and OCRmyPDF write the same kind. The box is never drawn; it is what viewers take
as the place of a character.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from pypdf.generic import (
    ArrayObject,
    DecodedStreamObject,
    DictionaryObject,
    IndirectObject,
    NameObject,
    NumberObject,
    PdfObject,
    StreamObject,
    TextStringObject,
)

ADVANCE = 0.5
"""Width of every character, in font sizes."""
AddObject = Callable[[PdfObject], IndirectObject]
"""Adds an object to a PDF and returns a reference to it."""
_EM = 1000
_RANGES = [f"<{high:02X}00> <{high:02X}FF> <{high:02X}00>" for high in range(256)]
_AT_ONCE = 100  # ranges of a block; each may vary in its last byte only (PDF 32000-1, 9.10.3)
_TO_UNICODE = "\n".join(
    [
        "/CIDInit /ProcSet findresource begin",
        "12 dict begin",
        "begincmap",
        "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def",
        "/CMapName /Adobe-Identity-UCS def",
        "/CMapType 2 def",
        "1 begincodespacerange",
        "<0000> <FFFF>",
        "endcodespacerange",
        *(
            f"{len(block)} beginbfrange\n{chr(10).join(block)}\nendbfrange"
            for block in (_RANGES[at : at + _AT_ONCE] for at in range(0, 256, _AT_ONCE))
        ),
        "endcmap",
        "CMapName currentdict /CMap defineresource pop",
        "end",
        "end",
    ]
).encode()


def encode(text: str) -> str:
    """Return a text as the hexadecimal string of a Tj operator."""
    return text.encode("utf-16-be", "replace").hex()


def add_font(add: AddObject) -> IndirectObject:
    """Add the font to a PDF and return its reference."""
    name = NameObject("/MedspanInvisible")
    system = DictionaryObject(
        {
            NameObject("/Registry"): TextStringObject("Adobe"),
            NameObject("/Ordering"): TextStringObject("Identity"),
            NameObject("/Supplement"): NumberObject(0),
        }
    )
    descriptor = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/FontDescriptor"),
            NameObject("/FontName"): name,
            NameObject("/Flags"): NumberObject(5),  # fixed width, symbolic
            NameObject("/FontBBox"): ArrayObject(map(NumberObject, (0, 0, _EM // 2, _EM))),
            NameObject("/ItalicAngle"): NumberObject(0),
            NameObject("/Ascent"): NumberObject(_EM),
            NameObject("/Descent"): NumberObject(0),
            NameObject("/CapHeight"): NumberObject(_EM),
            NameObject("/StemV"): NumberObject(80),
            NameObject("/FontFile2"): _add_stream(add, _truetype()),
        }
    )
    descendant = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/CIDFontType2"),
            NameObject("/BaseFont"): name,
            NameObject("/CIDSystemInfo"): system,
            NameObject("/FontDescriptor"): add(descriptor),
            NameObject("/DW"): NumberObject(int(ADVANCE * _EM)),
            NameObject("/CIDToGIDMap"): _add_stream(add, bytes(2 * 65536)),  # all the only glyph
        }
    )
    return add(
        DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Font"),
                NameObject("/Subtype"): NameObject("/Type0"),
                NameObject("/BaseFont"): name,
                NameObject("/Encoding"): NameObject("/Identity-H"),
                NameObject("/DescendantFonts"): ArrayObject([add(descendant)]),
                NameObject("/ToUnicode"): _add_stream(add, _TO_UNICODE),
            }
        )
    )


def _add_stream(add: AddObject, content: bytes) -> IndirectObject:
    stream: StreamObject = DecodedStreamObject()
    stream.set_data(content)
    return add(stream.flate_encode())


def _truetype() -> bytes:
    """Return a TrueType font of one glyph, with the tables that a PDF needs.

    Formats: learn.microsoft.com/typography/opentype/spec/otff and the pages of the tables.
    """
    advance = int(ADVANCE * _EM)
    # One contour of four points on the curve, as steps from the point before.
    glyph = struct.pack(">hhhhhHH4B", 1, 0, 0, advance, _EM, 3, 0, 1, 1, 1, 1)
    glyph += struct.pack(">4h4h", 0, advance, 0, -advance, 0, 0, _EM, 0) + b"\0\0"
    tables = {
        b"glyf": glyph,
        b"head": struct.pack(
            ">IIIIHHQQhhhhHHhhh",
            *(0x00010000, 0x00010000, 0, 0x5F0F3CF5, 0, _EM, 0, 0),
            *(0, 0, advance, _EM, 0, 8, 2, 0, 0),
        ),
        b"hhea": struct.pack(
            ">IhhhHhhhhhhhhhhhH",
            *(0x00010000, _EM, 0, 0, advance, 0, 0, advance, 1, 0, 0, 0, 0, 0, 0, 0, 1),
        ),
        b"hmtx": struct.pack(">Hh", advance, 0),
        b"loca": struct.pack(">HH", 0, len(glyph) // 2),
        b"maxp": struct.pack(">I14H", 0x00010000, 1, 4, 1, 0, 0, 2, *[0] * 8),
    }
    count = len(tables)
    at = 12 + 16 * count
    directory = struct.pack(">IHHHH", 0x00010000, count, 64, 2, 16 * count - 64)
    content = b""
    for tag, table in tables.items():
        padded = table + b"\0" * (-len(table) % 4)
        checksum = sum(struct.unpack(f">{len(padded) // 4}I", padded)) & 0xFFFFFFFF
        directory += tag + struct.pack(">III", checksum, at + len(content), len(table))
        content += padded
    return directory + content
