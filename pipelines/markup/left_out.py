"""Lines that OCR left out, from the sentence of the problem that names them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from actors.spans import Box

_PROBLEM = re.compile(r"page (\d+): lines left out\b.* at (\(.*\))")
_PLACE = re.compile(r"\((-?\d+) (-?\d+) (-?\d+) (-?\d+)\)")


def left_out(problems: Iterable[str]) -> list[Box]:
    """Return the boxes of "page 2: lines left out, ...: 1, at (10 20 110 40)".

    Only so many are named on a page as the sentence has room for.
    """
    return [
        Box(int(found[1]) - 1, *map(float, place))
        for problem in problems
        if (found := _PROBLEM.match(problem)) is not None
        for place in _PLACE.findall(found[2])
    ]
