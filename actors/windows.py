"""Overlapping windows over a token sequence, with each token decided in exactly one window.

Independent of tokenizers, models and text: a token is its index, so offsets cannot get lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Words = Sequence[int] | npt.NDArray[np.int32]
"""The word of each token, as any non-decreasing numbers."""

# How far a window edge may move to a word boundary; longer words are split.
_LONGEST_MOVE = 16


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens [start, end) go through the model; those in [first, last) are decided in this window.

    All four are indices of tokens in the document, ends exclusive. The [first, last) ranges of a
    document's windows are contiguous and disjoint.
    """

    start: int
    end: int
    first: int
    last: int


def windows(length: int, size: int, overlap: int, words: Words | None = None) -> Iterator[Window]:
    """Yield windows of at most ``size`` tokens over ``length`` tokens, with neighbours sharing
    ``overlap``.

    Each token is decided in the window where it is farthest from an edge; the edges of the document
    do not count, as there is no context beyond them. Windows are of about equal length, which is
    cheapest for the same overlap. ``words`` gives each token's word: if given, a window starts and
    ends at word boundaries, provided that this moves its edge by only a few tokens (so neighbours
    may share up to that many more, never fewer). The windows depend only on the arguments. No
    tokens, no windows. Raises ValueError if ``overlap`` exceeds half of ``size``.
    """
    if size < 1 or not 0 <= overlap <= size // 2:
        raise ValueError(f"overlap {overlap} exceeds half of the window size {size}")
    if length == 0:
        return
    move = min(_LONGEST_MOVE, (size - overlap) // 4)
    start = first = 0
    end = _edge(_balanced(length, size, overlap), overlap + 1, length, words, move)
    while end < length:
        next_start = _edge(end - overlap, start + 1, length, words, move)
        least = max(end + 1, next_start + overlap + 1)
        next_end = next_start + _balanced(length - next_start, size, overlap)
        next_end = _edge(max(next_end, least), least, length, words, move)
        # The last token that is at least as far from the end of this window as from the start of
        # the next one.
        last = (end - 1 + next_start) // 2 + 1
        yield Window(start, end, first, last)
        start, end, first = next_start, next_end, last
    yield Window(start, length, first, length)


def _balanced(remaining: int, size: int, overlap: int) -> int:
    """Return the length of the next window, such that the rest splits into equal ones."""
    if remaining <= size:
        return remaining
    count = -(-(remaining - overlap) // (size - overlap))
    return min(size, -(-(remaining + (count - 1) * overlap) // count))


def _edge(at: int, least: int, length: int, words: Words | None, move: int) -> int:
    """Return ``at``, or the nearest word start up to ``move`` tokens before it.

    Never below ``least``.
    """
    if words is None or at >= length:
        return at
    for place in range(at, max(least, at - move) - 1, -1):
        if words[place] != words[place - 1]:
            return place
    return at
