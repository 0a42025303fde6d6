"""Places of the old text in the new one, and back."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from actors.config.deidentify import Category, ReplacementPolicy


@dataclass(frozen=True, slots=True)
class Edit:
    """``old[start:end]`` became ``new[new_start:new_end]``."""

    start: int
    end: int
    new_start: int
    new_end: int
    category: Category
    policy: ReplacementPolicy


class OffsetMap:
    """The edits of a text, in order and disjoint; between them it is unchanged.

    A place inside an edit has no counterpart but the whole edit: a span that begins or ends inside
    one grows to take it in.
    """

    def __init__(self, edits: Sequence[Edit]) -> None:
        self.edits = tuple(edits)
        self._old = ([edit.start for edit in edits], [edit.end for edit in edits])
        self._new = ([edit.new_start for edit in edits], [edit.new_end for edit in edits])

    def to_new(self, start: int, end: int) -> tuple[int, int]:
        """The place in the new text of ``[start, end)`` of the old one."""
        return _moved(start, end, self._old, self._new)

    def to_old(self, start: int, end: int) -> tuple[int, int]:
        """The place in the old text of ``[start, end)`` of the new one."""
        return _moved(start, end, self._new, self._old)

    def edits_in_new(self, start: int, end: int) -> tuple[Edit, ...]:
        """The edits that share a character with ``[start, end)`` of the new text."""
        first = bisect_right(self._new[1], start)
        return self.edits[first : bisect_left(self._new[0], end)]


_Places = tuple[list[int], list[int]]


def _moved(start: int, end: int, source: _Places, target: _Places) -> tuple[int, int]:
    if start == end:
        at = _start(start, source, target)
        return at, at
    return _start(start, source, target), _end(end, source, target)


def _start(at: int, source: _Places, target: _Places) -> int:
    edit = bisect_right(source[0], at) - 1  # the last edit that begins at or before the place
    if edit < 0:
        return at
    if at < source[1][edit]:
        return target[0][edit]
    return at - source[1][edit] + target[1][edit]


def _end(at: int, source: _Places, target: _Places) -> int:
    edit = bisect_left(source[0], at) - 1  # the last edit that begins before the place
    if edit < 0:
        return at
    if at <= source[1][edit]:
        return target[1][edit]
    return at - source[1][edit] + target[1][edit]
