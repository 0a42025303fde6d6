"""Pictures through the engine against llama-cpp-python's MTMDChatHandler, one at a time.

    python benchmarks/vision.py [--pictures 8] [--repeats 3] [--cache /tmp/medspan-bench]

Both in one run on the same threads and the same random-weight models (``vision_work``: qwen2vl in
Q8_0 with a qwen2.5vl encoder; tiny and mid-size), the same pages of 448 x 336 pixels (192 tokens)
and the same number of tokens printed, greedily. The passes alternate. The last line of stdout is
one JSON document, kept as benchmarks/results/vision.json; a ratio is the median over the passes of
the handler's seconds a picture over medspan's with so many pictures in flight, on the mid-size
model (``tiny`` has the same for the tiny one):

    vs_handler_1, vs_handler_4, vs_handler_8
"""

from __future__ import annotations

import argparse
import base64
import json
import statistics
import sys
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import llama_cpp
from llama_cpp.llama_chat_format import MTMDChatHandler

from actors import Document
from actors.config import GgufModel
from actors.gguf import GenerativeBackend
from actors.vision import PageInputs
from benchmarks.gguf_peers import sources
from benchmarks.machine import machine
from benchmarks.plain_llama import extra_bufts
from benchmarks.vision_work import SIZES, make_encoder, make_model, make_page

ROOT = Path(__file__).resolve().parent.parent
ASK = "List the medication on this page with dose and reason."
FLIGHTS = (1, 4, 8)
# What is compared: seconds, or CPU seconds of this process on a busy machine.
CLOCK = [time.perf_counter]


class Handler:
    """llama-cpp-python's own way."""

    def __init__(self, model: Path, mmproj: Path, threads: int, tokens: int) -> None:
        self._handler = MTMDChatHandler(str(mmproj), verbose=False, use_gpu=False)
        self._tokens = tokens
        with extra_bufts(False):  # as in Medspan below
            self._llama = llama_cpp.Llama(
                str(model),
                chat_handler=self._handler,
                n_ctx=1024,
                n_threads=threads,
                n_threads_batch=threads,
                flash_attn=False,
                verbose=False,
            )

        # It goes on past max_tokens while its bytes are no whole character; noise has many such.
        generate = self._llama.generate
        self._llama.generate = lambda *a, **k: islice(generate(*a, **k), tokens)

    def run(self, pages: list[bytes]) -> tuple[float, int]:
        """Seconds a picture, and tokens printed."""
        began, printed = CLOCK[0](), 0
        for page in pages:
            url = "data:image/png;base64," + base64.b64encode(page).decode()
            content = [
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "text", "text": ASK},
            ]
            answer = self._llama.create_chat_completion(
                [{"role": "user", "content": content}],
                max_tokens=self._tokens + 64,
                temperature=0,
                top_k=1,
                repeat_penalty=1.0,
            )
            printed += answer["usage"]["completion_tokens"]
        return (CLOCK[0]() - began) / len(pages), printed

    def close(self) -> None:
        """Release the model."""
        self._llama.close()


class Medspan:
    """The backend with so many pictures in flight."""

    def __init__(self, model: Path, mmproj: Path, flight: int, threads: int, tokens: int) -> None:
        content: dict[str, Any] = {
            "name": "bench",
            "kind": "gguf",
            "weights": {"model": str(model), "mmproj": str(mmproj)},
            "context": {
                "n_ctx": 1024,
                "sequences": flight,
                "prefixes": 1,
                "use_extra_bufts": False,
            },
            "prompt": {"format": "prose", "instruction": ASK},
            "sampling": {"n_predict": tokens},
        }
        config = GgufModel.model_validate(content)
        self._inputs = PageInputs(config)
        self._backend = GenerativeBackend(config, threads, 0, inputs=self._inputs)

    def run(self, pages: list[bytes]) -> tuple[float, int, float]:
        """Seconds a picture, tokens printed, and the share of the time that encoding took."""
        before, began, wall = self._inputs.projector.seconds, CLOCK[0](), time.perf_counter()
        futures = [self._backend.submit(Document(str(i), image=p)) for i, p in enumerate(pages)]
        answers = [future.result() for future in futures]
        seconds = CLOCK[0]() - began
        assert not any(answer.failure for answer in answers)
        share = (self._inputs.projector.seconds - before) / (time.perf_counter() - wall)
        return seconds / len(pages), sum(a.usage.completion_tokens for a in answers), share

    def close(self) -> None:
        """Release the model."""
        self._backend.close()


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """The table of one size of model."""
    size = SIZES[name]
    vocabulary = sources(options.cache) / "models" / "ggml-vocab-qwen2.gguf"
    model = make_model(options.cache / f"vision-{name}.gguf", size, vocabulary)
    mmproj = make_encoder(options.cache / f"vision-{name}-mmproj.gguf", size)
    handler = Handler(model, mmproj, options.threads, options.tokens)
    ours = {n: Medspan(model, mmproj, n, options.threads, options.tokens) for n in FLIGHTS}
    peer: list[float] = []
    seconds: dict[int, list[float]] = {n: [] for n in FLIGHTS}
    shares: dict[int, list[float]] = {n: [] for n in FLIGHTS}
    printed: set[int] = set()
    for turn in range(options.repeats + 1):
        pages = [make_page(1000 * turn + i) for i in range(options.pictures)]
        spent, count = handler.run(pages)
        printed.add(count)
        if turn:  # the first pass warms up
            peer.append(spent)
        for flight, backend in ours.items():
            spent, count, share = backend.run(pages)
            printed.add(count)
            if turn:
                seconds[flight].append(spent)
                shares[flight].append(share)
    handler.close()
    for backend in ours.values():
        backend.close()
    if len(printed) > 1:
        print(f"{name}: tokens printed differ: {sorted(printed)}", file=sys.stderr)
    ratios = {
        f"vs_handler_{n}": round(
            statistics.median(a / b for a, b in zip(peer, seconds[n], strict=True)), 3
        )
        for n in FLIGHTS
    }
    return {
        "pictures_per_second": {
            "handler": round(1 / statistics.median(peer), 3),
            **{f"medspan_{n}": round(1 / statistics.median(seconds[n]), 3) for n in FLIGHTS},
        },
        "share_of_encoding": {
            f"medspan_{n}": round(statistics.median(shares[n]), 3) for n in FLIGHTS
        },
        "ratios": ratios,
        "tokens_printed": sorted(printed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=128, help="tokens of an answer")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/medspan-bench"))
    parser.add_argument(
        "--cpu",
        action="store_true",
        help="compare CPU seconds instead of seconds: for a busy machine, with --threads 1",
    )
    options = parser.parse_args()
    if options.cpu:
        CLOCK[0] = time.process_time
    options.cache.mkdir(parents=True, exist_ok=True)
    before = machine()
    tables = {name: measure(name, options) for name in SIZES}
    result = {
        "benchmark": "vision",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": before,
        "versions": {"llama-cpp-python": llama_cpp.__version__},
        "pictures": options.pictures,
        "repeats": options.repeats,
        "threads": options.threads,
        "tokens": options.tokens,
        "clock": "CPU seconds" if options.cpu else "seconds",
        "ratios": tables["mid"].pop("ratios"),
        **tables,
    }
    kept = ROOT / "benchmarks/results/vision.json"
    kept.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
