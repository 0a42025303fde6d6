"""Readers at once while runs replace every document: does each read show one state whole?

    python benchmarks/readers.py [--readers 100] [--seconds 60]

Half of them read with polars, half with deltalake. A read is wrong where it has documents of two
runs, or not all of one. The last line of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

from benchmarks.machine import machine

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

_UNITS, _ROWS = 40, 5


def main() -> None:
    from support.lake import store_rows

    from pipelines.runs.plan import RunPlan
    from pipelines.runs.store import RunStore

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/readers.json"))
    args = parser.parse_args()

    def units(run: int) -> dict[str, list[str]]:
        return {
            f"u{unit}": [f"{run}/{unit}/{row}" for row in range(_ROWS)] for unit in range(_UNITS)
        }

    with tempfile.TemporaryDirectory(prefix="medspan-readers-") as folder:
        store = RunStore(folder)
        store.begin("r0", RunPlan("{}", (), pa.schema([])))
        store_rows(store, "r0", units(0))
        stopped, seen = threading.Event(), Counter[str]()
        readers = [
            threading.Thread(target=_read, args=(folder, number % 2 == 0, stopped, seen))
            for number in range(args.readers)
        ]
        for reader in readers:
            reader.start()
        began, commits = time.monotonic(), 0
        while time.monotonic() - began < args.seconds:
            gone = [(f"r{commits}", f"u{unit}") for unit in range(_UNITS)]
            commits += 1
            store_rows(store, f"r{commits}", units(commits), *gone)
        stopped.set()
        for reader in readers:
            reader.join()
    found = {
        "benchmark": "readers",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "readers": args.readers,
        "seconds": args.seconds,
        "documents": _UNITS * _ROWS,
        "commits": commits,
        "reads": sum(seen.values()),
        "wrong": seen["wrong"],
        "errors": seen["errors"],
        "ratios": {"wrong": seen["wrong"] / max(1, seen.total())},
    }
    args.json.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


def _read(folder: str, by_polars: bool, stopped: threading.Event, seen: Counter[str]) -> None:
    path = f"{folder}/documents"
    while not stopped.is_set():
        try:
            if by_polars:
                ids = pl.scan_delta(path).select("doc_id").collect()["doc_id"].to_list()
            else:
                ids = DeltaTable(path).to_pyarrow_table(columns=["doc_id"])["doc_id"].to_pylist()
        except Exception:
            seen["errors"] += 1
            continue
        runs = {id_.partition("/")[0] for id_ in ids}
        whole = len(runs) == 1 and len(ids) == len(set(ids)) == _UNITS * _ROWS
        seen["whole" if whole else "wrong"] += 1


if __name__ == "__main__":
    main()
