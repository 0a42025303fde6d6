"""Tell handwriting from print: print stands on a line, and is upright or hardly slanted.

Measured on crops of lines: of the letters of print 6 to 20% do not stand on a common line (they
have descenders), of a bad scan's up to 70%; of words in a script font, slanted and on an uneven
base, 36 to 67%. Print is slanted by less than 3 degrees, italics by 6 to 7, these words by 13 to
21.
"""

from __future__ import annotations

import cv2
import numpy as np

from actors.ocr.line_crops import ink_of
from actors.ocr.recognized import LINE_HEIGHT
from actors.pages import Picture

_LETTER = LINE_HEIGHT // 5  # least height of a piece of ink that may be a letter
_SPECK = 20  # pixels: less ink is none
_FEWEST = 5  # letters that tell
_NEAR = LINE_HEIGHT // 8  # from the median: letters without a descender
_EDGE = 0.4  # of the strongest edge: weaker ones are noise
_SLANTED, _TILTED = 11.0, 4.0  # degrees: more than italics have, and more than print
_UNEVEN = 0.3
_OFF = LINE_HEIGHT / 30  # farther from the line, a letter does not stand on it


def is_written(crop: Picture) -> bool:
    """Return True for a line that looks written by hand among lines of print."""
    slanted = abs(slant(crop))
    return slanted > _SLANTED or (slanted > _TILTED and unevenness(crop) > _UNEVEN)


def slant(crop: Picture) -> float:
    """Return the angle of the strokes of a line from the vertical, in degrees."""
    gray = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY).astype(np.float32)
    across, down = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    strength = np.hypot(across, down)
    edges = strength > _EDGE * strength.max()
    angles = (np.degrees(np.arctan2(down[edges], across[edges])) + 90) % 180 - 90
    upright = np.abs(angles) < 45
    if not upright.any():
        return 0.0
    return float(np.average(angles[upright], weights=strength[edges][upright]))


def unevenness(crop: Picture) -> float:
    """Return the share of letters that do not stand on a common line, of a crop of LINE_HEIGHT; 0
    if there are too few."""
    ink = ink_of(crop).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    letters = stats[1:][(stats[1:, 3] >= _LETTER) & (stats[1:, 4] > _SPECK)]
    if len(letters) < _FEWEST:
        return 0.0
    middle = letters[:, 0] + letters[:, 2] / 2
    bottom = (letters[:, 1] + letters[:, 3]).astype(np.float64)
    standing = np.abs(bottom - np.median(bottom)) <= _NEAR
    slope, level = np.polyfit(middle[standing], bottom[standing], 1)
    return float(np.mean(np.abs(bottom - (slope * middle + level)) > _OFF))
