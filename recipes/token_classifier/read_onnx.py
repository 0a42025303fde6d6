"""The float32 weights in an 8-bit file that these recipes wrote, to train on from there."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor


def weights_in(file: Path, like: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights in an 8-bit file of `export.py` or of the any-labels recipe's `write_onnx.py`.

    like: the weights asked for, by name, each with the shape it must have. Raises ValueError where
    the file lacks one of that shape.
    """
    raw = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in onnx.load(file).graph.initializer
    }

    def matrix(name: str) -> Tensor:
        return (raw[f"{name}.int8"].float() * raw[f"{name}.scale"]).T

    words = raw["words.int8"].float() * raw["words.scale"]
    found = {"words.weight": words[: like["words.weight"].shape[0]]}
    found["places.weight"] = raw["places"]
    if "types" in raw:
        found["places.weight"] = raw["places"] + raw["types"][0]
    if "words.marks" in like:
        found["words.marks"] = words[-2:]
        found["out.0.weight"] = torch.cat([matrix("out.start"), matrix("out.end")], dim=1)
        found["out.0.bias"] = raw["out.start.bias"]
        found["out.3.weight"], found["out.3.bias"] = (
            matrix("out.last").T,
            raw["out.last.bias"][:, 0],
        )
    for name in like:
        if name in raw:
            found[name] = raw[name]
        elif name.endswith("qkv.weight"):
            at = name.removesuffix("qkv.weight")
            found[name] = torch.cat([matrix(f"{at}{part}") for part in "qkv"])
        elif name.endswith(".weight") and f"{name.removesuffix('.weight')}.int8" in raw:
            found.setdefault(name, matrix(name.removesuffix(".weight")))
    wrong = [name for name, own in like.items() if found.get(name, own[:0]).shape != own.shape]
    if wrong:
        raise ValueError(f"{file}: has no {sorted(wrong)} of the shape asked for")
    return {name: found[name] for name in like}
