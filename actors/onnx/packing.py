"""Pack windows into batches with as little padding as possible, within a token budget."""

from __future__ import annotations

from collections.abc import Sequence


def pack(
    lengths: Sequence[int], budget: int, rows: int | None = None, padded: bool = True
) -> list[list[int]]:
    """Return batches of indices into ``lengths``, longest first.

    A batch padded to its longest member has at most ``budget`` tokens, unless a single member has
    more, and at most ``rows`` members. Every index is in exactly one batch. ``padded`` False: the
    members of a batch have equal length.
    """
    batches: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        full = not batches or (len(batches[-1]) + 1) * longest > budget
        if full or len(batches[-1]) == rows or not (padded or lengths[index] == longest):
            batches.append([])
            longest = lengths[index]
        batches[-1].append(index)
    return batches
