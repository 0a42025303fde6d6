"""A lake of up to a million rows through a model that only hashes: is time linear, is the driver's
memory flat?

Sizes are run one after the other, each in a process of its own. ``growth`` is the time a document
of the largest over that of the smallest, Ray's start left out. ``driver`` is what the driver does
beside Ray for a plan of ``--driver-units`` units (48,829 are 100 million documents): write it, read
it back, sum the counts, write and read the state. The last line of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import machine

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
_ROWS_A_FILE = 50_000
_TEXT = "aspirin metformin note of a patient with nothing to hide"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--unit-rows", type=int, default=2048)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/scale.json"))
    parser.add_argument("--driver-units", type=int, default=48_829)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(_one(options.one, options.unit_rows)))
        return
    sizes = []
    for rows in options.rows:
        command = [sys.executable, __file__, f"--one={rows}", f"--unit-rows={options.unit_rows}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        sizes.append(json.loads(done.stdout.splitlines()[-1]))
        print(sizes[-1], flush=True)
    first, last = sizes[0], sizes[-1]
    growth = (last["seconds"] / last["rows"]) / (first["seconds"] / first["rows"])
    ratios = {
        "growth": round(growth, 3),
        "driver_memory": round(last["driver_mb"] / first["driver_mb"], 3),
    }
    result = {
        "benchmark": "scale",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "sizes": sizes,
        "driver": _driver(options.driver_units, options.unit_rows),
        "ratios": ratios,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def _driver(count: int, unit_rows: int) -> dict[str, float]:
    import pyarrow as pa

    from pipelines.runs.plan import RunPlan
    from pipelines.runs.store import RunStore
    from pipelines.runs.tally import Tally
    from pipelines.source.units import Slice, Unit
    from pipelines.tables.commit import Change, commit
    from pipelines.tables.ledger import LiveUnit

    labels = {f"L{i}": 9 for i in range(21)}
    counts = json.dumps({"documents": {"ok": unit_rows}, "entities": labels})
    before, clock = _resident_mb(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="medspan-driver-") as folder:
        store = RunStore(folder)
        units = tuple(
            Unit((Slice(f"s3://lake/notes/{i // 25:05d}", "e" * 32, "parquet", i % 25, unit_rows),))
            for i in range(count)
        )
        store.begin("r1", RunPlan("{}", units, pa.schema([])))
        plan, tally = store.plan("r1"), Tally()
        for _ in plan.units:
            tally += Tally.from_json(counts)
        live = tuple(LiveUnit("r1", u.id, "f" * 16, unit_rows, 0, u.slices, 1) for u in plan.units)
        facts = {"counts": tally.as_dict(), "committed_at": datetime.now(UTC).isoformat()}
        change = Change((), live, frozenset(), {}, "f" * 16, (), facts)
        commit(store.tables, "r1", lambda _: change)
        assert len(store.snapshot().units) == count
        return {
            "units": count,
            "seconds": round(time.monotonic() - clock, 1),
            "mb": round(_resident_mb() - before, 1),
        }


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def _one(rows: int, unit_rows: int) -> dict[str, float]:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from support.lake import Quiet, hashing, pipeline

    from pipelines.batch.run import begin_run, drive_run
    from pipelines.ray_cluster import cluster
    from pipelines.runs.store import RunStore
    from pipelines.source.units import plan_source

    with tempfile.TemporaryDirectory(prefix="medspan-scale-") as folder:
        source = Path(folder) / "in"
        source.mkdir()
        for start in range(0, rows, _ROWS_A_FILE):
            numbers = range(start, min(start + _ROWS_A_FILE, rows))
            table = pa.table(
                {"id": [f"d{i}" for i in numbers], "text": [f"{i} {_TEXT}" for i in numbers]}
            )
            pq.write_table(table, source / f"{start:09d}.parquet", row_group_size=10_000)
        loaded = pipeline(str(source), f"{folder}/out", unit_rows=unit_rows, actors=2)
        clock = time.monotonic()
        run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
        planned = time.monotonic() - clock
        with cluster():
            outcome = drive_run(RunStore(loaded.pipeline.sink.path), run_id, Quiet(), hashing())
        assert outcome.tally.documents["ok"] == rows
        return {
            "rows": rows,
            "units": outcome.marker["units"],
            "plan_seconds": round(planned, 2),
            "seconds": round(outcome.seconds, 1),
            "driver_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        }


if __name__ == "__main__":
    main()
