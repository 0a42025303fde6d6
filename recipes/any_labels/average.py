"""Average a trained checkpoint with the model.onnx that it began from.

    python average.py WORK/checkpoint.pt BEFORE.onnx OUT/checkpoint.pt [--share 0.5]

Weights that began as the same lie close enough together for their average to be a model, often a
better one on both what each is good at (Wortsman et al., CVPR 2022).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from read_onnx import weights_in
from train import BASE, start_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("checkpoint", "before", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the checkpoint")
    given = parser.parse_args()
    state = torch.load(given.checkpoint, weights_only=False)["model"]
    short = {name.removeprefix("encoder."): name for name in state}
    like = start_model(BASE, None).state_dict()
    before = weights_in(given.before, {one: like[name] for one, name in short.items()})
    for one, name in short.items():
        state[name] = torch.lerp(before[one].to(state[name].dtype), state[name], given.share)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": state}, given.out)


if __name__ == "__main__":
    main()
