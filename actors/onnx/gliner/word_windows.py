"""Windows over words: overlapping, whole words only, each span decided in exactly one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from actors.arrays import Int32Array


@dataclass(frozen=True, slots=True)
class WordWindow:
    """Words [start, end) of a document that go through the model together."""

    start: int
    end: int


def word_windows(
    pieces: Int32Array, room: int, most_words: int, overlap: int, least_shared: int
) -> list[WordWindow]:
    """Windows of at most ``room`` pieces and ``most_words`` words over words of so many pieces.

    Neighbours share at least ``overlap`` pieces and ``least_shared`` words, as far as half a window
    has room for them. A word of more than ``room`` pieces has a window of its own. The windows
    follow from the arguments alone. No words, no windows.
    """
    if room < 1 or most_words < 1:
        raise ValueError(f"windows of {room} pieces and {most_words} words are too small")
    count = len(pieces)
    before = np.concatenate([[0], np.cumsum(pieces, dtype=np.int64)])
    found: list[WordWindow] = []
    start = 0
    while start < count:
        end = int(np.searchsorted(before, before[start] + room, side="right")) - 1
        end = max(start + 1, min(end, start + most_words, count))
        found.append(WordWindow(start, end))
        if end == count:
            break
        shared = int(np.searchsorted(before, before[end] - overlap, side="right")) - 1
        following = max(min(shared, end - least_shared), start + (end - start + 1) // 2)
        # The next window has room for the word that this one ends before.
        reaching = int(np.searchsorted(before, before[end + 1] - room, side="left"))
        start = min(max(following, reaching, end + 1 - most_words), end)
    return found


def owner(windows: Sequence[WordWindow], at: int, first: int, last: int, words: int) -> int:
    """The window that decides the span of words [first, last], both inclusive, near window ``at``.

    Of those that hold it whole, it is the one in which it is farthest from an edge, where the edges
    of the document do not count; the earlier one of two alike. ``at`` holds it.
    """
    lowest = at
    while lowest > 0 and windows[lowest - 1].end > last:
        lowest -= 1
    best, chosen = -1, at
    for index in range(lowest, len(windows)):
        window = windows[index]
        if window.start > first:
            break
        if window.end <= last:
            continue
        left = words if window.start == 0 else first - window.start
        right = words if window.end == words else window.end - 1 - last
        if min(left, right) > best:
            best, chosen = min(left, right), index
    return chosen
