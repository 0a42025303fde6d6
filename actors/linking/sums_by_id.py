"""Sums by number, for numbers that are few among many."""

from __future__ import annotations

from threading import Lock

import numpy as np

from actors.arrays import Int32Array


class SumsById:
    """Adds up worths by id in [0, size): in time that grows with the ids given, not with the size.

    The arrays are made once and zero between calls; threads take turns.
    """

    def __init__(self, size: int) -> None:
        self._sums = np.zeros(size, dtype=np.int32)
        self._last = np.zeros(size, dtype=np.int32)
        self._used = Lock()

    def add(self, ids: Int32Array, worths: Int32Array | int) -> tuple[Int32Array, Int32Array]:
        """The distinct ids, in no order that matters, and the sum of each one's worths."""
        places = np.arange(len(ids), dtype=np.int32)
        with self._used:
            np.add.at(self._sums, ids, worths)
            self._last[ids] = places
            distinct = ids[self._last[ids] == places]
            sums = self._sums[distinct]
            self._sums[distinct] = 0
        return distinct, sums
