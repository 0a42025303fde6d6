"""Split nested and crossing spans into drawable pieces.

Independent of the output: HTML and the terminal draw the same pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text that is covered by the same spans throughout.

    ``spans``: indices into the input of ``pieces``, outermost first. ``levels``: the level of each.
    Spans that share a character never share a level, and the shorter one has the lower level, so
    that one underline per level shows every span completely.
    """

    start: int
    end: int
    spans: tuple[int, ...] = ()
    levels: tuple[int, ...] = ()


def pieces(length: int, spans: Sequence[tuple[int, int]]) -> list[Piece]:
    """Split the text [0, length) at every span boundary; the pieces concatenate to the text.

    Raises ValueError for an empty span, or one outside the text.
    """
    for start, end in spans:
        if not 0 <= start < end <= length:
            raise ValueError(
                f"span [{start}, {end}) is empty or outside the text of length {length}"
            )
    edges = sorted({0, length, *(edge for span in spans for edge in span)})
    place = {edge: i for i, edge in enumerate(edges)}
    outermost_first = sorted(
        range(len(spans)), key=lambda i: (spans[i][0] - spans[i][1], spans[i][0], i)
    )
    covering: list[list[int]] = [[] for _ in edges]
    for i in outermost_first:
        start, end = spans[i]
        for k in range(place[start], place[end]):
            covering[k].append(i)
    level = _levels(len(spans), outermost_first, covering, spans, place)
    return [
        Piece(start, end, tuple(covering[k]), tuple(level[i] for i in covering[k]))
        for k, (start, end) in enumerate(pairwise(edges))
    ]


def _levels(
    count: int,
    outermost_first: Sequence[int],
    covering: Sequence[Sequence[int]],
    spans: Sequence[tuple[int, int]],
    place: dict[int, int],
) -> list[int]:
    taken: list[set[int]] = [set() for _ in covering]
    level = [0] * count
    for i in reversed(outermost_first):  # shortest first, so that it is closest to the text
        under = range(place[spans[i][0]], place[spans[i][1]])
        used = set().union(*(taken[k] for k in under))
        level[i] = next(n for n in range(len(used) + 1) if n not in used)
        for k in under:
            taken[k].add(level[i])
    return level
