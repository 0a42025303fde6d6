"""Text lines: crop them from a page, rotate them with it, and split them into placed words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.ocr.networks import Quad
from actors.ocr.recognized import LINE_HEIGHT, RecognizedLine
from actors.pages import Picture, PlacedWord, Rectangle, Strip
from actors.spans import Box

_TALL = 1.5  # height to width ratio above which a line runs vertically
_ACROSS = 3.0  # and above which it does so on a page of horizontal lines
_SHORT = 3.0  # width to height ratio from which a line counts for the page's skew
# Minimum width of a space: a fraction of the line's other spaces, or of its character pitch if it
# has none, but at least this multiple of the usual gap between characters and of the line height.
_SPACE_OF_SPACE, _SPACE_OF_PITCH, _SPACE_OF_GAP, _SPACE_OF_HEIGHT = 0.7, 0.5, 2.5, 0.12
_NUMERIC = frozenset("0123456789.,")
_FAINT = 24  # minimum contrast between paper and ink, in gray levels
_RULE = 0.7  # fraction of a line's width above which a row of ink is a ruled line
_INK_ROWS = slice(3, 45)  # of LINE_HEIGHT: beyond, neighbouring lines may show
_LETTERS = slice(14, 34)  # minimum extent of a word: "and" stays within, "Spy" does not


_SHARED = 0.5  # of the area of a doubtful line, with one that is sure


@dataclass(frozen=True, slots=True)
class LineCrop:
    """A line cropped from an upright image: its corners there, and its pixels at LINE_HEIGHT."""

    quad: Quad
    crop: Picture


def is_sideways(quads: Sequence[Quad]) -> bool:
    """Return True if most of the detected text, by length, runs vertically."""
    tall = long = 0.0
    for quad in quads:
        width, height = _sides(quad)
        if height > _TALL * width:
            tall += height
        elif width > _TALL * height:
            long += width
    return tall > long


def cut(picture: Picture, quads: Sequence[Quad]) -> list[LineCrop]:
    """Crop the lines of an upright image."""
    cuts = []
    for quad in quads:
        width, height = _sides(quad)
        if width < 2 or height < 2:
            continue
        cuts.append(LineCrop(quad, _crop(picture, quad, width, height)))
    return cuts


def apart(doubtful: Sequence[Quad], sure: Sequence[Quad]) -> list[Quad]:
    """Return those of the doubtful lines that share less than half of their area with any sure
    one."""
    if not doubtful or not sure:
        return list(doubtful)
    low = np.array([quad.min(axis=0) for quad in sure])
    high = np.array([quad.max(axis=0) for quad in sure])
    found = []
    for quad in doubtful:
        first, last = quad.min(axis=0), quad.max(axis=0)
        shared = np.clip(np.minimum(high, last) - np.maximum(low, first), 0, None).prod(axis=1)
        if shared.max() < _SHARED * (last - first).prod():
            found.append(quad)
    return found


def is_tall(cut: LineCrop) -> bool:
    """Return True for a line that runs across the page: no letter is so much higher than wide."""
    width, height = _sides(cut.quad)
    return height > _ACROSS * width


def across(picture: Picture, cuts: Sequence[LineCrop]) -> list[LineCrop]:
    """Return lines of an upright image, which run upwards, as those of the image rotated by 90
    degrees clockwise."""
    found = []
    for one in cuts:
        upwards = np.ascontiguousarray(one.quad[[3, 0, 1, 2]])
        width, height = _sides(upwards)
        quad = np.stack([picture.shape[0] - upwards[:, 1], upwards[:, 0]], axis=1)
        found.append(LineCrop(quad, _crop(picture, upwards, width, height)))
    return found


def _crop(picture: Picture, quad: Quad, width: float, height: float) -> Picture:
    columns, rows = max(1, int(width)), max(1, int(height))
    corners = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32)
    straight = cv2.warpPerspective(
        picture,
        cv2.getPerspectiveTransform(quad, corners),
        (columns, rows),
        borderMode=cv2.BORDER_REPLICATE,
        flags=cv2.INTER_CUBIC,
    )
    size = (max(1, math.ceil(LINE_HEIGHT * columns / rows)), LINE_HEIGHT)
    return np.asarray(cv2.resize(straight, size), np.uint8)


def turned(cuts: Sequence[LineCrop], width: int, height: int) -> list[LineCrop]:
    """Return the lines of the page rotated by 180 degrees; its size is the page's."""
    corner = np.array([width, height], np.float32)
    return [
        LineCrop(
            np.ascontiguousarray((corner - one.quad)[[2, 3, 0, 1]]),
            np.ascontiguousarray(one.crop[::-1, ::-1]),
        )
        for one in cuts
    ]


def skew(cuts: Sequence[LineCrop]) -> float:
    """Return the angle in radians at which the lines of a page descend to the right."""
    angles = []
    for one in cuts:
        width, height = _sides(one.quad)
        if width > _SHORT * height:
            left, right = one.quad[0] + one.quad[3], one.quad[1] + one.quad[2]
            angles.append((math.atan2(right[1] - left[1], right[0] - left[0]), width))
    if not angles:
        return 0.0
    angles.sort()
    half, passed = sum(width for _, width in angles) / 2, 0.0
    for angle, width in angles:
        passed += width
        if passed >= half:
            return angle
    return angles[-1][0]


def strips(
    cuts: Sequence[LineCrop], read: Sequence[RecognizedLine], size: tuple[int, int], turn: int
) -> list[Strip]:
    """Convert recognised lines to strips: words in pixels of the source page of ``size`` (width,
    height), which was rotated clockwise by ``turn`` degrees for reading."""
    angle = skew(cuts)
    level = np.array(
        [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]], np.float32
    )
    made = []
    for one, letters in zip(cuts, read, strict=True):
        words = _words(one, letters, size, turn)
        if words:
            straight = one.quad @ level.T
            low, high = straight.min(axis=0), straight.max(axis=0)
            made.append(
                Strip(
                    tuple(words),
                    float(low[0]),
                    float(low[1]),
                    float(high[0]),
                    float(high[1]),
                    turn,
                )
            )
    return made


def line_boxes(cuts: Sequence[LineCrop], page: int, size: tuple[int, int], turn: int) -> list[Box]:
    """Return the box of each line on the source page; ``size`` and ``turn`` as for ``strips``."""
    boxes = []
    for one in cuts:
        x0, y0, x1, y1 = source_box(one.quad, size, turn)
        boxes.append(Box(page, max(0.0, x0), max(0.0, y0), min(x1, size[0]), min(y1, size[1])))
    return boxes


def _words(
    one: LineCrop, letters: RecognizedLine, size: tuple[int, int], turn: int
) -> list[PlacedWord]:
    ink = ink_of(one.crop)
    inked = _inked(ink)
    spans = _split(_word_spans(letters.text), letters, inked)
    if not spans:
        return []
    words = []
    for (start, end), (left, right) in zip(spans, _edges(spans, letters, inked), strict=True):
        corners = np.array(
            [_on(one.quad, u, v) for u in (left, right) for v in _height(ink, left, right)]
        )
        source = _unturned(corners, size, turn)
        (x0, y0), (x1, y1) = source.min(axis=0), source.max(axis=0)
        words.append(
            PlacedWord(
                letters.text[start:end],
                max(0.0, float(x0)),
                max(0.0, float(y0)),
                min(float(size[0]), float(x1)),
                min(float(size[1]), float(y1)),
                round(float(letters.probabilities[start:end].min()), 4),
            )
        )
    return words


def _word_spans(text: str) -> list[tuple[int, int]]:
    spans, start = [], None
    for i, character in enumerate(text + " "):
        if character.isspace():
            if start is not None:
                spans.append((start, i))
            start = None
        elif start is None:
            start = i
    return spans


def _split(
    spans: Sequence[tuple[int, int]], letters: RecognizedLine, inked: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """Also split words where the line has a gap as wide as a space but the network printed none.

    This happens between letters and digits ("5mg every3 days"), where it matters most.
    """
    inside = [_gap(letters, inked, i) for a, b in spans for i in range(a, b - 1)]
    between = [_gap(letters, inked, a[1] - 1, b[0]) for a, b in pairwise(spans)]
    if not inside:
        return list(spans)
    pitch = _pitch(spans, letters) * len(inked)
    space = _SPACE_OF_SPACE * median(between) if between else _SPACE_OF_PITCH * pitch
    minimum = max(space, _SPACE_OF_GAP * median(inside), _SPACE_OF_HEIGHT * LINE_HEIGHT)
    words = []
    gaps = iter(inside)
    for start, end in spans:
        for i in range(start, end - 1):
            if next(gaps) > minimum and not _belongs(letters.text[i], letters.text[i + 1]):
                words.append((start, i + 1))
                start = i + 1
        words.append((start, end))
    return words


def _gap(letters: RecognizedLine, inked: NDArray[np.bool_], i: int, j: int | None = None) -> int:
    """Return the width of the widest blank run between two characters."""
    a = int(letters.places[i] * len(inked))
    b = int(letters.places[i + 1 if j is None else j] * len(inked))
    blank = np.concatenate(([False], ~inked[a : max(b, a + 1)], [False])).astype(np.int8)
    starts, ends = np.flatnonzero(np.diff(blank) == 1), np.flatnonzero(np.diff(blank) == -1)
    return int((ends - starts).max()) if len(starts) else 0


def _belongs(left: str, right: str) -> bool:
    """Return True if two characters are never split: digits, a number's separator, brackets."""
    return (left in _NUMERIC and right in _NUMERIC) or left in "([/-" or right in ")],.;:/-%"


def _edges(
    spans: Sequence[tuple[int, int]], letters: RecognizedLine, inked: NDArray[np.bool_]
) -> list[tuple[float, float]]:
    """Return the left and right end of each word along the line, 0 to 1.

    The network only gives the approximate position of a character; a word ends where its ink ends.
    """
    width = len(inked)
    pitch = _pitch(spans, letters)
    middles = [(float(letters.places[a]), float(letters.places[b - 1])) for a, b in spans]
    edges = []
    for i, (first, last) in enumerate(middles):
        before = middles[i - 1][1] if i else 0.0
        after = middles[i + 1][0] if i + 1 < len(middles) else 1.0
        left = _blank_end(inked, before, first, rightmost=True)
        right = _blank_end(inked, last, after, rightmost=False)
        lowest = max(0.0, (before + first) / 2 if i else 0.0, first - 1.5 * pitch)
        highest = min(1.0, (last + after) / 2 if i + 1 < len(middles) else 1.0, last + 1.5 * pitch)
        edges.append(
            (
                max(lowest, first - pitch / 2) if left is None else max(left / width, lowest),
                min(highest, last + pitch / 2) if right is None else min(right / width, highest),
            )
        )
    return edges


def _pitch(spans: Sequence[tuple[int, int]], letters: RecognizedLine) -> float:
    steps = [
        float(letters.places[b - 1] - letters.places[a]) / (b - 1 - a)
        for a, b in spans
        if b - a > 1
    ]
    return median(steps) if steps else 1.0 / max(len(letters.text), 1)


def inked_columns(one: LineCrop) -> NDArray[np.bool_]:
    """Return the columns of a line's crop that have ink."""
    return _inked(ink_of(one.crop))


def _inked(ink: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(ink[_INK_ROWS].any(axis=0))


def ink_of(crop: Picture) -> NDArray[np.bool_]:
    """Return where a line has ink."""
    gray = crop.mean(axis=2)
    low, high = np.percentile(gray, (2, 90))
    if high - low < _FAINT:
        return np.ones(gray.shape, bool)
    # Dark on light or light on dark: ink is the minority.
    paper = float(np.median(gray))
    ink = np.abs(gray - paper) > 0.35 * max(high - paper, paper - low)
    ink[ink.mean(axis=1) > _RULE] = False  # a ruled line under a form field is not text
    return np.asarray(ink)


def _height(ink: NDArray[np.bool_], left: float, right: float) -> tuple[float, float]:
    """Return the top and bottom of a word on its line, 0 to 1: the detector leaves a margin."""
    width = ink.shape[1]
    part = ink[:, int(left * width) : max(int(right * width), int(left * width) + 1)]
    rows = np.flatnonzero(part[_INK_ROWS].any(axis=1)) + _INK_ROWS.start
    if len(rows) == 0:
        return 0.0, 1.0
    top, bottom = min(int(rows[0]), _LETTERS.start), max(int(rows[-1]) + 1, _LETTERS.stop)
    return top / LINE_HEIGHT, bottom / LINE_HEIGHT


def _blank_end(inked: NDArray[np.bool_], start: float, end: float, rightmost: bool) -> float | None:
    """Return the word-side end of the widest blank run between two positions."""
    a, b = int(start * len(inked)), max(int(end * len(inked)), int(start * len(inked)) + 1)
    blank = np.concatenate(([False], ~inked[a:b], [False])).astype(np.int8)
    starts, ends = np.flatnonzero(np.diff(blank) == 1), np.flatnonzero(np.diff(blank) == -1)
    if len(starts) == 0:
        return None
    widest = int(np.argmax(ends - starts))
    return float(a + (ends[widest] if rightmost else starts[widest]))


def _on(quad: Quad, u: float, v: float) -> NDArray[np.float32]:
    top = quad[0] * (1 - u) + quad[1] * u
    bottom = quad[3] * (1 - u) + quad[2] * u
    return np.asarray(top * (1 - v) + bottom * v, np.float32)


def _unturned(points: NDArray[np.float32], size: tuple[int, int], turn: int) -> NDArray[np.float32]:
    """Map points of the rotated page to the source page of ``size``."""
    width, height = size
    x, y = points[:, 0], points[:, 1]
    if turn == 90:
        x, y = y, height - x
    elif turn == 180:
        x, y = width - x, height - y
    elif turn == 270:
        x, y = width - y, x
    return np.stack([x, y], axis=1)


def source_box(quad: Quad, size: tuple[int, int], turn: int) -> Rectangle:
    """Return the rectangle around a line, on the source page of ``size`` that was rotated clockwise
    by ``turn`` degrees for reading."""
    corners = _unturned(quad, size, turn)
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def _sides(quad: Quad) -> tuple[float, float]:
    """Return the width and height of a line's quadrilateral."""
    width = max(np.linalg.norm(quad[0] - quad[1]), np.linalg.norm(quad[2] - quad[3]))
    height = max(np.linalg.norm(quad[0] - quad[3]), np.linalg.norm(quad[1] - quad[2]))
    return float(width), float(height)
