"""The range of an activation that changes a quantised product least."""

from __future__ import annotations

from export import Range, scale_of
from torch import Tensor

SHRINKS = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]


def best_range(rows: Tensor, weight: Tensor) -> Range:
    """Try ever tighter clipping of both ends and keep what changes rows @ weight.T least."""
    low, high = rows.min().item(), rows.max().item()
    best, chosen = float("inf"), (low, high)
    after_gelu = low > -0.2  # its lower end is sharp: only the upper one is worth clipping
    for shrink in SHRINKS:
        bounds = (low if after_gelu else low * shrink, high * shrink)
        scale, zero = scale_of(bounds)
        q = (rows / float(scale) + float(zero)).round().clamp(0, 255)
        error = ((q - float(zero)) * float(scale) - rows) @ weight.T
        loss = error.square().mean().item()
        if loss < best:
            best, chosen = loss, bounds
    return chosen
