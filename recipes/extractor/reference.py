"""A tiny model of drawn weights, and what PyTorch computes with it: the reference of a test.

    PYTHONPATH=. python recipes/extractor/reference.py tests/fixtures/extractor_logits.npy

The test draws the same weights, writes them with export.py and asks llama.cpp.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHAPE: dict[str, Any] = {
    "vocabulary": 320,
    "width": 64,
    "layers": 3,
    "heads": 4,
    "kv_heads": 2,
    "hidden": 96,
    "context": 128,
    "rope_base": 10_000.0,
    "epsilon": 1e-6,
}
TOKENS = 24


def drawn() -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int64]]:
    """Weights by the names of export.write, and the tokens to read."""
    draw = np.random.default_rng(20261121)
    width, head = SHAPE["width"], SHAPE["width"] // SHAPE["heads"]
    keys = SHAPE["kv_heads"] * head

    def normal(*size: int) -> NDArray[np.float32]:
        values: NDArray[np.float32] = draw.standard_normal(size, dtype=np.float32)
        return values * np.float32(1.5 * size[-1] ** -0.5 if len(size) == 2 else 0.3)

    weights = {"embeddings": normal(SHAPE["vocabulary"], width), "norm.weight": 1 + normal(width)}
    for layer in range(SHAPE["layers"]):
        place = f"layers.{layer}."
        for name, out, into in (
            ("attention.q", width, width),
            ("attention.k", keys, width),
            ("attention.v", keys, width),
            ("attention.output", width, width),
            ("gate", SHAPE["hidden"], width),
            ("up", SHAPE["hidden"], width),
            ("down", width, SHAPE["hidden"]),
        ):
            weights[f"{place}{name}.weight"] = normal(out, into)
            if name in ("attention.q", "attention.k", "attention.v"):
                weights[f"{place}{name}.bias"] = normal(out)
        for name in ("attention_norm", "feed_norm"):
            weights[f"{place}{name}.weight"] = 1 + normal(width)
    return weights, draw.integers(0, 256, TOKENS)


def main() -> None:
    import torch
    from model import Decoder, Embeddings, Shape

    weights, tokens = drawn()
    size = SHAPE["vocabulary"]
    start = torch.from_numpy(weights.pop("embeddings"))
    whole = Embeddings(start, torch.arange(size), torch.zeros(size, dtype=torch.bool))
    model = Decoder(Shape(**SHAPE), whole)
    found = model.load_state_dict(
        {name: torch.from_numpy(value) for name, value in weights.items()}, strict=False
    )
    assert not found.unexpected_keys
    assert {name.split(".")[0] for name in found.missing_keys} == {"embeddings"}
    with torch.no_grad():
        stream, _ = model(torch.from_numpy(tokens)[None], start)
        logits = stream[0] @ start.T
    np.save(Path(sys.argv[1]), logits.numpy())


if __name__ == "__main__":
    main()
