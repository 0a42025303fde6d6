"""The ONNX actor against onnxruntime alone and against Hugging Face's pipeline.

    python benchmarks/onnx.py [--peer-python /path/to/python] [--documents 64] [--threads 2]

The same texts (abstracts of the project's samples, varied) in the same windows and on the same
threads go through an Extractor, through bare session.run over windows tokenized and sorted
beforehand, in batches of at most 1,024 and of at most 2,048 tokens (the faster counts), and
through transformers' token-classification pipeline on PyTorch with batches of 16. The peer needs
torch and transformers, which medspan does not install: name an interpreter that has them. Without
one the ratios to it, and the fp32 model, which it makes, are null. The last line of stdout is one
JSON document, kept as benchmarks/results/onnx-<instructions>.json:

    vs_ceiling       least of the two models: seconds of bare session.run over the actor's
    vs_hf_fp32       seconds of the pipeline over the actor's, the same fp32 model
    vs_hf_shipped    seconds of the pipeline over the actor's with the starter's own file
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import tokenizers

from actors import Document, Extractor
from actors.config import OnnxModel, load_model
from actors.config.load import STARTERS
from actors.extractor import Share
from actors.windows import windows
from benchmarks.machine import machine, result_file

ROOT = Path(__file__).resolve().parent.parent
STARTER = "starter:token-classifier"
SAMPLES = ROOT / "configs/samples/quickstart/abstracts.parquet"
PageFeed = dict[str, Any]


def abstracts(count: int, seed: int = 0) -> list[str]:
    """``count`` abstracts of the samples, whole, their numbers changed so that none is twice."""
    (column,) = {"text", "note"} & set(pq.read_schema(SAMPLES).names)
    sources = pq.read_table(SAMPLES, columns=[column])[column].to_pylist()
    draw = random.Random(seed)
    return [
        re.sub(r"\d", lambda _: str(draw.randrange(10)), sources[number % len(sources)])
        for number in range(count)
    ]


class Ceiling:
    """Bare onnxruntime: everything but session.run is done beforehand."""

    def __init__(self, model: OnnxModel, texts: Sequence[str], threads: int) -> None:
        folder = _folder(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        size, overlap = model.window.size or 512, model.window.overlap or 0
        before, after = tokenizer.encode("", add_special_tokens=True).ids
        cut: list[list[int]] = []
        for text in texts:
            encoding = tokenizer.encode(text, add_special_tokens=False)
            words = [-1 if word is None else word for word in encoding.word_ids]
            for window in windows(len(encoding.ids), size - 2, overlap, words):
                cut.append([before, *encoding.ids[window.start : window.end], after])
        cut.sort(key=len, reverse=True)
        self.tokens = sum(map(len, cut))
        self._batches = {budget: list(self._feeds(cut, budget)) for budget in (1024, 2048)}

    def _feeds(self, cut: list[list[int]], budget: int) -> list[PageFeed]:
        feeds, at = [], 0
        while at < len(cut):
            rows = cut[at : at + max(1, budget // len(cut[at]))]
            at += len(rows)
            ids = np.zeros((len(rows), len(rows[0])), np.int64)
            mask = np.zeros_like(ids)
            for row, window in enumerate(rows):
                ids[row, : len(window)] = window
                mask[row, : len(window)] = 1
            named = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
            feeds.append({i.name: named[i.name] for i in self._session.get_inputs()})
        return feeds

    def seconds(self, budget: int) -> float:
        """One pass over all windows."""
        start = time.perf_counter()
        for feed in self._batches[budget]:
            self._session.run(None, feed)
        return time.perf_counter() - start


def against_ceiling(
    model: OnnxModel, texts: list[str], threads: int, repeats: int
) -> dict[str, Any]:
    """Medians of the actor and of the ceiling, taken in turns."""
    documents = [Document(str(index), text) for index, text in enumerate(texts)]
    ceiling = Ceiling(model, texts, threads)
    actor: list[float] = []
    bare: dict[int, list[float]] = {1024: [], 2048: []}
    with Extractor(model, Share(threads=threads, gpu=0)) as extractor:
        extractor.extract(documents[:16])
        ceiling.seconds(2048)
        for _ in range(repeats):
            start = time.perf_counter()
            found = extractor.extract(documents)
            actor.append(time.perf_counter() - start)
            for budget, seconds in bare.items():
                seconds.append(ceiling.seconds(budget))
    best = min(statistics.median(seconds) for seconds in bare.values())
    return {
        "actor_s": statistics.median(actor),
        "ceiling_s": best,
        "ceiling_by_budget_s": {str(k): statistics.median(v) for k, v in bare.items()},
        "window_tokens": ceiling.tokens,
        "ceiling_tokens_per_s": round(ceiling.tokens / best),
        "actor_tokens_per_s": round(ceiling.tokens / statistics.median(actor)),
        "document_tokens": sum(extraction.usage.prompt_tokens for extraction in found),
        "entities": sum(len(extraction.entities) for extraction in found),
        "vs_ceiling": best / statistics.median(actor),
    }


def _folder(model: OnnxModel) -> Path:
    place = model.weights.model
    return (
        STARTERS / place.removeprefix("starter:") if place.startswith("starter:") else Path(place)
    )


def peer(python: str, *arguments: str) -> dict[str, Any]:
    """The last line of the peer's stdout."""
    # -P: this folder's onnx.py must not be found by whoever imports the onnx package
    command = [python, "-P", "-W", "ignore", str(ROOT / "benchmarks/hf_peer.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{done.stderr}\n{python} could not {arguments[0]}; see above")
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything, in the order in which it is reported."""
    texts = abstracts(options.documents)
    shipped = load_model(STARTER)
    assert isinstance(shipped, OnnxModel)
    threads, repeats = options.threads, options.repeats
    result: dict[str, Any] = {
        "benchmark": "onnx",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine() | {"threads": threads},
        "versions": {
            "python": platform.python_version(),
            "onnxruntime": onnxruntime.__version__,
            "tokenizers": version("tokenizers"),
        },
        "documents": len(texts),
        "repeats": repeats,
        "window": shipped.window.model_dump(),
        "shipped": against_ceiling(shipped, texts, threads, repeats),
    }
    ratios: dict[str, float | None] = {
        "vs_ceiling": result["shipped"]["vs_ceiling"],
        "vs_hf_fp32": None,
        "vs_hf_shipped": None,
    }
    result["ratios"] = ratios
    if options.peer_python is None:
        result["reason"] = "vs_hf_* need an interpreter with torch and transformers: --peer-python"
        return result
    peer(options.peer_python, "export", str(folder), str(_folder(shipped)))
    full = shipped.model_copy(
        update={
            "name": "fp32",
            "weights": shipped.weights.model_copy(update={"model": str(folder)}),
        }
    )
    result["fp32"] = against_ceiling(full, texts, threads, repeats)
    job = folder / "job.json"
    content = {"texts": texts, "threads": threads, "repeats": options.peer_repeats}
    job.write_text(json.dumps({**content, **shipped.window.model_dump()}))
    theirs = peer(options.peer_python, "time", str(folder), str(job))
    result["versions"] |= theirs["versions"]
    seconds = statistics.median(theirs["seconds"])
    result["hf"] = {
        "seconds": seconds,
        "repeats": options.peer_repeats,
        "entities": theirs["entities"],
        "window_tokens_per_s": round(result["fp32"]["window_tokens"] / seconds),
    }
    ratios["vs_ceiling"] = min(result[name]["vs_ceiling"] for name in ("shipped", "fp32"))
    ratios["vs_hf_fp32"] = seconds / result["fp32"]["actor_s"]
    ratios["vs_hf_shipped"] = seconds / result["shipped"]["actor_s"]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer-python", help="an interpreter with torch and transformers")
    parser.add_argument("--peer-repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="medspan-onnx-") as folder:
        result = measure(options, Path(folder))
    for name in ("shipped", "fp32"):
        if name in result:
            found = result[name]
            print(
                f"{name}: actor {found['actor_s']:.2f} s ({found['actor_tokens_per_s']} tokens/s), "
                f"ceiling {found['ceiling_s']:.2f} s, {found['vs_ceiling']:.3f}",
                file=sys.stderr,
            )
    result_file("onnx").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
