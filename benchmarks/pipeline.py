"""The Ray Data job against the actor alone: what the lake, Ray and the tables cost.

    python benchmarks/pipeline.py [--documents 20000] [--threads 2]

The same paragraphs of the project's samples, in the same order, go through one Extractor in this
process, and through `medspan run`'s own graph on a Ray started here with one actor of as many
threads. Rates are once warm: those of units that come back, without the first and the last. The
last line of stdout is one JSON document, kept as benchmarks/results/pipeline.json:

    vs_actor            documents/s of the job over documents/s of the actor alone
    growth_2k_to_20k    seconds a document at the full size over seconds a document at a tenth;
                        1.0 is linear
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from actors import Document, load_extractor
from actors.config import load_model
from actors.extractor import Share
from benchmarks.machine import machine
from pipelines.batch.run import begin_run, drive_run
from pipelines.config import LoadedPipeline, Pipeline, Sink, Source, Step
from pipelines.pool import Pool
from pipelines.ray_cluster import cluster
from pipelines.runs.marker import versions
from pipelines.runs.store import RunStore
from pipelines.runs.tally import Tally
from pipelines.source.units import plan_source
from pipelines.stages import Stage

ROOT = Path(__file__).resolve().parent.parent
MODEL = "starter:token-classifier"
UNIT_ROWS = 256
ALONE = 1500


def paragraphs(count: int, seed: int = 0) -> list[str]:
    """``count`` texts, each a paragraph of the samples.

    Short documents are the harder case for the job: its cost a row stands against less work.
    """
    sources: list[str] = []
    for path in sorted((ROOT / "configs/samples/quickstart").glob("*.parquet")):
        for text in pq.read_table(path)["note"].to_pylist():
            sources += [part for part in text.split("\n\n") if len(part) > 80]
    draw = random.Random(seed)
    return [f"Case {number}. {draw.choice(sources)}" for number in range(count)]


def alone(texts: list[str], threads: int, repeats: int) -> list[float]:
    """Documents/s of one Extractor in this process, once a repeat."""
    rates = []
    with load_extractor(MODEL, Share(threads=threads, gpu=0)) as extractor:
        documents = [Document(id=str(i), text=text) for i, text in enumerate(texts)]
        extractor.extract(documents[:64])
        for _ in range(repeats):
            start = time.perf_counter()
            extractor.extract(documents)
            rates.append(len(documents) / (time.perf_counter() - start))
    return rates


class Clock:
    """When units came back, and how much memory was in use then."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int]] = []
        self.memory: list[tuple[float, float]] = []

    def working(self, documents: float, steps: int) -> None:
        """Nothing."""

    def update(self, tally: Tally, documents: int) -> None:
        """Note the time, the documents so far, and megabytes of driver and actor."""
        if tally.total:
            self.seen.append((time.perf_counter(), tally.total))
            actor = max(_actors(), default=0.0)  # none any more once the last unit is written
            if actor or not self.memory:
                self.memory.append((_resident(os.getpid()), actor))

    @property
    def rate(self) -> float:
        """Documents/s: the slope of a line through the units from the second to the last but one.

        Units in flight together come back together, so that two of them alone would tell little.
        """
        times, totals = zip(*self.seen[1:-1], strict=True)
        return statistics.linear_regression(times, totals).slope

    def growth(self) -> dict[str, float]:
        """Megabytes at a quarter of the run and at its end."""
        quarter, end = self.memory[len(self.memory) // 4], self.memory[-1]
        return {
            "driver_mb_at_quarter": round(quarter[0]),
            "driver_mb_at_end": round(end[0]),
            "actor_mb_at_quarter": round(quarter[1]),
            "actor_mb_at_end": round(end[1]),
        }


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _actors() -> list[float]:
    """Resident megabytes of the processes that hold a model."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if b"ExtractActor" in (folder / "cmdline").read_bytes():
                found.append(_resident(int(folder.name)))
        except OSError:  # it ended while we looked
            continue
    return found


def job(texts: list[str], folder: Path, threads: int) -> Clock:
    """One run of the graph over ``texts`` in Parquet."""
    lake, sink = folder / "lake", folder / "out"
    shutil.rmtree(folder, ignore_errors=True)
    lake.mkdir(parents=True)
    ids = [f"d{i}" for i in range(len(texts))]
    pq.write_table(pa.table({"id": ids, "text": texts}), lake / "a.parquet", row_group_size=4096)
    pipeline = Pipeline(
        name="benchmark",
        source=Source(path=(str(lake),), id="id", unit_rows=UNIT_ROWS),
        steps=(Step(model=MODEL, pool=Pool(num_cpus=threads)),),
        sink=Sink(path=str(sink)),
    )
    model = load_model(MODEL)
    stages = (Stage(model.name, model, Pool(num_cpus=threads)),)
    loaded = LoadedPipeline("benchmark", pipeline, stages)
    run_id = begin_run(loaded, plan_source(pipeline.source))
    clock = Clock()
    outcome = drive_run(RunStore(str(sink)), run_id, clock)
    assert outcome.tally.documents == {"ok": len(texts)}, outcome.tally.documents
    return clock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    texts = paragraphs(arguments.documents)
    before = alone(texts[:ALONE], arguments.threads, arguments.repeats)
    with tempfile.TemporaryDirectory() as folder, cluster():
        small = job(texts[: arguments.documents // 10], Path(folder) / "small", arguments.threads)
        large = job(texts, Path(folder) / "large", arguments.threads)
    # Before and after: a machine that slows down over minutes must not flatter either side.
    after = alone(texts[:ALONE], arguments.threads, arguments.repeats)
    actor = statistics.median([*before, *after])
    result = {
        "benchmark": "pipeline",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "documents": arguments.documents,
        "characters_per_document": round(statistics.mean(map(len, texts))),
        "threads": arguments.threads,
        "documents_per_second": {
            "actor_alone": round(actor, 2),
            "actor_alone_all": [round(rate, 2) for rate in (*before, *after)],
            "job_tenth": round(small.rate, 2),
            "job": round(large.rate, 2),
        },
        "memory": large.growth(),
        "ratios": {
            "vs_actor": round(large.rate / actor, 3),
            "growth_2k_to_20k": round(small.rate / large.rate, 3),
        },
    }
    print(f"actor alone {actor:.1f}/s, job {large.rate:.1f}/s, a tenth {small.rate:.1f}/s")
    results = ROOT / "benchmarks/results"
    results.mkdir(exist_ok=True)
    (results / "pipeline.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
