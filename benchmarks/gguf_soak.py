"""Does memory stay flat, and does a document take no longer after thousands? A tiny model shows it.

    python benchmarks/gguf.py --soak 2000

Documents of unequal length under four guidelines in turn, one in ten cancelled halfway: slots,
prefixes, grammars and windows come and go as in a long run. Kept as
benchmarks/results/gguf_soak.json. ``ratios``: time a document and memory of the last fifth over
the second (the first one warms up). For time, 1 or less is flat.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from actors import Document
from actors.config import GgufModel
from actors.gguf import GenerativeBackend
from actors.guideline import Guideline
from benchmarks.gguf_work import make_note
from benchmarks.machine import machine

ROOT = Path(__file__).resolve().parent.parent
PARTS = 5
IN_FLIGHT = 64
GUIDELINES = [
    Guideline.model_validate({"name": "soak", "labels": {label: {}, "PROBLEM": {}}})
    for label in ("DRUG", "TEST", "AGE", "DATE")
]


def megabytes() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def read(backend: GenerativeBackend, numbers: range) -> None:
    """Some documents, ``IN_FLIGHT`` at a time; one in ten is cancelled."""
    draw = random.Random(numbers.start)
    for start in range(numbers.start, numbers.stop, IN_FLIGHT):
        futures = []
        for number in range(start, min(start + IN_FLIGHT, numbers.stop)):
            text = make_note(number)[0][: draw.randint(50, 900)]
            guideline = GUIDELINES[number // 16 % len(GUIDELINES)]
            futures.append(backend.submit(Document(str(number), text), guideline))
        for future in futures[::10]:
            future.cancel()
        for future in futures:
            if not future.cancelled():
                future.result()


def soak(count: int) -> None:
    """Run, print and keep the result."""
    sys.path.append(str(ROOT / "tests"))
    from support.gguf_models import make  # type: ignore[import-not-found, unused-ignore]

    with tempfile.TemporaryDirectory() as folder:
        config = GgufModel.model_validate(
            {
                "name": "soak",
                "kind": "gguf",
                "weights": {"model": str(make(Path(folder) / "tiny.gguf"))},
                "context": {"n_ctx": 768, "sequences": 16, "n_gpu_layers": 0},
                "prompt": {"format": "template", "guideline": GUIDELINES[0]},
                "sampling": {"n_predict": 60},
            }
        )
        backend = GenerativeBackend(config, threads=1)
        sizes, times, part = [megabytes()], [], count // PARTS
        for number in range(PARTS):
            began = time.perf_counter()
            read(backend, range(number * part, (number + 1) * part))
            times.append((time.perf_counter() - began) / part)
            gc.collect()
            sizes.append(megabytes())
            print(f"  {(number + 1) * part} documents: {sizes[-1]:.1f} MB", flush=True)
        backend.close()
    result = {
        "benchmark": "gguf_soak",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "documents": count,
        "megabytes": [round(size, 1) for size in sizes],
        "milliseconds_a_document": [round(1000 * seconds, 2) for seconds in times],
        "ratios": {
            "time_last_over_second_fifth": round(times[-1] / times[1], 3),
            "memory_last_over_second_fifth": round(sizes[-1] / sizes[2], 3),
        },
    }
    kept = ROOT / "benchmarks/results/gguf_soak.json"
    kept.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
