"""Threads of actors on the cores of one machine: one actor of all cores, one actor a core, and more
threads than cores.

    python -m benchmarks.gpu_fractions [--documents 96] [--repeats 5]

Each actor is a process with the shipped token classifier, as in a pool; all read their part of the
same documents at once. The arrangements take turns, so that a busy machine is busy for all of them.
Medians of the repeats; ratios to the fastest of the two that do not oversubscribe.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "configs" / "samples" / "quickstart"


def _documents(count: int) -> list[str]:
    texts = [
        text
        for file in sorted(SAMPLES.glob("*.parquet"))
        for text in pq.read_table(file, columns=["note"])["note"].to_pylist()
    ]
    return [texts[i % len(texts)] for i in range(count)]


def _actor(threads: int, texts: list[str], pipe: Connection) -> None:
    from actors import Document
    from actors.config import OnnxModel, load_model
    from actors.onnx import OnnxBackend

    config = load_model("starter:token-classifier")
    assert isinstance(config, OnnxModel)
    backend = OnnxBackend(config, threads, 0.0)
    documents = [Document(id=str(i), text=text) for i, text in enumerate(texts)]

    def read() -> None:
        for future in [backend.submit(document) for document in documents]:
            future.result()

    read()
    pipe.send("ready")
    while pipe.recv() == "go":
        read()
        pipe.send("done")
    backend.close()


class Pool:
    """Actors of so many threads each, which share the documents."""

    def __init__(self, actors: int, threads: int, texts: list[str]) -> None:
        self.name = f"{actors} x {threads}"
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        for i in range(actors):
            ours, theirs = context.Pipe()
            process = context.Process(target=_actor, args=(threads, texts[i::actors], theirs))
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)
        for pipe in self._pipes:
            pipe.recv()

    def seconds(self) -> float:
        """Return the seconds until all have done their parts."""
        started = time.perf_counter()
        for pipe in self._pipes:
            pipe.send("go")
        for pipe in self._pipes:
            pipe.recv()
        return time.perf_counter() - started

    def close(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.send("end")
        for process in self._processes:
            process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    texts = _documents(given.documents)
    shapes = [(1, cores), (cores, 1), (cores, cores)]
    pools = [Pool(actors, threads, texts) for actors, threads in shapes]
    taken: dict[str, list[float]] = {pool.name: [] for pool in pools}
    for _ in range(given.repeats):
        for pool in pools:
            taken[pool.name].append(pool.seconds())
    for pool in pools:
        pool.close()
    rates = {name: given.documents / statistics.median(times) for name, times in taken.items()}
    best = max(list(rates.values())[:2])
    for name, rate in rates.items():
        print(f"{name:>8} threads: {rate:8.2f} documents/s, {rate / best:.2f} of the better")
    found = {
        "benchmark": "gpu_fractions",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": cores,
        "documents": given.documents,
        "repeats": given.repeats,
        "documents_per_s": {name: round(rate, 2) for name, rate in rates.items()},
        "ratios": {name: round(rate / best, 3) for name, rate in rates.items()},
    }
    target = ROOT / "benchmarks" / "results" / "gpu_fractions.json"
    target.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
