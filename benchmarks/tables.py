"""The cost of the tables at 1,000 to 100,000 units: commit, decide, swap, resume, compaction,
vacuum.

    python benchmarks/tables.py [--units 1000 10000 100000] [--stores file s3]

Units are add actions with statistics, without files (commit, decide and swap never open one), but
for resume, compaction and vacuum, which get real ones: no more than ``--files``. Each size runs in
a process of its own. ``cpu_seconds`` are of the process, all threads: on a busy machine they say
more than the clock. The last line of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from benchmarks.machine import machine
from pipelines.runs.maintenance import compact_sink, vacuum_sink
from pipelines.runs.plan import RunPlan
from pipelines.runs.store import RunStore
from pipelines.source.units import Slice
from pipelines.storage import S3, Storage
from pipelines.tables.commit import Change, commit
from pipelines.tables.ledger import LiveUnit
from pipelines.tables.schema import DOCUMENTS, ENTITIES
from pipelines.tables.snapshot import Snapshot
from pipelines.tables.unit_files import DataFile, done_units, read_units_done, write_unit_tables

_SWAPPED = 100
_ROWS = 512
_DOCUMENT = {"doc_id": "d", "source": "s", "source_row": 0, "status": "ok", "entity_count": 1}
_ENTITY = {"doc_id": "d", "ordinal": 0, "source": "s", "label": "L", "grounding": "exact"}
_ENTITY |= {"model": "m"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--files", type=int, default=1_000, help="most units with real files")
    parser.add_argument("--stores", nargs="+", choices=["file", "s3"], default=["file", "s3"])
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/tables.json"))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(_one(int(options.one[0]), options.one[1], options.files)))
        return
    sizes = []
    for store in options.stores:
        for units in options.units:
            command = [sys.executable, __file__, f"--files={options.files}"]
            command += ["--one", str(units), store]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            sizes.append(json.loads(done.stdout.splitlines()[-1]))
            print(sizes[-1], flush=True)
    by = {(one["store"], one["units"]): one for one in sizes}
    least, most = min(options.units), max(options.units)
    ratios = {}
    for store in options.stores:
        for what in ("commit", "decide"):
            little, much = (by[store, size]["cpu_seconds"][what] for size in (least, most))
            ratios[f"{store}_{what}_growth"] = round(much / max(little, 1e-3) * least / most, 3)
    result = {
        "benchmark": "tables",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "sizes": sizes,
        "ratios": ratios,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


@contextmanager
def _place(store: str) -> Iterator[str]:
    if store == "file":
        with tempfile.TemporaryDirectory(prefix="medspan-tables-") as folder:
            yield folder
        return
    from support.s3_server import serving

    with serving() as server:
        Storage(s3=S3(endpoint=server.url, path_style=True)).apply()
        yield "s3://lake/out"


def _one(units: int, store: str, files: int) -> dict[str, object]:
    seconds: dict[str, float] = {}
    cpu: dict[str, float] = {}

    def timed(name: str, work: Callable[[], object]) -> None:
        clock, burnt = time.perf_counter(), time.process_time()
        work()
        seconds[name] = round(time.perf_counter() - clock, 3)
        cpu[name] = round(time.process_time() - burnt, 3)

    with _place(store) as path:
        sink = RunStore(f"{path}/synthetic")
        sink.begin("r0", RunPlan("{}", (), pa.schema([])))
        made = [f"{number:020x}" for number in range(units)]
        timed("commit", lambda: _commit(sink, "r0", made, ()))
        timed("decide", lambda: len(sink.snapshot().units))
        swapped = made[:: max(1, units // _SWAPPED)][:_SWAPPED]
        timed(
            "swap",
            lambda: _commit(sink, "r1", swapped, [("r0", unit) for unit in swapped]),
        )
        timed("decide_after", lambda: len(sink.snapshot().units))
        log = sum(sink.folder.sizes("documents/_delta_log").values())
        count = min(units, files)
        real = RunStore(f"{path}/real")
        real.begin("r0", RunPlan("{}", (), pa.schema([])))
        tables = {
            "documents": pa.Table.from_pylist([_DOCUMENT], schema=DOCUMENTS),
            "entities": pa.Table.from_pylist([_ENTITY], schema=ENTITIES),
        }
        for unit in made[:count]:
            write_unit_tables(real.folder, "r0", unit, tables)

        def resume() -> int:
            done = done_units(real.folder, "r0")
            return len(list(read_units_done(real.folder, done, sorted(done))))

        timed("resume", resume)
        files_of = [
            file
            for one in read_units_done(real.folder, done_units(real.folder, "r0"), made[:count])
            for file in one.files
        ]
        _commit(real, "r0", made[:count], (), files_of)
        timed("compact", lambda: compact_sink(real))
        timed("vacuum", lambda: vacuum_sink(real, timedelta(0), remove=True))
    return {
        "store": store,
        "units": units,
        **seconds,
        "cpu_seconds": cpu,
        "real_units": count,
        "log_mb": round(log / 1e6, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def _commit(
    sink: RunStore,
    run_id: str,
    units: list[str],
    replaced: list[tuple[str, str]] | tuple[()],
    files: list[DataFile] | None = None,
) -> None:
    if files is None:
        files = [_file(name, run_id, unit) for unit in units for name in ("documents", "entities")]

    def change(snapshot: Snapshot) -> Change:
        return Change(
            files=tuple(files),
            units=tuple(
                LiveUnit(
                    run_id,
                    unit,
                    "f" * 16,
                    _ROWS,
                    0,
                    (Slice(f"s3://lake/notes/{unit}.parquet", "e" * 32, "parquet", 0, _ROWS),),
                    snapshot.ledger.number + 1,
                )
                for unit in units
            ),
            replaced=frozenset(replaced),
            moved={},
            identity="f" * 16,
            empty=(),
            facts={
                "counts": {"documents": {"ok": _ROWS}, "entities": {}, "failures": {}},
                "committed_at": datetime.now(UTC).isoformat(),
            },
        )

    commit(sink.tables, run_id, change)


def _file(name: str, run_id: str, unit: str) -> DataFile:
    ends = {"doc_id": unit, "source": f"s3://lake/notes/{unit}", "run_id": run_id, "unit": unit}
    ends |= {"status": "ok"} if name == "documents" else {"label": "Drug"}
    statistics = {
        "numRecords": _ROWS,
        "minValues": ends,
        "maxValues": ends,
        "nullCount": dict.fromkeys(ends, 0),
    }
    return DataFile(name, f"{run_id}/{unit}.0.parquet", 100_000, json.dumps(statistics))


if __name__ == "__main__":
    main()
