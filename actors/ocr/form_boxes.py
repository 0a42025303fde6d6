"""Find the boxes of forms on an upright page: check boxes, empty or marked, and ruled cells.

Both are rectangles of straight strokes. A check box is about as high as a letter and stands alone,
so that a table's grid, a row of boxes for single letters and the letters themselves are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.ocr.line_crops import LineCrop
from actors.ocr.networks import Quad
from actors.pages import Picture, Rectangle

_LINE = 40  # pixels that a line of text is high where boxes are sought
_MOST_SCALE = 1.5
_PAPER = 10  # of 255: ink is so much darker than what is around it
_BLUR = 0.7  # pixels
_STROKES, _RULE = (11, 17), 30  # pixels: least straight strokes of check boxes, of ruled cells
_CHECK = (0.47 * _LINE, 1.35 * _LINE)  # sides of a check box
_ASPECT = 1.25
_BEYOND = 0.2  # of its side: straight strokes do not go on so far
_SIDE = 0.4  # and of a row or column that is not only a mark which leaves its box
_DRAWN = 0.93  # share of each side of a box that has ink
_BAND, _CORNER = 0.16, 0.25  # of its side: where its sides are; share of their corners with ink
_FREE = 0.24  # of its side: space on both sides of it,
_BESIDE = 0.45  # share of whose height a mark may have, but no letter
_EDGE, _THICK = 0.25, 0.6  # of a check box's side: most of its frame; ink of a row of that
_MARKED = 0.07  # share of ink within the frame of one that is marked
_SOLID = 0.9  # and of one that is no box but a bullet
_CELL = (2.0 * _LINE, 0.8 * _LINE, 6.0 * _LINE)  # least width, least and most height of a cell
_TILT = 0.03  # of its width: more height of a cell on a page that is not quite level
_STRAIGHT = 0.85  # share of its rectangle that a cell fills
_NEAR = 0.35  # of their side: boxes so near to each other are for single letters
_SPECK = 6  # pixels


@dataclass(frozen=True, slots=True)
class CheckBox:
    """A check box by its corners, and whether it is marked."""

    quad: Quad
    on: bool


@dataclass(frozen=True, slots=True)
class FormBoxes:
    """The check boxes and ruled cells of a page, in pixels of the page rotated upright."""

    checks: tuple[CheckBox, ...] = ()
    cells: tuple[Quad, ...] = ()

    def is_check(self, line: Quad) -> bool:
        """Return True for a line that is a check box alone."""
        middle, width = line.mean(axis=0), line[:, 0].max() - line[:, 0].min()
        return any(
            (one.quad.min(axis=0) < middle).all()
            and (middle < one.quad.max(axis=0)).all()
            and width < 2 * (one.quad[1, 0] - one.quad[0, 0])
            for one in self.checks
        )

    def turned(self, width: int, height: int) -> FormBoxes:
        """Return the boxes of the page rotated by 180 degrees; its size is the page's."""
        corner = np.array([width, height], np.float32)

        def flipped(quad: Quad) -> Quad:
            return np.ascontiguousarray((corner - quad)[[2, 3, 0, 1]])

        return FormBoxes(
            tuple(replace(one, quad=flipped(one.quad)) for one in self.checks),
            tuple(map(flipped, self.cells)),
        )


def form_boxes(picture: Picture, cuts: Sequence[LineCrop]) -> FormBoxes:
    """Return the boxes on an upright page with these lines."""
    if not cuts:
        return FormBoxes()
    heights = [float(np.linalg.norm(one.quad[3] - one.quad[0])) for one in cuts]
    scale = min(_LINE / max(1.0, median(heights)), _MOST_SCALE)
    ink = _ink(picture, scale)
    checks = [(box, on) for box in _squares(ink) if (on := _is_marked(ink, box)) is not None]
    alone = [
        (box, on)
        for box, on in checks
        if not any(other is not box and _touch(box, other) for other, _ in checks)
    ]
    return FormBoxes(
        tuple(CheckBox(_quad(box) / scale, on) for box, on in alone),
        tuple(quad / scale for quad in _cells(ink)),
    )


def without_checks(picture: Picture, checks: Sequence[CheckBox]) -> Picture:
    """Return a page on which check boxes and their marks are painted over with paper."""
    made = picture.copy()
    for one in checks:
        (x0, y0), (x1, y1) = one.quad.min(axis=0), one.quad.max(axis=0)
        side = max(x1 - x0, y1 - y0)
        around = _clipped((x0 - side, y0 - side, x1 + side, y1 + side), picture)
        paper = np.median(picture[around].reshape(-1, 3), axis=0)
        margin = 0.12 * side
        made[_clipped((x0 - margin, y0 - margin, x1 + margin, y1 + margin), picture)] = paper
        if one.on:
            _erase_strokes(made, around, (x0, y0, x1, y1), paper)
    return made


def _erase_strokes(
    page: Picture,
    around: tuple[slice, slice],
    box: Rectangle,
    paper: NDArray[np.float64],
) -> None:
    """Paint over what is left of a mark that is larger than its box: small pieces of ink nearby."""
    part = page[around]
    dark = (part.mean(axis=2) < paper.mean() - 60).astype(np.uint8)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=8)
    side, left = box[2] - box[0], around[1].start
    for number in range(1, count):
        x, _, wide, high, _ = stats[number]
        x0 = x + left
        beside = min(x0 + wide, box[2]) > max(x0, box[0]) or x0 - box[2] < 0.1 * side
        if beside and x0 + wide > box[0] - 0.3 * side and max(wide, high) < 0.5 * side:
            part[pieces == number] = paper


def _clipped(box: Sequence[float], picture: Picture) -> tuple[slice, slice]:
    x0, y0, x1, y1 = box
    return (
        slice(max(0, int(y0)), max(0, min(picture.shape[0], int(y1) + 1))),
        slice(max(0, int(x0)), max(0, min(picture.shape[1], int(x1) + 1))),
    )


def _ink(picture: Picture, scale: float) -> NDArray[np.uint8]:
    """Return where a page has ink once scaled."""
    gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    size = (max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale)))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    calm = cv2.GaussianBlur(cv2.resize(gray, size, interpolation=kind), (0, 0), _BLUR)
    ink = cv2.adaptiveThreshold(
        calm, 1, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, 2 * _LINE + 1, _PAPER
    )
    return np.asarray(ink, np.uint8)


def _quad(box: Rectangle) -> Quad:
    x0, y0, x1, y1 = box
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)


def _strokes(ink: NDArray[np.uint8], length: int) -> NDArray[np.uint8]:
    """Return the level and upright strokes of at least a length."""
    closed = cv2.morphologyEx(ink, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    across = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    down = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((length, 1), np.uint8))
    return np.asarray(cv2.bitwise_or(across, down), np.uint8)


def _squares(ink: NDArray[np.uint8]) -> list[Rectangle]:
    """Return the squares of the size of check boxes that stand alone."""
    found: list[Rectangle] = []
    low, most = _CHECK
    # Short strokes for small boxes; long ones, of which less of a mark across a large box is left.
    for length in _STROKES:
        frames = cv2.dilate(_strokes(ink, length), np.ones((3, 3), np.uint8))
        _, _, stats, _ = cv2.connectedComponentsWithStats(frames, connectivity=8)
        for x, y, w, h, _ in stats[1:]:
            if not low <= min(w, h) <= max(w, h) <= 2 * most:
                continue
            drawn = (float(x + 1), float(y + 1), float(x + w - 1), float(y + h - 1))
            box = _trimmed(ink, drawn)
            if max(abs(a - b) for a, b in zip(box, drawn, strict=True)) > _BEYOND * min(w, h):
                continue  # a letter with a stem
            wide, high = box[2] - box[0], box[3] - box[1]
            square = max(wide, high) <= _ASPECT * min(wide, high)
            if not square or not low <= min(wide, high) <= max(wide, high) <= most:
                continue
            if not any(_overlap(box, other) for other in found) and _is_frame(ink, box):
                found.append(box)
    return found


def _trimmed(ink: NDArray[np.uint8], box: Rectangle) -> Rectangle:
    """Return a box without what a mark has outside of its sides."""
    x0, y0, x1, y1 = map(int, box)
    part = ink[y0:y1, x0:x1]
    rows = np.flatnonzero(part.mean(axis=1) > _SIDE)
    columns = np.flatnonzero(part.mean(axis=0) > _SIDE)
    if not len(rows) or not len(columns):
        return box
    return (
        float(x0 + columns[0]),
        float(y0 + rows[0]),
        float(x0 + columns[-1] + 1),
        float(y0 + rows[-1] + 1),
    )


def _is_frame(ink: NDArray[np.uint8], box: Rectangle) -> bool:
    """Return True if there is ink along all four sides, up to the corners, and none close by, as
    the next letter of a word would be."""
    x0, y0, x1, y1 = map(int, box)
    part = ink[y0:y1, x0:x1]
    band = max(2, round(_BAND * min(part.shape)))
    sides = (part[:band], part[-band:], part[:, :band].T, part[:, -band:].T)
    # Two rows together: a side may step by a pixel on a page that is not quite level.
    straight = [float((side[:-1] | side[1:]).mean(axis=1).max()) for side in sides]
    if min(straight) < _DRAWN:
        return False
    corners = (part[:band, :band], part[:band, -band:], part[-band:, :band], part[-band:, -band:])
    gap = max(2, round(_FREE * (x1 - x0)))
    beside = (ink[y0:y1, max(0, x0 - 2 - gap) : max(0, x0 - 2)], ink[y0:y1, x1 + 2 : x1 + 2 + gap])
    return min(float(corner.mean()) for corner in corners) > _CORNER and all(
        one.any(axis=1).mean() < _BESIDE for one in beside if one.size
    )


def _is_marked(ink: NDArray[np.uint8], box: Rectangle) -> bool | None:
    """Return whether a square has a mark in it; None if it is solid."""
    x0, y0, x1, y1 = map(int, box)
    part = ink[y0:y1, x0:x1]
    top, bottom, left, right = (
        _thickness(side) for side in (part, part[::-1], part.T, part.T[::-1])
    )
    inner = np.ascontiguousarray(part[top : len(part) - bottom, left : part.shape[1] - right])
    if not inner.size:
        return None
    count, _, stats, _ = cv2.connectedComponentsWithStats(inner, connectivity=8)
    marks = sum(int(stats[i, 4]) for i in range(1, count) if stats[i, 4] >= _SPECK)
    share = marks / inner.size
    return None if share > _SOLID else share > _MARKED


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _thickness(side: NDArray[np.uint8]) -> int:
    """Return how many of the first rows of a box are its frame, with one for its blurred edge."""
    most = round(_EDGE * len(side))
    drawn = side[:most].mean(axis=1) > _THICK
    count = 1  # the first row may be the edge of a thin line
    while count < most and drawn[count]:
        count += 1
    return count + 1


def _touch(a: Rectangle, b: Rectangle) -> bool:
    gap = max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3])
    return gap < _NEAR * (a[2] - a[0])


def _cells(ink: NDArray[np.uint8]) -> list[Quad]:
    """Return the rectangles that ruled lines enclose."""
    rules = cv2.dilate(_strokes(ink, _RULE), np.ones((3, 3), np.uint8))
    contours, levels = cv2.findContours(rules, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    width, least, most = _CELL
    found: list[Quad] = []
    for contour, level in zip(contours, levels[0] if levels is not None else (), strict=True):
        x, y, w, h = cv2.boundingRect(contour)
        # A hole within strokes: their outside has no parent.
        if level[3] < 0 or w < width or not least <= h <= most + _TILT * w:
            continue
        _, sides, _ = cv2.minAreaRect(contour)
        if cv2.contourArea(contour) > _STRAIGHT * sides[0] * sides[1]:
            found.append(_quad((float(x), float(y), float(x + w), float(y + h))))
    return found
