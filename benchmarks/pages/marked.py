"""Pages with stamps, signatures and handwriting made from a seed, and their places.

Handwriting and names are drawn with the strokes of OpenCV's script fonts, slanted and uneven; a
real hand is harder to read and easier to tell from print.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from actors.spans import Box, MarkKind, PageMark
from benchmarks.pages.made import font, sentence, wrapped

SIZE = (874, 1240)  # A5 at 150 dpi
_SCRIPTS = (cv2.FONT_HERSHEY_SCRIPT_SIMPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX)
_BLUE, _RED, _BLACK, _GREY = (40, 50, 150), (185, 40, 50), (35, 35, 35), (110, 110, 110)
_NAMES = ("A. Lindqvist", "Tobias Wren", "M. Okafor", "Ines Duarte")
_NOTES = ("see me in two weeks", "increase the dose slowly", "no known allergy", "call the wife")

Picture = NDArray[np.uint8]
Drawn = tuple[Picture, tuple[PageMark, ...]]


@dataclass(frozen=True, slots=True)
class MarkedPage:
    """A page as the bytes of a PNG, and what is on it beside print."""

    kind: str
    content: bytes
    marks: tuple[PageMark, ...]


def marked_page(kind: str, seed: int) -> MarkedPage:
    """A page of a kind."""
    rng = np.random.default_rng([seed, *kind.encode()])
    page, bottom = _letter(rng)
    picture, marks = MARKED_KINDS[kind](rng, np.asarray(page), bottom)
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return MarkedPage(kind, out.getvalue(), marks)


def _letter(rng: np.random.Generator) -> tuple[Image.Image, int]:
    """A printed letter, and where it ends."""
    page = Image.new("RGB", SIZE, "white")
    draw, face = ImageDraw.Draw(page), font(rng, 20)
    words: list[str] = []
    while len(wrapped(words, face, SIZE[0] - 160)) < 11:
        words += sentence(rng).split()
    y = 80
    for line in wrapped(words, face, SIZE[0] - 160)[:11]:
        draw.text((80, y), line, fill="black", font=face)
        y += 34
    return page, y


def _script(
    rng: np.random.Generator, text: str, height: float, ink: tuple[int, int, int]
) -> tuple[Picture, Picture]:
    """Words in an uneven hand: colours, and where there is ink."""
    face = int(rng.choice(_SCRIPTS))
    scale = height / 22
    (width, tall), base = cv2.getTextSize(text, face, scale, 2)
    shape = (tall + base + 40, width + 80)
    drawn = np.zeros(shape, np.uint8)
    cv2.putText(drawn, text, (30, tall + 16), face, scale, 255, 2, cv2.LINE_AA)
    wave = np.arange(shape[1], dtype=np.float32)
    shift = 2.5 * np.sin(wave / rng.uniform(20, 45)) + rng.uniform(-0.02, 0.02) * wave
    x, y = np.meshgrid(wave, np.arange(shape[0], dtype=np.float32))
    slant = rng.uniform(0.1, 0.35) * (y - shape[0] / 2)
    drawn = np.asarray(cv2.remap(drawn, x + slant, y + shift[None, :], cv2.INTER_LINEAR), np.uint8)
    return np.full((*shape, 3), ink, np.uint8), drawn


def _put(
    picture: Picture, colours: Picture, ink: Picture, left: int, top: int
) -> tuple[Picture, Box]:
    """Put ink on a page; returns the page, and the rectangle around the ink."""
    made = picture.copy()
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    ink, colours = (
        one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] for one in (ink, colours)
    )
    height, width = ink.shape
    part = made[top : top + height, left : left + width]
    share = ink[: part.shape[0], : part.shape[1], None].astype(np.float32) / 255
    shown = colours[: part.shape[0], : part.shape[1]]
    part[:] = (part * (1 - share) + np.minimum(part, shown) * share).astype(np.uint8)
    return made, Box(0, left, top, left + part.shape[1], top + part.shape[0])


def _plain(_: np.random.Generator, picture: Picture, __: int) -> Drawn:
    return picture, ()


def _logo(rng: np.random.Generator, picture: Picture, bottom: int) -> Drawn:
    """A coloured letterhead, a heading in colour and a box of a form: print, all of it."""
    page = Image.fromarray(picture)
    draw = ImageDraw.Draw(page)
    draw.ellipse((80, 14, 130, 64), fill=(20, 110, 90))
    draw.text((150, 22), "Eastmere Hospital", fill=(20, 110, 90), font=font(rng, 26))
    draw.rectangle((80, bottom + 30, 620, bottom + 130), outline="black", width=2)
    draw.text((96, bottom + 44), "Allergies: penicillin", fill="black", font=font(rng, 20))
    draw.text((80, bottom + 160), "Important", fill=_RED, font=font(rng, 24))
    return np.asarray(page), ()


def _noisy(rng: np.random.Generator, picture: Picture, _: int) -> Drawn:
    """A bad scan of print."""
    values = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.1)
    values += rng.normal(0, 30, values.shape[:2])[:, :, None]
    return np.clip(values, 0, 255).astype(np.uint8), ()


def _stamp(colour: tuple[int, int, int]) -> Callable[..., Drawn]:
    def put(rng: np.random.Generator, picture: Picture, bottom: int) -> Drawn:
        stamp = Image.new("L", (330, 130), 0)
        draw = ImageDraw.Draw(stamp)
        draw.rounded_rectangle((3, 3, 326, 126), 14, outline=255, width=5)
        draw.text((40, 20), "RECEIVED", fill=255, font=font(rng, 40))
        draw.text((70, 82), "12 MAR 2025", fill=255, font=font(rng, 24))
        angle = float(rng.choice([-1, 1]) * rng.uniform(6, 15))
        ink = np.asarray(stamp.rotate(angle, Image.Resampling.BICUBIC, expand=True))
        ink = (ink * rng.uniform(0.6, 1.0, ink.shape)).astype(np.uint8)
        left, top = int(rng.integers(60, 440)), int(rng.integers(120, bottom + 200))
        made, box = _put(picture, np.full((*ink.shape, 3), colour, np.uint8), ink, left, top)
        return made, (PageMark(MarkKind.STAMP, box),)

    return put


def _round_stamp(rng: np.random.Generator, picture: Picture, bottom: int) -> Drawn:
    ink = np.zeros((180, 180), np.uint8)
    cv2.circle(ink, (90, 90), 86, 255, 4, cv2.LINE_AA)
    cv2.circle(ink, (90, 90), 58, 255, 2, cv2.LINE_AA)
    stamp = Image.fromarray(ink)
    ImageDraw.Draw(stamp).text((48, 66), "WARD\n  7B", fill=255, font=font(rng, 26))
    colours = np.full((180, 180, 3), _BLUE if rng.integers(2) else _RED, np.uint8)
    left, top = int(rng.integers(60, 600)), int(rng.integers(120, bottom + 200))
    made, box = _put(picture, colours, np.asarray(stamp), left, top)
    return made, (PageMark(MarkKind.STAMP, box),)


def _oval_stamp(rng: np.random.Generator, picture: Picture, bottom: int) -> Drawn:
    """An oval in green or violet, hardly turned, with words in a narrow font."""
    ink = np.zeros((170, 330), np.uint8)
    cv2.ellipse(ink, (165, 85), (158, 78), 0, 0, 360, 255, 4, cv2.LINE_AA)
    stamp = Image.fromarray(ink)
    words = str(rng.choice(["  EASTMERE\nPHARMACY", "DISPENSED\n 04 JUN 2025"]))
    ImageDraw.Draw(stamp).multiline_text((82, 46), words, fill=255, font=_other_font(rng, 30))
    angle = float(rng.uniform(-3, 3))
    turned = np.asarray(stamp.rotate(angle, Image.Resampling.BICUBIC, expand=True))
    worn = (turned * rng.uniform(0.5, 1.0, turned.shape)).astype(np.uint8)
    colour = ((20, 120, 60), (110, 50, 150))[int(rng.integers(2))]
    left, top = int(rng.integers(60, 440)), int(rng.integers(120, bottom + 200))
    made, box = _put(picture, np.full((*worn.shape, 3), colour, np.uint8), worn, left, top)
    return made, (PageMark(MarkKind.STAMP, box),)


def _double_stamp(colour: tuple[int, int, int], strength: float) -> Callable[..., Drawn]:
    """A double frame with sharp corners and three lines in a fixed-width font."""

    def put(rng: np.random.Generator, picture: Picture, bottom: int) -> Drawn:
        stamp = Image.new("L", (300, 170), 0)
        draw, face = ImageDraw.Draw(stamp), _other_font(rng, 24)
        draw.rectangle((2, 2, 297, 167), outline=255, width=3)
        draw.rectangle((10, 10, 289, 159), outline=255, width=1)
        for row, text in enumerate(("COPY", "RECORDS DEPT", "7 AUG 2025")):
            draw.text((34, 22 + 42 * row), text, fill=255, font=face)
        angle = float(rng.choice([-1, 1]) * rng.uniform(5, 20))
        turned = np.asarray(stamp.rotate(angle, Image.Resampling.BICUBIC, expand=True))
        worn = (turned * rng.uniform(strength - 0.3, strength, turned.shape)).astype(np.uint8)
        left, top = int(rng.integers(60, 440)), int(rng.integers(120, bottom + 200))
        made, box = _put(picture, np.full((*worn.shape, 3), colour, np.uint8), worn, left, top)
        return made, (PageMark(MarkKind.STAMP, box),)

    return put


def _other_font(rng: np.random.Generator, size: int) -> ImageFont.FreeTypeFont:
    names = ("dejavu/DejaVuSansMono-Bold.ttf", "liberation/LiberationSansNarrow-Bold.ttf")
    return ImageFont.truetype(f"/usr/share/fonts/truetype/{rng.choice(names)}", size)


def _signature(rng: np.random.Generator, picture: Picture, bottom: int) -> Drawn:
    page = Image.fromarray(picture)
    draw, top = ImageDraw.Draw(page), bottom + 90
    face = font(rng, 20)
    label = str(rng.choice(["Signature:", "Signed:", "Signature of the doctor:"]))
    draw.text((80, top), label, fill="black", font=face)
    left = 90 + int(face.getlength(label))
    draw.line((left, top + 26, left + 320, top + 26), fill="black", width=2)
    draw.text((80, top + 60), "Date: 12 March 2025", fill="black", font=face)
    ink = _BLUE if rng.integers(2) else _BLACK
    colours, drawn = _script(rng, str(rng.choice(_NAMES)), 34, ink)
    x = np.linspace(30, drawn.shape[1] - 20, 60)
    curve = np.stack([x, drawn.shape[0] * 0.6 + 12 * np.sin(x / rng.uniform(12, 30))], axis=1)
    cv2.polylines(drawn, [curve.astype(np.int32)], False, 255, 2, cv2.LINE_AA)
    made, box = _put(np.asarray(page), colours, drawn, left + 10, top - 26)
    return made, (PageMark(MarkKind.SIGNATURE, box),)


def _handwriting(rng: np.random.Generator, picture: Picture, bottom: int) -> Drawn:
    ink, marks = (_BLUE if rng.integers(2) else _BLACK), []
    for number in range(2):
        colours, drawn = _script(rng, str(rng.choice(_NOTES)), 26, ink)
        left, top = int(rng.integers(80, 240)), bottom + 60 + 70 * number
        picture, box = _put(picture, colours, drawn, left, top)
        marks.append(PageMark(MarkKind.HANDWRITING, box))
    return picture, tuple(marks)


TUNED_KINDS: Mapping[str, Callable[..., Drawn]] = {
    "print": _plain,
    "letterhead": _logo,
    "bad scan": _noisy,
    "coloured stamp": _stamp(_RED),
    "grey stamp": _stamp(_GREY),
    "round stamp": _round_stamp,
    "signature": _signature,
    "handwriting": _handwriting,
}
# The numbers of actors.ocr.marks were chosen without these.
UNSEEN_KINDS: Mapping[str, Callable[..., Drawn]] = {
    "oval stamp": _oval_stamp,
    "double frame": _double_stamp((30, 60, 160), 1.0),
    "double frame, grey": _double_stamp((120, 120, 120), 1.0),
    "double frame, pale": _double_stamp((60, 60, 60), 0.55),
}
MARKED_KINDS = {**TUNED_KINDS, **UNSEEN_KINDS}
