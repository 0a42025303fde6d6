"""The states that a model's output matrix is applied to, taken out of llama.cpp's computation.

llama.cpp calls back before every tensor that it computes ("do you need it?") and after those that
were asked for ("go on?"). ``result_norm`` is the state; everything after it is the output matrix.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actors.arrays import Float32Array
from actors.engine import Block
from actors.gguf import ggml

_NONE = np.empty(0, np.float32)


class HiddenStates:
    """Collects the states of one llama_decode at a time; ``callback`` goes into the context."""

    def __init__(self) -> None:
        self.callback = ggml.EvalCallback(self._evaluate)
        self._wanted = self._stop = False
        self._seen: list[Float32Array] = []

    def start(self, stop: bool) -> None:
        """Collect from now on; ``stop``: end each computation at the state."""
        self._seen.clear()
        self._wanted, self._stop = True, stop

    def take(self, width: int) -> Float32Array:
        """End collecting; return the states [rows, width] in the order of their computation."""
        self._wanted = False
        return np.concatenate([*self._seen, _NONE]).reshape(-1, width)

    def _evaluate(self, tensor: int, ask: bool, _: object) -> bool:
        if not self._wanted:
            return False
        if ask:
            return bool(ggml.tensor_name(tensor) == b"result_norm")
        self._seen.append(ggml.tensor_values(tensor))
        return not self._stop


def computed_order(blocks: Sequence[Block], limit: int, streams: bool) -> list[int]:
    """Return in which order llama.cpp computes the requested rows of a batch of blocks: the rows'
    places in the order of the blocks.

    In a unified cache that is the batch's own order. With a cache per sequence ("streams"), each
    computation takes equally many tokens of consecutive sequences, at most ``limit`` in all
    (llama_batch_allocr::split_equal).
    """
    first, rows = [], 0
    for block in blocks:
        first.append(rows)
        rows += block.rows
    if not streams or all(len(block.tokens) == 1 for block in blocks):
        return list(range(rows))
    order: list[int] = []
    taken = [0] * len(blocks)
    while True:
        chosen = _consecutive(blocks, taken, limit)
        if not chosen:
            return order
        shortest = min(len(blocks[i].tokens) - taken[i] for i in chosen)
        count = max(1, min(shortest, limit // len(chosen)))
        for i in chosen:
            block = blocks[i]
            requested = len(block.tokens) - block.rows
            for place in range(max(taken[i], requested), taken[i] + count):
                order.append(first[i] + place - requested)
            taken[i] += count


def _consecutive(blocks: Sequence[Block], taken: Sequence[int], limit: int) -> list[int]:
    """Return the blocks that the next computation takes tokens of."""
    chosen: list[int] = []
    for i, block in enumerate(blocks):
        if taken[i] == len(block.tokens):
            continue
        if not chosen or block.sequence == blocks[chosen[-1]].sequence + 1:
            chosen.append(i)
            if len(chosen) > limit:
                break
    return chosen
