"""Removing what no reader needs: units that were replaced, and runs that were given up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipelines.lake.layout import TABLES, Sink
from pipelines.lake.state import read_state

_RUN = "run_id="
_TIME = "r%Y%m%dT%H%M%S"


@dataclass(frozen=True, slots=True)
class Waste:
    """What can go: markers of old commits, runs never committed, files of either."""

    runs: tuple[str, ...]
    open_runs: tuple[str, ...]
    files: tuple[str, ...]
    """Below the sink."""


def find_waste(sink: Sink, keep: int, older_than: timedelta, now: datetime | None = None) -> Waste:
    """What is not needed to read the latest ``keep`` commits and is older than that.

    The age is that of the run, by its id. What is younger stays: somebody may be reading or
    writing it.
    """
    limit = (now or datetime.now(UTC)) - older_than
    committed = sink.committed()
    kept = set(committed[-max(keep, 1) :])
    kept |= {run for run in committed if _begun(run) > limit}
    needed = {(h.run_id, h.unit) for run in kept for h in read_state(sink, run)}
    runs = tuple(run for run in committed if run not in kept)
    open_ = tuple(run for run in sink.open_runs() if _begun(run) <= limit)
    untouched = kept | (set(sink.open_runs()) - set(open_))
    files = []
    for table in TABLES:
        for folder in sink.names(table):
            run = folder.removeprefix(_RUN)
            if not folder.startswith(_RUN) or run in untouched or _begun(run) > limit:
                continue
            files += [
                f"{table}/{folder}/{name}"
                for name in sink.names(f"{table}/{folder}")
                if (run, name.removesuffix(".parquet")) not in needed
            ]
    return Waste(runs, open_, tuple(files))


def remove(sink: Sink, waste: Waste) -> None:
    """Remove it. Cut short, it can be done again: no order of events makes a half-removed run look
    like one that may be resumed or discarded while others need its units."""
    for run in waste.runs:
        sink.remove(f"_runs/{run}")
        sink.remove(f"_runs/{run}.json")
    for file in waste.files:
        sink.remove(file)
    for run in waste.open_runs:
        sink.remove(f"_runs/{run}")
    gone = {*waste.runs, *waste.open_runs}
    for name in sink.names("_order"):
        if name.partition(".")[2] in gone:
            sink.remove(f"_order/{name}")
    for name in sink.names("_leases"):
        if name.removeprefix("run-") in gone:
            sink.remove(f"_leases/{name}")


def _begun(run_id: str) -> datetime:
    try:
        return datetime.strptime(run_id.partition("-")[0], _TIME).replace(tzinfo=UTC)
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)  # not an id of ours: never touched
