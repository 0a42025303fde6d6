"""Find stamps, signatures and handwriting on a page, from its ink and from how it was read.

Stamps and signatures are sought on a small copy of the page. A stamp is a frame in colour, or one
of any ink that is round or at an angle. A signature is ink beside or above a label that asks for
one, if it is large, in colour or looks written. Handwriting is lines that were hard to read, or
look written, and all lines of a page on which most are uneven.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.ocr.handwriting import is_written, unevenness
from actors.ocr.line_crops import LineCrop, skew, source_box
from actors.ocr.recognized import RecognizedLine
from actors.pages import Picture, Rectangle, union
from actors.spans import Box, MarkKind, PageMark

_SIDE = 1000  # pixels of the longer side of the small copy
_CHROMA = 18.0  # distance from the paper in the a and b of Lab: ink in colour
_DARKER = 20.0  # of 255: ink of any colour
_MOST_COLOUR = 0.35  # of the page: beyond, it is a photograph or coloured paper
# All in line heights.
_STAMP_WIDTH, _STAMP_HEIGHT, _STAMP_LARGEST = 2.5, 2.2, 25.0
_RULE = 3.0  # a run of ink so long and straight is a ruled line
_SIGNED_WIDTH, _SIGNED_HEIGHT = 1.5, 0.9  # least ink of a signature
_LARGE = 1.4  # height of ink that is a signature in any case
_BESIDE, _ABOVE = 16.0, 2.5  # how far it is from its label
_WRITTEN = 2.0  # least width of handwriting
_HOLLOW = 0.55  # most ink of the area within a stamp's frame
_SPAN = 0.85  # of a stamp's width and height, which its frame has
_TILTED = (math.radians(4), math.radians(40))
_HARD, _EASY = 0.8, 0.93  # confidence of handwriting, and of the other lines of its page
_UNEVEN, _EVEN = 0.3, 0.2  # of most lines of a written page, and the least of its others
_FEWEST = 3  # lines that tell how the page is read
_ROUND = 0.85  # of the circle around it, which a round frame encloses
_LABEL = re.compile(
    r"\b(?:signature|signed|sign here|unterschrift|firma|firmado|assinatura|chữ ký|ký tên)\b",
    re.IGNORECASE,
)

_Mask = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SmallPage:
    """A small copy of an upright page, and its pixels per pixel of the page."""

    picture: Picture
    scale: float


def small_page(picture: Picture) -> SmallPage:
    """Return the copy that marks are found on, of 3 MB at most."""
    height, width = picture.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return SmallPage(
        np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8), scale
    )


def page_marks(
    page: SmallPage,
    cuts: Sequence[LineCrop],
    read: Sequence[RecognizedLine],
    size: tuple[int, int],
    turn: int,
    number: int,
) -> tuple[PageMark, ...]:
    """Return the marks of page ``number``, of which ``page`` is a copy. Its lines are those of the
    page rotated clockwise by ``turn`` degrees; ``size`` is that of the source page."""
    upright = SmallPage(np.ascontiguousarray(np.rot90(page.picture, -turn // 90)), page.scale)
    marks = []
    for kind, (x0, y0, x1, y1) in find_marks(upright, cuts, read):
        corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)
        box = [float(round(side)) for side in source_box(corners, size, turn)]
        left, top = max(0.0, box[0]), max(0.0, box[1])
        right, bottom = min(float(size[0]), box[2]), min(float(size[1]), box[3])
        marks.append(PageMark(kind, Box(number, left, top, right, bottom)))
    return tuple(marks)


def find_marks(
    page: SmallPage, cuts: Sequence[LineCrop], read: Sequence[RecognizedLine]
) -> list[tuple[MarkKind, Rectangle]]:
    """Return the marks of an upright page, with rectangles in its pixels. ``read``: what was
    recognised of each of its lines."""
    lines = [_Line.of(cut, letters, page.scale) for cut, letters in zip(cuts, read, strict=True)]
    if not lines:
        return []
    unit = max(6.0, median(line.height for line in lines))
    ink, coloured = _inks(page.picture)
    stamps = _stamps(skew(cuts), ink, coloured, unit)
    found = [(MarkKind.STAMP, box) for box in stamps]
    others = [line for line in lines if not any(_inside(line.box, box) for box in stamps)]
    signatures = [
        box for line in others if (box := _signature(line, others, ink, coloured, unit)) is not None
    ]
    found += [(MarkKind.SIGNATURE, box) for box in signatures]
    taken = [*stamps, *signatures]
    found += [(MarkKind.HANDWRITING, box) for box in _written(others, taken, unit)]
    return [(kind, _scaled(box, 1 / page.scale)) for kind, box in found]


@dataclass(frozen=True, slots=True)
class _Line:
    """A line on the small copy; ``places``: of its letters along it, 0 to 1."""

    text: str
    confidence: float
    box: Rectangle
    height: float
    angle: float
    places: NDArray[np.float32]
    written: bool
    uneven: float

    @classmethod
    def of(cls, cut: LineCrop, letters: RecognizedLine, scale: float) -> _Line:
        quad = cut.quad * scale
        (x0, y0), (x1, y1) = quad.min(axis=0), quad.max(axis=0)
        along = quad[1] - quad[0]
        return cls(
            letters.text,
            letters.confidence,
            (float(x0), float(y0), float(x1), float(y1)),
            float(np.linalg.norm(quad[3] - quad[0])),
            float(math.atan2(along[1], along[0])),
            letters.places,
            is_written(cut.crop),
            unevenness(cut.crop),
        )


def _inks(picture: Picture) -> tuple[_Mask, _Mask]:
    """Return where there is ink, and ink in colour: none on coloured paper and photographs."""
    lab = cv2.cvtColor(picture, cv2.COLOR_BGR2LAB).astype(np.float32)
    paper = np.median(lab.reshape(-1, 3), axis=0)
    a, b = lab[:, :, 1] - paper[1], lab[:, :, 2] - paper[2]
    dark = lab[:, :, 0] < paper[0] - _DARKER
    coloured = (np.hypot(a, b) > _CHROMA) & dark
    if coloured.mean() > _MOST_COLOUR:
        coloured[:] = False
    return _mask(dark), _mask(coloured)


def _mask(values: NDArray[np.bool_]) -> _Mask:
    return values.astype(np.uint8)


def _stamps(angle: float, ink: _Mask, coloured: _Mask, unit: float) -> list[Rectangle]:
    """Return the rectangles of stamps; none within another. ``angle``: of the lines of the page."""
    reach = max(1, round(0.15 * unit))
    found = [box for box in _parts(coloured, reach) if _framed(coloured, box, unit)]
    for box in _parts(ink, 1):
        if _framed(ink, box, unit) and _is_stamped(_cropped(ink, box), angle):
            found.append(box)
    merged: list[Rectangle] = []
    for box in sorted(found, key=_area, reverse=True):
        if not any(_inside(box, other) for other in merged):
            merged.append(box)
    return merged


def _is_stamped(frame: _Mask, angle: float) -> bool:
    """Return True for a frame that no form is printed with: it is round, or at an angle."""
    outline = _outline(frame)
    _, radius = cv2.minEnclosingCircle(outline)
    if cv2.contourArea(cv2.convexHull(outline)) > _ROUND * math.pi * radius**2:
        return True
    _, _, degrees = cv2.minAreaRect(outline)
    tilt = (math.radians(degrees) - angle) % (math.pi / 2)
    return _TILTED[0] < min(tilt, math.pi / 2 - tilt) < _TILTED[1]


def _outline(ink: _Mask) -> NDArray[np.int32]:
    """Return the outer contour of the largest piece of ink."""
    thick = cv2.dilate(ink, np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(thick, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return np.asarray(max(contours, key=cv2.contourArea), np.int32)


def _cropped(ink: _Mask, box: Rectangle) -> _Mask:
    x0, y0, x1, y1 = (max(0, int(side)) for side in box)
    return ink[y0:y1, x0:x1]


def _framed(ink: _Mask, box: Rectangle, unit: float) -> bool:
    """Return True if the ink in a box is a frame around something: hollow, and one piece that is as
    wide and as high as all of it."""
    x0, y0, x1, y1 = map(int, box)
    width, height = x1 - x0, y1 - y0
    if not _STAMP_WIDTH * unit <= width <= _STAMP_LARGEST * unit:
        return False
    if not _STAMP_HEIGHT * unit <= height <= _STAMP_LARGEST * unit:
        return False
    largest = _outline(ink[y0:y1, x0:x1])
    _, _, wide, high = cv2.boundingRect(largest)
    hull = cv2.contourArea(cv2.convexHull(largest))
    return bool(
        wide >= _SPAN * width
        and high >= _SPAN * height
        and cv2.contourArea(largest) > 0.8 * hull
        and ink[y0:y1, x0:x1].sum() < _HOLLOW * hull
    )


def _signature(
    label: _Line, lines: Sequence[_Line], ink: _Mask, coloured: _Mask, unit: float
) -> Rectangle | None:
    """Return the rectangle of a signature that a line asks for; None without one."""
    asked = _LABEL.search(label.text)
    if asked is None or len(label.text) > 60:
        return None
    x0, y0, x1, y1 = label.box
    colon = label.text.find(":", asked.end())
    last = min(colon if colon >= 0 else asked.end() - 1, len(label.places) - 1)
    end = x0 + (x1 - x0) * float(label.places[last]) + 0.4 * unit
    beside = (end, y0 - 1.2 * unit, end + _BESIDE * unit, y1 + 0.8 * unit)
    above = (x0 - unit, y0 - _ABOVE * unit, x0 + _BESIDE * unit, y0 - 0.1 * unit)
    free = ink.copy()
    for line in lines:
        if line is not label and line.confidence > _HARD and not line.written:
            _clear(free, line.box)  # print
    _clear(free, (x0, y0, end, y1))
    ruled = cv2.morphologyEx(free, cv2.MORPH_OPEN, np.ones((1, round(_RULE * unit)), np.uint8))
    free[cv2.dilate(ruled, np.ones((3, 1), np.uint8)) > 0] = 0
    for region in (beside, above):
        box = _around(free, region)
        if box is None:
            continue
        width, height = box[2] - box[0], box[3] - box[1]
        if width < _SIGNED_WIDTH * unit or height < _SIGNED_HEIGHT * unit:
            continue
        drawn = any(line.written and _overlap(line.box, box) > 0 for line in lines)
        if drawn or height > _LARGE * unit or _share(coloured, free, box) > 0.5:
            return box
    return None


def _written(lines: Sequence[_Line], taken: Sequence[Rectangle], unit: float) -> list[Rectangle]:
    """Return the lines of handwriting outside of the rectangles that are taken."""
    if len(lines) < _FEWEST or median(line.confidence for line in lines) < _EASY:
        return []  # a bad scan
    # Among lines of print, what is slanted or hard to read; else all that is as uneven as most.
    all_written = median(line.uneven for line in lines) > _UNEVEN
    return [
        line.box
        for line in lines
        if line.box[2] - line.box[0] > _WRITTEN * unit
        and (line.confidence < _HARD or line.written or (all_written and line.uneven > _EVEN))
        and not any(_overlap(line.box, box) > 0.3 * _area(line.box) for box in taken)
    ]


def _parts(ink: _Mask, reach: int) -> list[Rectangle]:
    """Return the rectangles around pieces of ink that are nearer to each other than ``reach``."""
    near = cv2.dilate(ink, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    return [
        (float(x + reach), float(y + reach), float(x + w - reach), float(y + h - reach))
        for x, y, w, h, _ in stats[1:]
    ]


def _around(ink: _Mask, region: Rectangle) -> Rectangle | None:
    """Return the rectangle around the ink in a region, without specks."""
    height, width = ink.shape
    x0, y0 = max(0, int(region[0])), max(0, int(region[1]))
    x1, y1 = min(width, int(region[2])), min(height, int(region[3]))
    if x1 <= x0 or y1 <= y0:
        return None
    _, _, stats, _ = cv2.connectedComponentsWithStats(ink[y0:y1, x0:x1], connectivity=8)
    boxes = [
        (float(x0 + x), float(y0 + y), float(x0 + x + w), float(y0 + y + h))
        for x, y, w, h, area in stats[1:]
        if area > 4
    ]
    return union(boxes) if boxes else None


def _clear(ink: _Mask, box: Rectangle) -> None:
    x0, y0, x1, y1 = (max(0, int(side)) for side in box)
    ink[y0:y1, x0:x1] = 0


def _share(part: _Mask, whole: _Mask, box: Rectangle) -> float:
    """Return how much of the ink in a box is in ``part``."""
    total = _cropped(whole, box)
    return float((_cropped(part, box) & total).sum()) / max(1, int(total.sum()))


def _inside(inner: Rectangle, outer: Rectangle) -> bool:
    """Return True if a rectangle lies mostly in another."""
    return _overlap(inner, outer) > 0.8 * _area(inner)


def _overlap(a: Rectangle, b: Rectangle) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _scaled(box: Rectangle, factor: float) -> Rectangle:
    return box[0] * factor, box[1] * factor, box[2] * factor, box[3] * factor
