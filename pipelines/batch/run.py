"""Drive a run: start or resume it, collect its counts, commit it."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import ray

from actors.extractor import Extractor
from actors.spans import Status
from pipelines.batch.describe import check_reader
from pipelines.batch.execution import Execution, OnRay
from pipelines.batch.finish import Tally
from pipelines.batch.graph import RunWork
from pipelines.batch.marker import balance, marker, timing
from pipelines.batch.patience import StalledError
from pipelines.batch.stage import Load
from pipelines.config import LoadedPipeline
from pipelines.lake.carry import prior_units
from pipelines.lake.check import check_unique_ids, give_way, taken_ids
from pipelines.lake.fingerprint import pipeline_fingerprint
from pipelines.lake.layout import RunError, Sink, new_run_id
from pipelines.lake.lease import Lease
from pipelines.lake.plan import Plan
from pipelines.lake.read import DuplicateIdsError, SourceChangedError
from pipelines.lake.state import read_state, state_after, write_state
from pipelines.lake.tombstones import write_tombstones
from pipelines.lake.units import SourcePlan, source_files

log = logging.getLogger(__name__)
# Below this many documents a failure rate means little: one bad row must not end a run of three.
_RATE_AFTER = 20
# How long a commit waits for a concurrent one; each is a few puts.
_COMMIT_SECONDS = 120.0


class RunFailedError(RuntimeError):
    """A run ended before its commit; finished units are kept and the run can be resumed."""

    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(reason)
        self.run_id = run_id


class Progress(Protocol):
    """Progress observer."""

    def update(self, tally: Tally, documents: int) -> None:
        """Called with the counts so far and the total number of documents."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A committed run: its id, its counts, and its seconds from first unit to commit."""

    run_id: str
    tally: Tally
    seconds: float
    marker: dict[str, Any] = field(repr=False)


def begin_run(loaded: LoadedPipeline, plan: SourcePlan) -> str:
    """Write the plan of a new run over a whole source; returns its id."""
    check_reader(loaded, plan)
    loaded.pipeline.storage.apply()
    fingerprint = pipeline_fingerprint(loaded)
    return write_plan(
        loaded, Plan(loaded.as_json(), plan.units, plan.keep, plan.empty, fingerprint)
    )


def write_plan(loaded: LoadedPipeline, plan: Plan) -> str:
    """Write the plan of a new run; returns its id."""
    run_id = new_run_id()
    Sink(loaded.pipeline.sink.path).begin(run_id, plan)
    return run_id


def drive_run(
    sink: Sink,
    run_id: str,
    progress: Progress,
    load: Load = Extractor,
    execution: Execution | None = None,
) -> Outcome:
    """Do the units of a run that are not done, then commit it.

    The same for a new run and a resumed one: the plan says what to do, the sink what is done.
    Needs a connected Ray, unless another ``execution`` is given. Raises RunFailedError, after
    which the run can be resumed, ConfigError where the cluster cannot hold it, and RunError where
    another process is driving it.
    """
    plan = sink.plan(run_id)
    loaded = LoadedPipeline.from_json(plan.pipeline)
    loaded.pipeline.storage.apply()
    execution = execution or OnRay()
    loaded = execution.place(loaded)
    with Lease(sink, f"run-{run_id}"):
        if run_id in sink.committed():
            raise RunError(f"the run {run_id} is committed; there is nothing to resume")
        return _drive(sink, run_id, plan, loaded, progress, load, execution)


def _drive(
    sink: Sink,
    run_id: str,
    plan: Plan,
    loaded: LoadedPipeline,
    progress: Progress,
    load: Load,
    execution: Execution,
) -> Outcome:
    started = datetime.now(UTC)
    clock = time.monotonic()
    planned = {unit.id: unit for unit in plan.units}
    done = sink.done_units(run_id) & planned.keys()
    total = sum(unit.rows for unit in plan.units)
    tally, counts = Tally(), dict[str, tuple[int, int]]()
    for unit_id, facts in sink.facts(run_id, sorted(done)):
        _add(tally, counts, unit_id, Tally.from_dict(json.loads(facts)))
    progress.update(tally, total)
    missing = [unit for unit in plan.units if unit.id not in done]
    base = read_state(sink, plan.increment.base) if plan.increment else []
    limit = loaded.pipeline.max_failure_rate
    with _telling(run_id):
        if missing:
            work = RunWork(run_id, loaded, missing, plan, prior_units(base, plan), load)
            with closing(execution.rows(work)) as rows:
                for row in rows:
                    if row["error"]:
                        raise RunFailedError(run_id, f"a unit could not be written: {row['error']}")
                    _add(tally, counts, row["unit"], Tally.from_dict(json.loads(row["tally"])))
                    progress.update(tally, total)
                    _check_rate(run_id, tally, total, limit)
        for model, units in tally.over_share.items():
            log.warning(
                "%s: an actor exceeded its share of GPU memory after %d units; raise its "
                "pool.num_gpus or lower its sequences or batch size",
                model,
                units,
            )
        if tally.total != total or not planned.keys() <= sink.done_units(run_id):
            raise RunFailedError(
                run_id, f"{tally.total} of {total} documents were returned; resume the run"
            )
        check_unique_ids(sink, run_id, list(planned))
        seconds = time.monotonic() - clock
        spent = timing(loaded, tally, seconds)
        spent["balanced"] = _balanced(loaded, tally)
        told = _commit(sink, run_id, plan, loaded, tally, counts, started, seconds, spent)
    return Outcome(run_id, tally, seconds, told)


def _balanced(loaded: LoadedPipeline, tally: Tally) -> dict[str, int]:
    if not ray.is_initialized() or len(loaded.pooled) < 2:
        return {}
    there = ray.cluster_resources()
    return balance(loaded, tally, int(there.get("GPU", 0.0)), there.get("CPU", 0.0))


def _commit(
    sink: Sink,
    run_id: str,
    plan: Plan,
    loaded: LoadedPipeline,
    tally: Tally,
    counts: Mapping[str, tuple[int, int]],
    started: datetime,
    seconds: float,
    spent: Mapping[str, Any],
) -> dict[str, Any]:
    with Lease(sink, "commit", wait=_COMMIT_SECONDS):
        state = state_after(sink, run_id, plan, counts)
        wide = loaded.pipeline.enrich.check_ids == "lake" and loaded.pipeline.source.id
        if wide and plan.increment is not None and plan.increment.new_rows:
            taken = taken_ids(sink, run_id, [unit.id for unit in plan.units], state)
            if taken:
                there = {file.uri for file in source_files(loaded.pipeline.source)}
                state = give_way(sink, run_id, state, taken, there)
        if plan.increment is not None:
            write_tombstones(sink, run_id, plan, list(counts))
        write_state(sink, run_id, state)
        sink.remove(f"_runs/{run_id}/attempts")
        facts = marker(run_id, loaded, plan, tally, state, started, seconds, spent)
        sink.commit(run_id, facts)
    return facts


def _check_rate(run_id: str, tally: Tally, total: int, limit: float) -> None:
    if tally.total >= min(_RATE_AFTER, total) and tally.failure_rate > limit:
        raise RunFailedError(
            run_id,
            f"{tally.documents['failed']} of {tally.total} documents failed, more than "
            f"max_failure_rate = {limit:g}: {_listed(tally)}",
        )


def _add(tally: Tally, counts: dict[str, tuple[int, int]], unit: str, more: Tally) -> None:
    if unit in counts:
        return  # Ray returned a row twice, or a resumed run saw the unit being written
    counts[unit] = (more.total, more.documents[Status.FAILED.value])
    tally += more


_SYSTEM_ERROR = re.compile(r"OSError: (\[Errno \d+\] [A-Za-z ]+)")
_TELLING = (DuplicateIdsError, SourceChangedError, StalledError, RunError, OSError)


@contextmanager
def _telling(run_id: str) -> Iterator[None]:
    """Unwrap our own errors from Ray's wrappers, without their tracebacks."""
    try:
        yield
    except RunFailedError:
        raise
    except Exception as error:
        chain = list(_causes(error))
        for cause in chain:
            if isinstance(cause, _TELLING):
                raise RunFailedError(run_id, str(cause)) from error
        # An unknown error's message could quote a document, so only its type is shown. Ray passes
        # some errors on as text only: messages of the operating system quote no document.
        system = _SYSTEM_ERROR.search(str(error))
        if system:
            raise RunFailedError(run_id, f"a worker failed: {system[1]}") from error
        kind = type(chain[-1]).__name__
        raise RunFailedError(run_id, f"a worker failed with {kind}; see Ray's logs") from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from, outermost first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        cause = getattr(current, "cause", None)  # Ray's attribute for the worker's error
        current = cause if isinstance(cause, BaseException) else current.__cause__


def _listed(tally: Tally) -> str:
    return ", ".join(f"{kind} ({count})" for kind, count in tally.failures.most_common(5))
