"""Kills of processes in every part of a commit: does each run count whole or not at all?

    python benchmarks/commit_chaos.py [--kills 200] [--store file|s3] [--seed 1] [--append]

Each process commits a run that replaces a unit of an earlier one, and says when it begins and ends
the commit to each table. It is killed a random time after one of these, chosen at random. In every
third run another process compacts the tables meanwhile; half of these are killed, too. Then a third
process reads all tables, finishes what is pending and reads them again: medspan's snapshot, and a
plain read of each Delta table, must have the rows before the run or those after it. With ``s3`` the
store answers 3% of requests with faults. The last line of stdout is one JSON document; ``killed``
says after which of its steps a process died.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.machine import machine

_TESTS = str(Path(__file__).resolve().parent.parent / "tests")
sys.path.insert(0, _TESTS)

_IDS = 20
_TABLES = ("documents", "entities", "relations", "units")
_STEPS = ("begun", *(f"{when} {name}" for name in _TABLES for when in ("in", "after")))
_CONTEXT = multiprocessing.get_context("forkserver")
_Unit = tuple[str, str]


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
    # The server of the forks imports these once, for all; it finds them by the environment only.
    os.environ["PYTHONPATH"] = os.pathsep.join([_TESTS, os.environ.get("PYTHONPATH", "")])
    _CONTEXT.set_forkserver_preload(["support.lake", "pipelines.runs.maintenance"])
    with _place(options.store) as (path, endpoint):
        slices.append(_slice(path, endpoint, options.kills, options.seed, options.minutes))
    killed: Counter[str] = Counter()
    for one in slices:
        killed.update(one["killed"])
    reads, wrong = (sum(one[name] for one in slices) for name in ("reads", "wrong_reads"))
    result = {
        "benchmark": "commit_chaos",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "kills": sum(killed.values()),
        "killed": {step: killed[step] for step in _STEPS},
        "reads": reads,
        "wrong_reads": wrong,
        "slices": slices,
        "ratios": {"wrong_reads": wrong / reads},
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
    chaos = _Chaos(path, endpoint, dice)
    chaos.commit("r0", "u0", None, to_the_end=True)
    chaos.live["r0", "u0"] = _ids(0)
    if endpoint:
        from support.s3_server import S3Server

        S3Server(endpoint).misbehave(rate=0.03, kinds=["500", "503", "lost"])
    number = 0
    while chaos.killed.total() < kills and time.monotonic() - started < minutes * 60:
        number += 1
        chaos.round(number)
    return {
        "store": "s3" if endpoint else "file",
        "seed": seed,
        "kills": chaos.killed.total(),
        "killed": {step: chaos.killed[step] for step in _STEPS},
        "runs": number,
        **chaos.counts,
        "seconds": round(time.monotonic() - started),
    }


def _ids(number: int) -> list[str]:
    return [f"{number}-{i}" for i in range(_IDS)]


@dataclass
class _Chaos:
    """A sink, what must be in it, and what was seen."""

    path: str
    endpoint: str
    dice: random.Random
    live: dict[_Unit, list[str]] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)
    """The least seconds from a step to the next one."""
    killed: Counter[str] = field(default_factory=Counter)
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            (
                *("counted", "finished_by_the_reader", "failed_by_the_store"),
                *("compactions", "compactions_killed", "reads", "wrong_reads"),
            ),
            0,
        )
    )

    def round(self, number: int) -> None:
        """One run, killed or not, and what is read afterwards."""
        run, unit = f"r{number}", f"u{number}"
        replaced = self.dice.choice([*self.live]) if len(self.live) > 4 else None
        if number % 3 == 0:
            with self._compaction():
                self.commit(run, unit, replaced)
        else:
            self.commit(run, unit, replaced)
        seen = self._look(run)
        before = sorted(id_ for ids in self.live.values() for id_ in ids)
        if seen["counts"]:
            self.live[run, unit] = _ids(number)
            if replaced is not None:
                del self.live[replaced]
        after = sorted(id_ for ids in self.live.values() for id_ in ids)
        self.counts["counted"] += seen["counts"]
        self.counts["finished_by_the_reader"] += seen["finished"]
        first, *tables = seen["first"]
        wrong = [first != (before if seen["finished"] else after)]
        wrong += [rows not in (before, after) for rows in tables]
        wrong += [rows != after for rows in seen["then"]]
        self.counts["reads"] += len(wrong)
        self.counts["wrong_reads"] += sum(wrong)

    def commit(self, run: str, unit: str, replaced: _Unit | None, to_the_end: bool = False) -> None:
        """A process commits a run, and is killed unless it was quicker."""
        ours, theirs = _CONTEXT.Pipe()
        work = partial(_work, run=run, unit=unit, replaced=replaced, told=theirs)
        process = self._start(work)
        theirs.close()
        at = _STEPS[-1] if to_the_end else self.dice.choice(_STEPS)
        where, since = ours.recv()
        while where != at:
            try:
                step, now = ours.recv()
            except EOFError:
                break
            self._least(where, now - since)
            where, since = step, now
        if not to_the_end:
            time.sleep(self._within(at))
            process.kill()
        process.join()
        while ours.poll():
            try:
                where, _ = ours.recv()
            except EOFError:
                break
        if process.exitcode == -signal.SIGKILL:
            self.killed[where] += 1
        elif process.exitcode:
            self.counts["failed_by_the_store"] += 1

    @contextmanager
    def _compaction(self) -> Iterator[None]:
        process = self._start(_compact)
        killing = None
        if self.dice.random() < 0.5:
            killing = threading.Timer(self.dice.random(), process.kill)
            killing.start()
        yield
        process.join()
        self.counts["compactions"] += 1
        self.counts["compactions_killed"] += process.exitcode == -signal.SIGKILL
        if killing is not None:
            killing.cancel()

    def _least(self, step: str, seconds: float) -> None:
        self.took[step] = min(seconds, self.took.get(step, seconds))

    def _within(self, step: str) -> float:
        """A random moment of a step, or a little after it."""
        return self.dice.random() * 1.5 * self.took.get(step, 0.3)

    def _look(self, run: str) -> dict[str, Any]:
        ours, theirs = _CONTEXT.Pipe()
        process = self._start(partial(_look, run=run, told=theirs))
        theirs.close()
        seen: dict[str, Any] = ours.recv()
        process.join()
        return seen

    def _start(self, work: Callable[[str, str], None]) -> Any:
        process = _CONTEXT.Process(target=work, args=(self.path, self.endpoint))
        process.start()
        return process


def _store(path: str, endpoint: str) -> Any:
    from pipelines.runs.store import RunStore
    from pipelines.storage import S3, Storage

    if endpoint:
        Storage(s3=S3(endpoint=endpoint, path_style=True)).apply()
    return RunStore(path)


def _work(
    path: str, endpoint: str, run: str, unit: str, replaced: _Unit | None, told: Connection
) -> None:
    import pyarrow as pa
    from support.lake import store_rows

    from pipelines.runs.plan import RunPlan
    from pipelines.tables.delta_table import TableVersion

    def say(step: str) -> None:
        told.send((step, time.monotonic()))

    real = TableVersion.commit

    def commit(table: TableVersion, *rest: Any) -> None:
        say(f"in {table.name}")
        real(table, *rest)
        say(f"after {table.name}")

    setattr(TableVersion, "commit", commit)  # noqa: B010
    store = _store(path, endpoint)
    store.begin(run, RunPlan("{}", (), pa.schema([])))
    ids = _ids(int(unit[1:]))
    say("begun")
    given = {"relations": [_relation(unit, id_) for id_ in ids]}
    store_rows(store, run, {unit: ids}, *([replaced] if replaced else []), given=given)


def _relation(unit: str, id_: str) -> Mapping[str, object]:
    return {"doc_id": id_, "head": 0, "tail": 0, "type": "t", "source": f"file:///{unit}"}


def _compact(path: str, endpoint: str) -> None:
    from pipelines.runs.maintenance import compact_sink

    compact_sink(_store(path, endpoint))


def _look(path: str, endpoint: str, run: str, told: Connection) -> None:
    from support.lake import rows_of

    store = _store(path, endpoint)

    def read() -> list[Sequence[str]]:
        tables = (store.tables.existing(name).delta for name in _TABLES[:-1])
        plain = (table.to_pyarrow_table(columns=["doc_id"])["doc_id"] for table in tables)
        return [sorted(rows_of(store)), *(sorted(ids.to_pylist()) for ids in plain)]

    first = read()
    finished = store.finish_pending()
    counts = run in store.committed()
    told.send({"first": first, "then": read(), "finished": finished is not None, "counts": counts})


if __name__ == "__main__":
    main()
