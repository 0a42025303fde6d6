"""Driving a run: begin or resume it, count what comes back, commit it."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Protocol

from pipelines.batch.cluster import placed_pools
from pipelines.batch.describe import check_reader
from pipelines.batch.finish import Tally
from pipelines.batch.graph import build
from pipelines.config import LoadedPipeline, Pool
from pipelines.lake.check import check_unique_ids
from pipelines.lake.layout import Plan, Sink, new_run_id
from pipelines.lake.read import DuplicateIdsError, SourceChangedError
from pipelines.lake.units import SourcePlan

# Below this many documents a failure rate says little: one bad row must not end a run of three.
_RATE_AFTER = 20
_PACKAGES = ("medspan", "ray", "onnxruntime-gpu", "onnxruntime", "llama-cpp-python", "pyarrow")


class RunFailedError(RuntimeError):
    """A run that ended before its commit; what it finished stays and can be resumed."""

    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(reason)
        self.run_id = run_id


class Progress(Protocol):
    """Who wants to know how a run goes."""

    def update(self, tally: Tally, documents: int) -> None:
        """The counts so far, and how many documents there are in all."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A committed run: its id, its counts, and its seconds from first unit to commit."""

    run_id: str
    tally: Tally
    seconds: float
    marker: dict[str, Any] = field(repr=False)


def begin_run(loaded: LoadedPipeline, plan: SourcePlan) -> str:
    """Write the plan of a new run; its id."""
    check_reader(loaded, plan)
    run_id = new_run_id()
    loaded.pipeline.storage.apply()
    sink = Sink(loaded.pipeline.sink.path)
    sink.begin(run_id, Plan(loaded.as_json(), plan.units, plan.keep))
    return run_id


def drive_run(sink: Sink, run_id: str, progress: Progress) -> Outcome:
    """Do the units of a run that are not done, then commit it.

    The same for a new run and a resumed one: the plan says what to do, the sink what is done.
    Needs a connected Ray. Raises RunFailedError, after which the run can be resumed, and
    ConfigError where the cluster cannot hold it.
    """
    plan = sink.plan(run_id)
    loaded = LoadedPipeline.from_json(plan.pipeline)
    loaded.pipeline.storage.apply()
    pools = placed_pools(loaded)
    started = datetime.now(UTC)
    clock = time.monotonic()
    done = sink.done_units(run_id)
    total = sum(unit.rows for unit in plan.units)
    tally = _tally_of(sink, run_id, sorted(done))
    progress.update(tally, total)
    missing = [unit for unit in plan.units if unit.id not in done]
    limit = loaded.pipeline.max_failure_rate
    with _telling(run_id):
        for counts in _work(run_id, loaded, pools, plan, missing):
            tally += counts
            progress.update(tally, total)
            if tally.total >= min(_RATE_AFTER, total) and tally.failure_rate > limit:
                raise RunFailedError(
                    run_id,
                    f"{tally.documents['failed']} of {tally.total} documents failed, more than "
                    f"max_failure_rate = {limit:g}: {_listed(tally)}",
                )
        units = [unit.id for unit in plan.units]
        if tally.total != total or sink.done_units(run_id) != set(units):
            raise RunFailedError(
                run_id, f"{tally.total} of {total} documents came back; resume the run"
            )
        check_unique_ids(sink, run_id, units)
    seconds = time.monotonic() - clock
    marker = _marker(run_id, loaded, plan, tally, started, seconds)
    sink.commit(run_id, marker)
    return Outcome(run_id, tally, seconds, marker)


def _work(
    run_id: str, loaded: LoadedPipeline, pools: Sequence[Pool], plan: Plan, units: Sequence[Any]
) -> Iterator[Tally]:
    if not units:
        return
    for row in build(run_id, loaded, pools, units, plan.keep).iter_rows():
        yield Tally.from_dict(json.loads(row["tally"]))


_TELLING = (DuplicateIdsError, SourceChangedError, OSError)


@contextmanager
def _telling(run_id: str) -> Iterator[None]:
    """Errors of our own code arrive wrapped in Ray's: say what happened, without the trace."""
    try:
        yield
    except RunFailedError:
        raise
    except Exception as error:
        chain = list(_causes(error))
        for cause in chain:
            if isinstance(cause, _TELLING):
                raise RunFailedError(run_id, str(cause)) from error
        # An unknown error's message could quote a document; its type cannot.
        kind = type(chain[-1]).__name__
        raise RunFailedError(run_id, f"a worker failed with {kind}; see Ray's logs") from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from, outermost first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        cause = getattr(current, "cause", None)  # Ray's name for the error of a worker
        current = cause if isinstance(cause, BaseException) else current.__cause__


def _tally_of(sink: Sink, run_id: str, units: Sequence[str]) -> Tally:
    """The counts of units that were done before, from their tables."""
    tally = Tally()
    for table in sink.tables(run_id, "documents", units, ["status", "error_type", "steps"]):
        for row in table.to_pylist():
            tally.documents[row["status"]] += 1
            if row["error_type"]:
                tally.failures[row["error_type"]] += 1
            for step in row["steps"]:
                tally.seconds[step["model"]] += step["seconds"]
                tally.tokens[step["model"]] += step["prompt_tokens"] + step["completion_tokens"]
    for table in sink.tables(run_id, "entities", units, ["label", "grounding"]):
        tally.entities.update(table["label"].to_pylist())
        tally.grounding.update(table["grounding"].to_pylist())
    return tally


def _listed(tally: Tally) -> str:
    return ", ".join(f"{kind} ({count})" for kind, count in tally.failures.most_common(5))


def _marker(
    run_id: str,
    loaded: LoadedPipeline,
    plan: Plan,
    tally: Tally,
    started: datetime,
    seconds: float,
) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "name": loaded.pipeline.name,
        "config": json.loads(plan.pipeline),
        "counts": tally.as_dict(),
        "started_at": started.isoformat(),
        "committed_at": datetime.now(UTC).isoformat(),
        "seconds": round(seconds, 3),
        "units": [unit.id for unit in plan.units],
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the output."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except ImportError:  # one of the two onnxruntime distributions is not installed
            continue
    return found
