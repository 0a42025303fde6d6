"""Kills of processes at random moments of a commit: does each run count whole or not at all?

    python benchmarks/commit_chaos.py [--kills 200] [--store file|s3] [--seed 1] [--append]

Each process commits a run that replaces a unit of an earlier one, and is killed after a random part
of the time that a commit takes here; every sixth is left to join files meanwhile. Then another
process finishes what is pending and reads all tables: medspan's snapshot and a plain read of each
Delta table must have the documents before the run or those after it. With ``s3`` the store answers
3% of requests with faults. The last line of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

_IDS = 20
_CONTEXT = multiprocessing.get_context("forkserver")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--store", choices=["file", "s3"], default="file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60, help="end after so many")
    parser.add_argument("--append", action="store_true", help="add to the file of --json")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/commit_chaos.json"))
    options = parser.parse_args()
    slices: list[dict[str, Any]] = []
    if options.append and options.json.exists():
        slices = json.loads(options.json.read_text())["slices"]
    _CONTEXT.set_forkserver_preload(["support.lake", "pipelines.runs.maintenance"])
    with _place(options.store) as (path, endpoint):
        slices.append(_slice(path, endpoint, options.kills, options.seed, options.minutes))
    result = {
        "benchmark": "commit_chaos",
        "kills": sum(one["kills"] for one in slices),
        "wrong_reads": sum(one["wrong_reads"] for one in slices),
        "slices": slices,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


@contextmanager
def _place(store: str) -> Iterator[tuple[str, str]]:
    if store == "file":
        with tempfile.TemporaryDirectory(prefix="medspan-commits-") as folder:
            yield folder, ""
        return
    from support.s3_server import serving

    with serving() as server:
        yield "s3://lake/out", server.url
        server.misbehave()


def _slice(path: str, endpoint: str, kills: int, seed: int, minutes: float) -> dict[str, Any]:
    dice = random.Random(seed)
    started = time.monotonic()
    live: dict[tuple[str, str], list[str]] = {}
    counts = {"kills": 0, "runs": 0, "counted": 0, "wrong_reads": 0, "finished_by_others": 0}
    longest = _commit(path, endpoint, "r0", {"u0": _ids(0)}, None, None)
    live["r0", "u0"] = _ids(0)
    if endpoint:
        from support.s3_server import S3Server

        faults = {"kinds": ["500", "503", "lost"]}
        S3Server(endpoint).misbehave(rate=0.03, **faults)
    number = 0
    while counts["kills"] < kills and time.monotonic() - started < minutes * 60:
        number += 1
        run, unit = f"r{number}", f"u{number}"
        replaced = dice.choice([*live]) if len(live) > 4 else None
        if number % 6 == 0:
            _process(_join, path, endpoint).join()
        memory_used = _commit(
            path, endpoint, run, {unit: _ids(number)}, replaced, dice.random() * longest
        )
        counts["runs"] += 1
        counts["kills"] += memory_used < 0
        ours, theirs = _CONTEXT.Pipe()
        reader = _process(_look, path, endpoint, run, theirs)
        seen = ours.recv()
        reader.join()
        if seen["counts"]:
            live[run, unit] = _ids(number)
            if replaced is not None:
                del live[replaced]
        counts["counted"] += seen["counts"]
        counts["finished_by_others"] += seen["finished"]
        expected = sorted(id_ for ids in live.values() for id_ in ids)
        counts["wrong_reads"] += sum(rows != expected for rows in seen["rows"])
    return {
        "store": "s3" if endpoint else "file",
        "seed": seed,
        **counts,
        "seconds": round(time.monotonic() - started),
    }


def _ids(number: int) -> list[str]:
    return [f"{number}-{i}" for i in range(_IDS)]


def _process(work: Callable[..., None], *given: Any) -> Any:
    process = _CONTEXT.Process(target=work, args=given)
    process.start()
    return process


def _commit(
    path: str,
    endpoint: str,
    run: str,
    units: dict[str, list[str]],
    replaced: tuple[str, str] | None,
    after: float | None,
) -> float:
    """The seconds that a commit took, negative where it was killed after so many."""
    ours, theirs = _CONTEXT.Pipe()
    process = _process(_work, path, endpoint, run, units, replaced, theirs)
    ours.recv()
    started = time.monotonic()
    process.join(after)
    if process.is_alive():
        process.kill()
        process.join()
    seconds = time.monotonic() - started
    return seconds if process.exitcode == 0 else -seconds


def _store(path: str, endpoint: str) -> Any:
    from pipelines.runs.store import RunStore
    from pipelines.storage import S3, Storage

    if endpoint:
        Storage(s3=S3(endpoint=endpoint, path_style=True)).apply()
    return RunStore(path)


def _work(
    path: str,
    endpoint: str,
    run: str,
    units: dict[str, list[str]],
    replaced: tuple[str, str] | None,
    told: Connection,
) -> None:
    import pyarrow as pa
    from support.lake import store_rows

    from pipelines.runs.plan import RunPlan

    store = _store(path, endpoint)
    store.begin(run, RunPlan("{}", (), pa.schema([])))
    told.send("begun")
    store_rows(store, run, units, *([replaced] if replaced else []))


def _join(path: str, endpoint: str) -> None:
    from pipelines.runs.maintenance import compact_sink

    compact_sink(_store(path, endpoint))


def _look(path: str, endpoint: str, run: str, told: Connection) -> None:
    from support.lake import rows_of

    store = _store(path, endpoint)
    seen = [sorted(rows_of(store))]
    finished = store.finish_pending()
    counts = run in store.committed()
    if finished:  # what was seen before was the state without it
        seen.clear()
    seen.append(sorted(rows_of(store)))
    for name in ("documents", "entities"):
        seen.append(sorted(store.tables.open(name).delta.to_pyarrow_table()["doc_id"].to_pylist()))
    told.send({"rows": seen, "finished": finished is not None, "counts": counts})


if __name__ == "__main__":
    main()
