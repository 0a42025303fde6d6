"""The bars of a code from end to end: a reader of lines says only in which rows it read them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_Gray = NDArray[np.uint8]
_Points = NDArray[np.float64]

_MOST_SAMPLES = 600  # along a code
_ALIKE = 0.6  # correlation of a row of pixels with the one that was read
_SPECK = 3  # pixels that may hide the bars
_LEAST = 8.0  # pixels between the ends: shorter is no code


def whole_bars(picture: _Gray, corners: _Points) -> _Points:
    """Return the corners of a code with its bars followed up and down for as long as they last.

    ``corners``: left and right at the top, right and left at the bottom, as the code is read, in
    pixels. The bars may lean: each row is compared at the place of the last, and a pixel beside it.
    """
    left, right = (corners[0] + corners[3]) / 2, (corners[1] + corners[2]) / 2
    length = float(np.hypot(*(right - left)))
    if length < _LEAST:
        return corners
    along = (right - left) / length
    down = np.array([-along[1], along[0]])
    if down @ (corners[3] - corners[0]) < 0:
        down = -down
    steps = np.linspace(0, length, min(_MOST_SAMPLES, int(length) + 1))
    row = left + steps[:, None] * along

    def followed(way: float) -> _Points:
        """How far the bars go: down by ``way``, and along as they lean."""
        read = _values(picture, row)
        lean, end, hidden = 0, np.zeros(2), 0
        for step in range(1, int(2 * length)):
            offset = way * step * down
            tries = [(lean + aside) for aside in (0, -1, 1)]
            found = [_alike(read, _values(picture, row + offset + one * along)) for one in tries]
            best = int(np.argmax(found))
            if found[best] >= _ALIKE:
                lean, hidden = tries[best], 0
                end = offset + lean * along
            else:
                hidden += 1
                if hidden > _SPECK:
                    break
        return end

    above, below = followed(-1.0), followed(1.0)
    reached = [left + above, right + above, right + below, left + below]
    return np.concatenate([corners, reached])


def _values(picture: _Gray, points: _Points) -> NDArray[np.float64]:
    """The gray values at points; 255 outside."""
    x, y = np.rint(points[:, 0] - 0.5).astype(int), np.rint(points[:, 1] - 0.5).astype(int)
    height, width = picture.shape
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    values = np.full(len(points), 255.0)
    values[inside] = picture[y[inside], x[inside]]
    return values


def _alike(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The correlation of two rows; 0 where one has no bars."""
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0
