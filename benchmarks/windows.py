"""Sizes of the token classifier's windows: what they cost and how well they read.

    python -m benchmarks.windows --data FOLDER [--part dev]

`starter:token-classifier` reads ctro_21 of FOLDER (`ctro_21/<part>.jsonl[.gz]`) in windows of 128
to 256 tokens, neighbours sharing a quarter of their tokens or 64. Attention costs the square of a
window's length, overlaps cost what they repeat. F1 is strict (start, end and label must agree);
characters a second are of processor time, which other work on the machine changes little. The last
line of stdout is one JSON document, kept as benchmarks/results/windows-<instructions>.json; its
ratios are to the size that the model file states.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from actors import Document, Extractor
from actors.config import OnnxModel, load_model
from benchmarks.any_labels import Text, counted, in_words, read
from benchmarks.machine import machine, result_file

STARTER = "starter:token-classifier"
SET = "ctro_21"
SIZES = (128, 160, 192, 224, 256)
MOST_SHARED = 64


def measured(config: OnnxModel, texts: list[Text], passes: int) -> dict[str, float]:
    """Strict F1, and characters per second of processor time in the best pass."""
    documents = [Document(str(n), one.text) for n, one in enumerate(texts)]
    best = float("inf")
    with Extractor(config) as extractor:
        for _ in range(passes):
            began = time.process_time()
            done = extractor.extract(documents)
            best = min(best, time.process_time() - began)
    found = [
        {
            (e.start, e.end, in_words(e.label))
            for e in one.entities
            if e.start is not None and e.end is not None
        }
        for one in done
    ]
    return {
        "f1": counted(texts, found, {}, best).summary()["f1"],
        "characters_per_cpu_s": round(sum(len(one.text) for one in texts) / best),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", default="dev")
    parser.add_argument("--passes", type=int, default=3)
    given = parser.parse_args()
    texts = read(given.data, SET, given.part)
    if texts is None:
        raise SystemExit(f"{given.data}: no {SET}/{given.part}.jsonl or .jsonl.gz")
    config = load_model(STARTER)
    assert isinstance(config, OnnxModel)
    stated = f"{config.window.size}/{config.window.overlap}"
    scores: dict[str, Any] = {}
    for size in SIZES:
        for overlap in sorted({size // 4, MOST_SHARED}):
            window = config.window.model_copy(update={"size": size, "overlap": overlap})
            one = config.model_copy(update={"window": window})
            scores[f"{size}/{overlap}"] = measured(one, texts, given.passes)
            print(f"{size}/{overlap}", scores[f"{size}/{overlap}"], file=sys.stderr, flush=True)
    base = scores[stated]
    ratios = {
        f"{name} {key} / {stated}": round(one[key] / base[key], 3)
        for name, one in scores.items()
        for key in base
    }
    result = {
        "benchmark": "windows",
        "part": given.part,
        "set": SET,
        "documents": len(texts),
        "machine": machine(),
        "scores": scores,
        "ratios": ratios,
    }
    result_file("windows").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
