"""Pages with bar codes whose place and content are known."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import zxingcpp
from PIL import Image, ImageDraw, ImageFont

from actors.pages import DecodeLimits, Picture
from actors.pages.bar_codes import page_bar_codes

A4 = (1654, 2339)  # pixels at 200 dpi
CONTENTS = {
    "Code128": "MRN4471120",
    "Code39": "P4471120",
    "ITF": "0044711209",
    "QRCode": "MRN 4471120; Doe, John; 1961-03-02",
    "DataMatrix": "4471120|DOE^JOHN|19610302",
    "PDF417": "MRN 4471120; Doe, John; 1961-03-02; ward 7",
    "Aztec": "4471120|DOE^JOHN|19610302",
}
"""The kinds of codes that notes, labels and wristbands carry, each with what it says here."""
_LINEAR = frozenset({"Code128", "Code39", "ITF"})
_BAR_HEIGHT = 60  # pixels of a linear code
_WORDS = "The patient takes 500 mg twice daily and denies pain in the chest. No fever since May. "


@dataclass(frozen=True)
class DrawnCode:
    """A code on a page: its middle, module size in pixels, degrees counter-clockwise, and the gray
    of its ink and paper."""

    kind: str
    at: tuple[int, int]
    module: float = 3.0
    turn: float = 0.0
    ink: int = 0
    paper: int = 255


def code_picture(code: DrawnCode) -> Image.Image:
    """The code alone, turned, with a quiet zone; an alpha channel where there is none of it."""
    made = zxingcpp.create_barcode(CONTENTS[code.kind], getattr(zxingcpp.BarcodeFormat, code.kind))
    drawn = Image.fromarray(np.array(made.to_image(scale=1, add_quiet_zones=True)))
    width = round(drawn.width * code.module)
    height = _BAR_HEIGHT if code.kind in _LINEAR else round(drawn.height * code.module)
    drawn = drawn.resize((width, height), Image.Resampling.BOX)
    gray = drawn.point([round(code.ink + (code.paper - code.ink) * v / 255) for v in range(256)])
    whole = Image.merge("LA", (gray, Image.new("L", gray.size, 255)))
    return whole.rotate(code.turn, Image.Resampling.BICUBIC, expand=True)


def page_with_codes(
    codes: Sequence[DrawnCode],
    *,
    text: bool = True,
    noise: float = 0.0,
    size: tuple[int, int] = A4,
    seed: int = 0,
) -> tuple[Picture, list[tuple[int, int, int, int]]]:
    """A page of print with codes on it, and the rectangle that each covers: x0, y0, x1, y1.
    ``noise``: standard deviation of the pixels."""
    page = Image.new("L", size, 255)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(26)
    for y in range(60, size[1] - 60, 44) if text else ():
        draw.text((100, y), _WORDS, font=font, fill=30)
    places = []
    for code in codes:
        drawn = code_picture(code)
        left, top = code.at[0] - drawn.width // 2, code.at[1] - drawn.height // 2
        margin = 12
        box = (left, top, left + drawn.width, top + drawn.height)
        draw.rectangle((left - margin, top - margin, box[2] + margin, box[3] + margin), fill=255)
        page.paste(drawn.getchannel("L"), (left, top), drawn.getchannel("A"))
        places.append(box)
    values = np.asarray(page, np.float64)
    if noise:
        values = values + np.random.default_rng(seed).normal(0, noise, values.shape)
    gray = np.clip(values, 0, 255).astype(np.uint8)
    return np.repeat(gray[:, :, None], 3, axis=2), places


def coded_file(page: Image.Image, content: str) -> bytes:
    """The page as a PNG, with a QR code that says ``content`` in its lower right corner."""
    code = zxingcpp.create_barcode(content, zxingcpp.BarcodeFormat.QRCode)
    drawn = Image.fromarray(np.array(code.to_image(scale=2, add_quiet_zones=True)))
    page.paste(drawn, (page.width - drawn.width - 12, page.height - drawn.height - 2))
    out = io.BytesIO()
    page.save(out, "PNG")
    return out.getvalue()


def codes_of(content: bytes) -> list[str]:
    """Return the contents of the codes in a file."""
    return [mark.content for mark in page_bar_codes(content, DecodeLimits())]
