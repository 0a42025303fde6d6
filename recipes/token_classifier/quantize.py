"""Write a trained classifier's folder, in 8 bits with the activation ranges that hurt least."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from export import Range, write_folder
from model import TokenClassifier
from ranges import best_range
from spans import Text, label_names
from torch import Tensor
from train import BASE, CORPORA, TARGET, logits_of, read_corpus, read_model

DOCUMENTS = 40
ROWS = 2048


def quantised_inputs(model: TokenClassifier, head: str) -> dict[str, torch.nn.Linear]:
    """Return the linear layers with quantised inputs, by their names in export.py."""
    found = {"head": model.heads[head]}
    for i, layer in enumerate(model.layers):
        for name in ("qkv", "out", "up", "down"):
            found[f"layers.{i}.{name}"] = getattr(layer, name)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a safetensors file of train.py")
    parser.add_argument("folder", type=Path, help="where model.onnx and its companions go")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the corpora")
    parser.add_argument("--float32", action="store_true", help="quantise nothing")
    arguments = parser.parse_args()
    model = read_model(arguments.model).eval()
    texts = read_corpus(arguments.data, TARGET)[:DOCUMENTS]
    ranges = None if arguments.float32 else calibrate(model, texts, TARGET)
    write_folder(arguments.folder, BASE, model, TARGET, label_names(CORPORA[TARGET]), ranges)


if __name__ == "__main__":
    main()
