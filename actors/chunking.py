"""Windows over a sequence of tokens: overlapping, with each token decided exactly once.

Knows nothing of tokenizers, models or text: a token is its index, so offsets cannot get lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Words = Sequence[int] | npt.NDArray[np.int32]
"""The word of each token, as any increasing numbers."""

# How far a window's edge may move to stand between two words; longer words are cut.
_LONGEST_MOVE = 16


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens [start, end) go through the model; those in [first, last) are decided here.

    All four are indices of tokens in the document, ends exclusive. Over the windows of a document
    the [first, last) ranges touch without a gap and without an overlap.
    """

    start: int
    end: int
    first: int
    last: int


def windows(length: int, size: int, overlap: int, words: Words | None = None) -> Iterator[Window]:
    """Windows of at most ``size`` tokens over ``length`` tokens, neighbours sharing ``overlap``.

    Each token is decided in the window where it is farthest from an edge; the edges of the
    document do not count, as there is no context beyond them. Windows are about equally long, as
    this costs least for the same overlap. ``words`` gives each token's word: where it is given,
    a window begins and ends between words if that moves its edge by a few tokens only (so
    neighbours may share up to those few more, never fewer). The windows follow from the
    arguments alone. No tokens, no windows. Raises ValueError where ``overlap`` exceeds half of
    ``size``.
    """
    if size < 1 or not 0 <= overlap <= size // 2:
        raise ValueError(f"windows of {size} tokens cannot share {overlap}")
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
        # the last token whose distance to the end of this window is not below its distance to
        # the start of the next one
        last = (end - 1 + next_start) // 2 + 1
        yield Window(start, end, first, last)
        start, end, first = next_start, next_end, last
    yield Window(start, length, first, length)


def _balanced(rest: int, size: int, overlap: int) -> int:
    """The length of the next window, so that the rest splits into equal ones."""
    if rest <= size:
        return rest
    count = -(-(rest - overlap) // (size - overlap))
    return min(size, -(-(rest + (count - 1) * overlap) // count))


def _edge(at: int, least: int, length: int, words: Words | None, move: int) -> int:
    """``at``, or the nearest place up to ``move`` before it where a new word begins.

    Never below ``least``.
    """
    if words is None or at >= length:
        return at
    for place in range(at, max(least, at - move) - 1, -1):
        if words[place] != words[place - 1]:
            return place
    return at
