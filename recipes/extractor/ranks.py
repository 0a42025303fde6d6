"""Several processes that train one model, each with its part of every step's samples.

    torchrun --nproc-per-node 2 train.py --threads 1 ...

Two processes of one thread are faster than one process of two: the matrices are small. Without
torchrun there is one, and nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import distributed, nn


class Ranks:
    """The processes of this training: ``rank`` of ``count``."""

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        if self.count > 1:
            distributed.init_process_group("gloo")

    def add(self, *values: float) -> list[float]:
        """Each value summed over all processes."""
        if self.count == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(summed)
        return [float(value) for value in summed]

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Every gradient becomes the sum of all processes', as one message."""
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        summed = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(summed)
        parts = summed.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
