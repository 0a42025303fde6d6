"""Choose static activation ranges for the 8-bit file: those that hurt each product least."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from export import Range, scale_of
from model import TokenClassifier
from spans import Text
from torch import Tensor
from train import logits_of

ROWS = 2048
SHRINKS = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]


def quantised_inputs(model: TokenClassifier, head: str) -> dict[str, torch.nn.Linear]:
    """The linear layers whose inputs are quantised, by the names that export.py gives them."""
    found = {"head": model.heads[head]}
    for i, layer in enumerate(model.layers):
        found |= {f"layers.{i}.{name}": getattr(layer, name) for name in ("qkv", "out", "up", "down")}
    return found


@torch.inference_mode()
def calibrate(model: TokenClassifier, texts: Sequence[Text], head: str) -> dict[str, Range]:
    """Per quantised input, the clipped range with the smallest squared error of its product."""
    linears = quantised_inputs(model, head)
    seen: dict[str, list[Tensor]] = {name: [] for name in linears}

    def keep(name: str) -> object:
        def hook(_: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
            rows = inputs[0].reshape(-1, inputs[0].shape[-1])
            seen[name].append(rows[torch.randperm(len(rows))[: len(rows) // 8]].clone())

        return hook

    torch.manual_seed(0)
    hooks = [linear.register_forward_pre_hook(keep(name)) for name, linear in linears.items()]
    logits_of(model, texts, head)
    for hook in hooks:
        hook.remove()
    return {
        name: best_range(torch.cat(rows)[:ROWS], linears[name].weight)
        for name, rows in seen.items()
    }


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
