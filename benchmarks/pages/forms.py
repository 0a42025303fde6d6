"""Forms made from a seed, as scans: check boxes, and boxes with a label and no colon.

Each has the pairs that a reader should find. ``plain`` pages have none, though they have squares,
tables and drawings.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.pages.made import sentence

SIZE = (1240, 1754)  # A4 at 150 dpi
_FOLDER = Path("/usr/share/fonts/truetype")
_FONTS = (
    "dejavu/DejaVuSans.ttf",
    "dejavu/DejaVuSansCondensed-Bold.ttf",
    "dejavu/DejaVuSansMono.ttf",
    "liberation/LiberationSans-Regular.ttf",
    "liberation/LiberationSerif-Regular.ttf",
    "liberation/LiberationSansNarrow-Regular.ttf",
    "liberation/LiberationMono-Regular.ttf",
)
_CONDITIONS = ("Diabetes", "Hypertension", "Asthma", "Epilepsy", "Heart failure", "Smoker")
_ANSWERS = ("Yes", "No", "Unknown")
_LABELS = (
    "Last name",
    "First name",
    "Date of birth",
    "Ward",
    "Consultant",
    "Allergies",
    "Blood group",
    "Next of kin",
    "Hospital number",
    "Referred by",
)
_VALUES = (
    "Okafor",
    "Tobias",
    "12 March 1961",
    "7 B",
    "Dr Lindqvist",
    "Penicillin",
    "A positive",
    "Ines Duarte",
    "H 204 871",
    "Dr Wren",
)


@dataclass(frozen=True, slots=True)
class MadeForm:
    """A page as the bytes of a PNG, and its fields: label and value, of check boxes on or off."""

    kind: str
    content: bytes
    pairs: tuple[tuple[str, str], ...]


Draw = Callable[[np.random.Generator, Image.Image], list[tuple[str, str]]]


def made_form(kind: str, seed: int) -> MadeForm:
    """A form of a kind, as a scan: slightly turned, blurred and noisy."""
    rng = np.random.default_rng([seed, *kind.encode()])
    page = Image.new("L", SIZE, 255)
    pairs = FORM_KINDS[kind](rng, page)
    angle = float(rng.uniform(-1, 1))
    turned = page.rotate(angle, Image.Resampling.BICUBIC, fillcolor=255)
    values = cv2.GaussianBlur(np.asarray(turned).astype(np.float32), (0, 0), rng.uniform(0.3, 1))
    values = np.clip(values + rng.normal(0, rng.uniform(2, 15), values.shape), 0, 255)
    out = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(out, "PNG")
    return MadeForm(kind, out.getvalue(), tuple(pairs))


def _font(rng: np.random.Generator, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_FOLDER / rng.choice(_FONTS)), size)


def _check_boxes(rng: np.random.Generator, page: Image.Image) -> list[tuple[str, str]]:
    draw, size = ImageDraw.Draw(page), int(rng.integers(20, 32))
    face, side, pairs = _font(rng, size), int(size * rng.uniform(0.75, 1.1)), []
    draw.text((120, 100), "Past medical history", fill=0, font=face)
    for row, name in enumerate(rng.permutation(_CONDITIONS)):
        on = bool(rng.integers(2))
        _box(rng, draw, 130, 180 + 62 * row + (size * 6 // 5 - side) // 2, side, on)
        draw.text((130 + int(1.5 * side), 180 + 62 * row), str(name), fill=0, font=face)
        pairs.append((str(name), "☒" if on else "☐"))
    draw.text((120, 600), "Does the patient live alone?", fill=0, font=face)
    chosen, x = int(rng.integers(len(_ANSWERS))), 130
    for number, name in enumerate(_ANSWERS):
        _box(rng, draw, x, 660 + (size * 6 // 5 - side) // 2, side, number == chosen)
        x += int(1.5 * side)
        draw.text((x, 660), name, fill=0, font=face)
        x += int(face.getlength(name)) + 3 * size
        pairs.append((name, "☒" if number == chosen else "☐"))
    for row in range(4):
        draw.text((120, 780 + 50 * row), sentence(rng)[:60], fill=0, font=face)
    return pairs


def _box(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, x: int, y: int, side: int, on: bool
) -> None:
    wide = int(rng.integers(1, 4))
    draw.rectangle((x, y, x + side, y + side), outline=0, width=wide)
    if not on:
        return
    pen = max(2, side // 8)
    kind, inner = rng.integers(3), side // 5
    if kind == 0:  # a cross within
        low, high = inner, side - inner
        draw.line((x + low, y + low, x + high, y + high), fill=0, width=pen)
        draw.line((x + low, y + high, x + high, y + low), fill=0, width=pen)
    elif kind == 1:  # a tick that leaves the box
        tick = [(0.2, 0.5), (0.45, 0.8), (1.15, -0.2)]
        draw.line([(x + a * side, y + b * side) for a, b in tick], fill=0, width=pen)
    else:  # a cross that leaves the box
        draw.line((x - 4, y - 3, x + side + 4, y + side + 5), fill=0, width=pen)
        draw.line((x - 3, y + side + 4, x + side + 5, y - 5), fill=0, width=pen)


def _labels(rng: np.random.Generator, count: int) -> list[tuple[str, str]]:
    chosen = rng.permutation(len(_LABELS))[:count]
    return [(_LABELS[i], _VALUES[i]) for i in chosen]


def _label_within(rng: np.random.Generator, page: Image.Image) -> list[tuple[str, str]]:
    """Cells of a ruled form, each with a small label in its corner and the value below."""
    draw, pairs = ImageDraw.Draw(page), _labels(rng, 8)
    size = int(rng.integers(24, 30))
    small, large = _font(rng, int(size * rng.uniform(0.6, 0.75))), _font(rng, size)
    wide = int(rng.integers(1, 4))
    for number, (label, value) in enumerate(pairs):
        x, y = 120 + 500 * (number % 2), 200 + 100 * (number // 2)
        draw.rectangle((x, y, x + 500, y + 100), outline=0, width=wide)
        draw.text((x + 12, y + 8), label, fill=0, font=small)
        draw.text((x + 16, y + 48), value, fill=0, font=large)
    return pairs


def _label_left(rng: np.random.Generator, page: Image.Image) -> list[tuple[str, str]]:
    """A label before each box; some boxes are empty."""
    draw, pairs, size = ImageDraw.Draw(page), _labels(rng, 7), int(rng.integers(22, 30))
    face = _font(rng, size)
    for row, (label, value) in enumerate(pairs):
        y = 200 + 90 * row
        draw.text((120, y), label, fill=0, font=face)
        draw.rectangle((440, y - 14, 1080, y + 48), outline=0, width=int(rng.integers(1, 4)))
        if row < 5:
            draw.text((456, y), value, fill=0, font=face)
    return pairs[:5]


def _label_above(rng: np.random.Generator, page: Image.Image) -> list[tuple[str, str]]:
    """A label above each box."""
    draw, pairs, size = ImageDraw.Draw(page), _labels(rng, 8), int(rng.integers(22, 28))
    face = _font(rng, size)
    for number, (label, value) in enumerate(pairs):
        x, y = 120 + 520 * (number % 2), 200 + 150 * (number // 2)
        draw.text((x + 2, y), label, fill=0, font=face)
        draw.rectangle((x, y + 40, x + 460, y + 100), outline=0, width=int(rng.integers(1, 4)))
        draw.text((x + 16, y + 54), value, fill=0, font=face)
    return pairs


def _label_cells(rng: np.random.Generator, page: Image.Image) -> list[tuple[str, str]]:
    """Ruled rows of a label cell and a value cell."""
    draw, pairs, size = ImageDraw.Draw(page), _labels(rng, 8), int(rng.integers(22, 30))
    face, wide = _font(rng, size), int(rng.integers(1, 4))
    for row, (label, value) in enumerate(pairs):
        y = 200 + 64 * row
        draw.rectangle((120, y, 440, y + 64), outline=0, width=wide)
        draw.rectangle((440, y, 1080, y + 64), outline=0, width=wide)
        draw.text((136, y + 16), label, fill=0, font=face)
        draw.text((456, y + 16), value, fill=0, font=face)
    return pairs


def _plain(rng: np.random.Generator, page: Image.Image) -> list[tuple[str, str]]:
    """Prose, a framed notice, bullets, a table of numbers, a picture with squares."""
    draw, size = ImageDraw.Draw(page), int(rng.integers(20, 28))
    face = _font(rng, size)
    for row in range(5):
        draw.text((120, 90 + 44 * row), sentence(rng)[:70], fill=0, font=face)
    draw.rectangle((100, 330, 1140, 470), outline=0, width=3)
    for row in range(2):
        draw.text((130, 350 + 50 * row), sentence(rng)[:60], fill=0, font=face)
    for row in range(3):
        draw.rectangle((130, 522 + 50 * row, 138, 530 + 50 * row), fill=0)
        draw.text((160, 510 + 50 * row), sentence(rng)[:60], fill=0, font=face)
    for row in range(5):
        for column in range(4):
            x, y = 120 + 220 * column, 700 + 56 * row
            draw.rectangle((x, y, x + 220, y + 56), outline=0, width=2)
            cell = f"{rng.uniform(1, 99):.1f}" if row and column else f"Day {row + column}"
            draw.text((x + 14, y + 12), cell, fill=0, font=face)
    for x in range(8):
        for y in range(8):
            if rng.integers(2):
                draw.rectangle((130 + 14 * x, 1060 + 14 * y, 144 + 14 * x, 1074 + 14 * y), fill=0)
    draw.text((300, 1100), "Scan the code to see your results", fill=0, font=face)
    return []


FORM_KINDS: Mapping[str, Draw] = {
    "check boxes": _check_boxes,
    "label within": _label_within,
    "label left": _label_left,
    "label above": _label_above,
    "label cells": _label_cells,
    "plain": _plain,
}
