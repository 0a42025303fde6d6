"""The gain of each technique of the engine: the GGUF benchmark with one switch changed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actors.engine import Techniques
from benchmarks.gguf_ours import Ours
from benchmarks.gguf_work import OcrJob

TECHNIQUES: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "prefix not shared": {"techniques": Techniques(share=False)},
    "forced tokens one by one": {"techniques": Techniques(forced=False)},
    "all logits of every row": {"techniques": Techniques(narrow=False)},
    "prompts in chunks of 128": {"techniques": Techniques(chunk=128)},
    "one KV room": {"context": {"kv_tokens": 16384}},
    "one KV room, flash attention": {"context": {"kv_tokens": 16384, "flash_attn": "on"}},
    "flash attention": {"context": {"flash_attn": "on"}},
    "verbatim characters, not words": {"verbatim": "chars"},
    "grammar without verbatim": {"verbatim": "off"},
    "no grammar": {"constrained": False},
}


def technique_table(
    model: Path,
    jobs: Callable[[int], list[OcrJob]],
    count: int,
    repeats: int,
    threads: int,
    cpu: bool,
) -> dict[str, dict[str, float]]:
    """Documents a second at 16 sequences with one switch changed, beside the shipped settings."""
    taken: dict[str, list[float]] = {name: [] for name in TECHNIQUES}
    shares = {}
    for _ in range(repeats):
        for name, changes in TECHNIQUES.items():
            ours = Ours(model, 16, threads, **changes)
            try:
                work, before = jobs(count), time.process_time()
                wall = ours.run(work)
                taken[name].append(time.process_time() - before if cpu else wall)
                shares[name] = ours.host_share()
            finally:
                ours.close()
            print(f"  {name}: {count / taken[name][-1]:.2f} documents/s", flush=True)
    base = taken["as shipped"]
    return {
        name: {
            "documents_per_second": round(count / statistics.median(seconds), 3),
            "against_shipped": round(
                statistics.median(b / s for b, s in zip(base, seconds, strict=True)), 3
            ),
            "host_share": round(shares[name], 4),
        }
        for name, seconds in taken.items()
    }
