"""A page image with marked boxes, drawn as SVG: it scales, and needs no style attributes, which the
reader page's policy forbids."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from actors.pages import Picture
from actors.spans import Box

# A page of this size is legible when zoomed, and 200 of them are a file of some 20 MB.
_LONGEST = 1400
_QUALITY = 55

_TRANSFORMS = {
    0: "",
    90: "translate({h} 0) rotate(90)",
    180: "translate({w} {h}) rotate(180)",
    270: "translate(0 {w}) rotate(270)",
}


@dataclass(frozen=True, slots=True)
class MarkedBox:
    """A box on a page that belongs to an item; its key selects the colour."""

    item: int
    key: int
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page image. Places are in pixels of ``width`` x ``height``, independent of the image's own
    size; it is shown rotated clockwise by ``turn`` degrees. ``unread``: lines that OCR left out."""

    number: int
    picture: bytes
    kind: str
    width: int
    height: int
    turn: int = 0
    places: Sequence[MarkedBox] = ()
    unread: Sequence[Box] = ()


def small(picture: Picture) -> bytes:
    """Downscale a page to a WebP file of at most 1,400 pixels per side."""
    from PIL import Image  # imported here: reports on texts do not need it

    image = Image.fromarray(np.ascontiguousarray(picture[:, :, ::-1]))
    image.thumbnail((_LONGEST, _LONGEST))
    file = io.BytesIO()
    image.save(file, "WEBP", quality=_QUALITY)
    return file.getvalue()


def draw(sheet: Sheet) -> Markup:
    """The sheet as an <svg> element."""
    w, h = sheet.width, sheet.height
    wide, high = (h, w) if sheet.turn in (90, 270) else (w, h)
    transform = _TRANSFORMS[sheet.turn].format(w=w, h=h)
    places = Markup("").join(
        Markup('<rect class="k{} i" data-e="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
            p.key,
            p.item,
            round(p.x0, 1),
            round(p.y0, 1),
            round(p.x1 - p.x0, 1),
            round(p.y1 - p.y0, 1),
        )
        for p in sheet.places
    )
    places += Markup("").join(
        Markup(
            '<rect class="unread" x="{}" y="{}" width="{}" height="{}">'
            "<title>Not read</title></rect>"
        ).format(round(b.x0, 1), round(b.y0, 1), round(b.x1 - b.x0, 1), round(b.y1 - b.y0, 1))
        for b in sheet.unread
    )
    return Markup(
        '<svg class="sheet" viewBox="0 0 {} {}" role="img" aria-label="Page {}">'
        '<g{}><image href="data:image/{};base64,{}" width="{}" height="{}" '
        'preserveAspectRatio="none"/>{}</g></svg>'
    ).format(
        wide,
        high,
        sheet.number + 1,
        Markup(' transform="{}"').format(transform) if transform else "",
        sheet.kind,
        base64.b64encode(sheet.picture).decode(),
        w,
        h,
        places,
    )
