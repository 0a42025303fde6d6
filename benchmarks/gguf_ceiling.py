"""The ceiling of batching on this processor, which no scheduler can beat.

Batching makes a matrix product dearer by less than its rows, up to where the processor computes as
fast as it can. How far that is differs between processors by more than any engine does, so ratios
against one document at a time are read beside it.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from actors.config import GgufModel
from actors.engine import Block
from actors.gguf import LlamaModel, LlamaRunner

SEQUENCES, BEHIND, AHEAD = 16, 288, 32


def ceiling(config: GgufModel, tokens: float, rows: float, threads: int) -> float:
    """Seconds for ``tokens`` tokens of which ``rows`` want logits, all in blocks of 512 tokens.

    ``tokens`` and ``rows`` are what the engine computed for a document: with the prefix shared and
    forced tokens without logits. Sixteen sequences advance by 32 tokens each, after 288.
    """
    model = LlamaModel(Path(config.weights.model), config.context, gpu=False)
    size = SEQUENCES * AHEAD
    runner = LlamaRunner(model, config.context, threads, size)
    wanted = max(1, round(AHEAD * rows / tokens))
    for sequence in range(SEQUENCES):
        runner.decode([Block(sequence, 0, [100 + i for i in range(BEHIND)], 0)])
    taken = []
    for _ in range(6):
        blocks = [
            Block(sequence, BEHIND, [500 + i for i in range(AHEAD)], wanted)
            for sequence in range(SEQUENCES)
        ]
        began = time.perf_counter()
        runner.decode(blocks)
        taken.append(time.perf_counter() - began)
        for sequence in range(SEQUENCES):
            runner.trim(sequence, BEHIND)
    runner.close()
    return statistics.median(taken[1:]) / size * tokens
