"""Which part of a page already has its words."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from actors.pages.page import Strip
from actors.pages.rectangles import Rectangle

_GRID = 4  # pixels of a cell
_CLOSE = 1.5  # in word heights: words as near as that cover the space between them
_LEAST = 0.8  # in line heights: a shorter uncovered part is the margin of what is covered


class Coverage:
    """A coarse map of a page of ``size`` (width, height): where known words are."""

    def __init__(
        self, size: tuple[int, int], strips: Iterable[Strip], boxes: Iterable[Rectangle] = ()
    ) -> None:
        columns, rows = (math.ceil(side / _GRID) + 1 for side in size)
        self._map = np.zeros((rows, columns), bool)
        for strip in strips:
            last: Rectangle | None = None
            for word in strip.words:
                box = (word.x0, word.y0, word.x1, word.y1)
                self._fill(box)
                if last is not None and _near(last, box):
                    self._fill(_between(last, box))
                last = box
        for box in boxes:
            self._fill(box)

    def has(self, box: Rectangle) -> bool:
        """Return True if most of a rectangle is covered."""
        part = self._part(box)
        return bool(part.size and part.mean() > 0.5)

    def touches(self, box: Rectangle) -> bool:
        """Return True if the middle of a rectangle is covered."""
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        return bool(self._part((x, y, x, y)).any())

    def lacks(self, box: Rectangle) -> bool:
        """Return True if some of a line is not covered, as long as a letter or two."""
        thickness = min(box[2] - box[0], box[3] - box[1])
        return bool(_longest(self._free(box)) * _GRID > _LEAST * thickness)

    def has_half(self, line: Rectangle) -> bool:
        """Return True if at least half of the length of a line is covered."""
        free = self._free(line)
        return bool(len(free) and free.mean() <= 0.5)

    def _free(self, line: Rectangle) -> NDArray[np.bool_]:
        """Return for each step along a line whether its middle third is not covered."""
        x0, y0, x1, y1 = line
        width, height = x1 - x0, y1 - y0
        if width >= height:
            band, axis = (x0, y0 + height / 3, x1, y1 - height / 3), 0
        else:
            band, axis = (x0 + width / 3, y0, x1 - width / 3, y1), 1
        return ~np.asarray(self._part(band).any(axis=axis))

    def _part(self, box: Rectangle) -> NDArray[np.bool_]:
        x0, y0, x1, y1 = (max(0, int(side / _GRID)) for side in box)
        return self._map[y0 : y1 + 1, x0 : x1 + 1]

    def _fill(self, box: Rectangle) -> None:
        self._part(box)[:] = True


def _near(left: Rectangle, right: Rectangle) -> bool:
    gap = max(right[0] - left[2], left[0] - right[2], right[1] - left[3], left[1] - right[3])
    return gap < _CLOSE * min(left[3] - left[1], left[2] - left[0], right[3] - right[1])


def _between(left: Rectangle, right: Rectangle) -> Rectangle:
    """Return the space between two words of a line, which is as high as the lower one."""
    across = min(left[3], right[3]) > max(left[1], right[1])
    if across:
        sides = sorted((left[0], left[2], right[0], right[2]))
        return sides[1], max(left[1], right[1]), sides[2], min(left[3], right[3])
    sides = sorted((left[1], left[3], right[1], right[3]))
    return max(left[0], right[0]), sides[1], min(left[2], right[2]), sides[2]


def _longest(free: NDArray[np.bool_]) -> int:
    """Return the length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], free, [False])).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0
