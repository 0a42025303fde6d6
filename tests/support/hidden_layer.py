"""Scans with an invisible text layer in any script, as OCR programs write them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from actors.pages import DecodeLimits, OcrResult, PageSize, Word
from actors.pages.export import write_searchable_pdf
from actors.spans import Box

FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
_SIZE, _LEFT, _TOP, _PITCH = (1240, 600), 80, 100, 60  # in pixels of 150 dpi


def with_hidden_layer(
    shown: Sequence[str], layer: Sequence[str], face: ImageFont.FreeTypeFont
) -> bytes:
    """A PDF of a scan that shows some lines, each with a line of the layer as wide as it."""
    image = Image.new("L", _SIZE, 255)
    pen = ImageDraw.Draw(image)
    words: list[Word] = []
    text = ""
    for number, (line, own) in enumerate(zip(shown, layer, strict=True)):
        top = _TOP + _PITCH * number
        pen.text((_LEFT, top), line, fill=0, font=face)
        pitch, at = face.getlength(line) / len(own), 0
        text += "\n" if number else ""
        for place, word in enumerate(own.split()):
            at = own.index(word, at)
            left, right = _LEFT + pitch * at, _LEFT + pitch * (at + len(word))
            at += len(word)
            text += " " if place else ""
            box = Box(0, left, top, right, top + 1.2 * face.size)
            words.append(Word(len(text), len(text) + len(word), box, 0.9))
            text += word
    scan, out = io.BytesIO(), io.BytesIO()
    image.save(scan, "PNG")
    result = OcrResult(text, tuple(words), (PageSize(*_SIZE),))
    write_searchable_pdf(scan.getvalue(), result, DecodeLimits(dpi=150), out)
    return out.getvalue()
