"""Drive a run: start or resume it, collect its counts, commit it."""

from __future__ import annotations

import json
import logging
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import ray

from actors.extractor import Extractor
from pipelines.batch.describe import check_source
from pipelines.batch.execution import Execution, OnRay
from pipelines.batch.graph import RunWork, write_tasks
from pipelines.batch.pulse import Documents, Observer
from pipelines.batch.stage_actor import Load
from pipelines.batch.stall import StalledError
from pipelines.capacity.sequences import warn_of_idle_sequences
from pipelines.config import LoadedPipeline
from pipelines.release import releaser, releaser_with
from pipelines.runs.carry import prior_units
from pipelines.runs.change import FinishedRun
from pipelines.runs.drift import Drift, compare_profiles, live_profile
from pipelines.runs.identity import pipeline_fingerprint, vocabularies_of
from pipelines.runs.lease import Lease
from pipelines.runs.marker import balance, marker, timing
from pipelines.runs.plan import RunPlan
from pipelines.runs.precommit import check_unique_ids
from pipelines.runs.store import RunStore, new_run_id
from pipelines.runs.tally import Tally
from pipelines.source.duplicates import DuplicateIdsError
from pipelines.source.units import SourcePlan
from pipelines.tables.folder import RunError
from pipelines.tables.ledger import LiveUnit
from pipelines.tables.unit_files import UnitFiles, done_units, read_units_done
from pipelines.worker.traces import ParentSpan, Tracer

log = logging.getLogger(__name__)
# Below this many documents a failure rate means little: one bad row must not end a run of three.
_RATE_AFTER = 20


class RunFailedError(RuntimeError):
    """A run ended before its commit; finished units are kept and the run can be resumed."""

    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(reason)
        self.run_id = run_id


class DriftError(RunFailedError):
    """A pass was ended before its commit, because what it found differs from what is live."""

    def __init__(self, run_id: str, drift: Drift, limit: float) -> None:
        beyond = drift.beyond(limit)
        worst = beyond[0]
        super().__init__(
            run_id,
            f"{len(beyond)} measures differ from the live runs by more than "
            f"enrich.max_drift = {limit:g}: first {worst.measure.group}: {worst.measure.name}, "
            f"{worst.before:.3g} before and {worst.after:.3g} now",
        )
        self.drift, self.limit = drift, limit


class Progress(Protocol):
    """Progress observer."""

    def update(self, tally: Tally, documents: int) -> None:
        """Called with the counts so far and the total number of documents."""

    def working(self, documents: float, steps: int) -> None:
        """Called every few seconds, from another thread, with what is done in units under way:
        documents, of which each stage counts its share, and steps (a batch of windows, a page, a
        piece of generated text)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A committed run: its id, its counts, and its seconds from first unit to commit."""

    run_id: str
    tally: Tally
    seconds: float
    marker: dict[str, Any] = field(repr=False)


def begin_run(loaded: LoadedPipeline, plan: SourcePlan) -> str:
    """Write the plan of a new run over a whole source; returns its id."""
    check_source(loaded, plan)
    loaded.pipeline.storage.apply()
    store = RunStore(loaded.pipeline.sink.path)
    store.finish_pending()
    runs = store.committed()
    return write_plan(
        loaded,
        RunPlan(
            loaded.as_json(),
            plan.units,
            plan.keep,
            plan.empty,
            pipeline_fingerprint(loaded),
            base=runs[-1] if runs else None,
            passed_over=tuple(plan.skipped.items()),
            source_snapshots=tuple(plan.snapshots.items()),
        ),
    )


def write_plan(loaded: LoadedPipeline, plan: RunPlan) -> str:
    """Write the plan of a new run; returns its id. Raises RunError or ConfigError if the sink
    cannot accept it."""
    found = releaser(loaded.stages)
    plan = replace(
        plan,
        vocabularies=vocabularies_of(loaded),
        key_check="" if found is None else found.key_check,
    )
    run_id = new_run_id()
    store = RunStore(loaded.pipeline.sink.path)
    sink = loaded.pipeline.sink
    if sink.format == "parquet":
        store.check_plain()
        store.write_plan(run_id, plan)
    else:
        store.check(loaded.pipeline.storage.s3.single_writer)
        store.begin(run_id, plan, sink.entity_columns, loaded.pipeline.deidentify)
    return run_id


def drive_run(
    store: RunStore,
    run_id: str,
    progress: Progress,
    load: Load = Extractor,
    execution: Execution | None = None,
) -> Outcome:
    """Process the unfinished units of a run, then commit it.

    New and resumed runs are handled alike: the plan lists the units, the sink shows which are done.
    Needs a connected Ray, unless another ``execution`` is given. Raises RunFailedError, after which
    the run can be resumed; ConfigError if the cluster cannot hold the pools; and RunError if
    another process is driving the run.
    """
    store.finish_pending()
    plan = store.plan(run_id)
    loaded = LoadedPipeline.from_json(plan.pipeline)
    loaded.pipeline.storage.apply()
    execution = execution or OnRay()
    releaser_with(loaded.stages, plan.key_check)  # a wrong key before any work
    loaded = execution.place(loaded)
    tracer = Tracer(loaded.pipeline.traces)
    with Lease(store.folder, f"run-{run_id}"):
        try:
            with tracer.span("run", run=run_id, units=len(plan.units)) as span:
                above = ParentSpan(loaded.pipeline.traces, span.context)
                return _drive(store, run_id, plan, loaded, progress, load, execution, above)
        finally:
            tracer.flush()


def _drive(
    store: RunStore,
    run_id: str,
    plan: RunPlan,
    loaded: LoadedPipeline,
    progress: Progress,
    load: Load,
    execution: Execution,
    span: ParentSpan,
) -> Outcome:
    started = datetime.now(UTC)
    clock = time.monotonic()
    planned = {unit.id: unit for unit in plan.units}
    total = sum(unit.rows for unit in plan.units)
    tally, done = Tally(), dict[str, UnitFiles]()
    standing = done_units(store.folder, run_id)
    for files in read_units_done(store.folder, standing, sorted(standing.keys() & planned.keys())):
        _add(tally, done, files)
    earlier = Counter(tally.busy)  # work of earlier processes does not count towards utilisation
    progress.update(tally, total)
    missing = [unit for unit in plan.units if unit.id not in done]
    warn_of_idle_sequences(loaded.stages, [unit.rows for unit in missing])
    limit = loaded.pipeline.max_failure_rate
    with _translate_errors(run_id):
        if missing:
            prior = prior_units(store.snapshot(plan.base), plan) if plan.increment else {}
            rows_of = {unit.id: unit.rows for unit in missing}

            def on_work(steps: int, documents: Documents) -> None:
                under_way = sum(
                    min(count, rows_of[unit])
                    for (unit, _), count in documents.items()
                    if unit in rows_of and unit not in done
                )
                progress.working(under_way / len(loaded.pooled), steps)

            work = RunWork(run_id, loaded, missing, plan, prior, load, Observer(on_work), span)
            with closing(execution.rows(work)) as rows:
                for row in rows:
                    if row["error"]:
                        raise RunFailedError(run_id, f"a unit could not be written: {row['error']}")
                    _add(tally, done, UnitFiles.from_json(row["files"]), row["tally"])
                    work.observer.ended.append(row["unit"])
                    progress.update(tally, total)
                    _check_rate(run_id, tally, total, limit)
        for model, units in tally.over_share.items():
            log.warning(
                "%s: an actor exceeded its share of GPU memory after %d units; raise its "
                "pool.num_gpus or lower its sequences or batch size",
                model,
                units,
            )
        # Documents are not compared with the plan: a damaged file becomes one failed row, however
        # many documents were planned for it.
        if lost := planned.keys() - done.keys():
            raise RunFailedError(run_id, f"{len(lost)} units were not returned; resume the run")
        paths = [f"documents/{done[unit].files[0].path}" for unit in planned]
        check_unique_ids(store.folder, run_id, paths)
        _check_drift(store, run_id, plan, tally, loaded.pipeline.enrich.max_drift)
        seconds = time.monotonic() - clock
        spent = timing(loaded, tally.busy - earlier, seconds, write_tasks(loaded))
        spent["balanced"] = _balanced(loaded, tally)

        def facts(live: Sequence[LiveUnit]) -> Mapping[str, Any]:
            return marker(run_id, loaded, plan, tally, live, started, seconds, spent)

        finished = FinishedRun(run_id, plan, loaded, done, facts)
        plain = loaded.pipeline.sink.format == "parquet"
        committed = store.commit_plain(finished) if plain else store.commit(finished)
    register_tables(store, loaded)
    return Outcome(run_id, tally, seconds, committed)


def register_tables(store: RunStore, loaded: LoadedPipeline) -> dict[str, int]:
    """Register the live files in Iceberg tables if ``sink.iceberg`` is set; the id of each
    one's snapshot. Raises NotRegisteredError; the run counts all the same."""
    settings = loaded.pipeline.sink.iceberg
    if settings is None:
        return {}
    from pipelines.tables.iceberg_catalog import register  # its library takes a second to import

    snapshots = register(store.snapshot(), settings)
    log.info("registered in %s: %s", settings.namespace, snapshots)
    return snapshots


def _balanced(loaded: LoadedPipeline, tally: Tally) -> dict[str, int]:
    if not ray.is_initialized() or len(loaded.pooled) < 2:
        return {}
    there = ray.cluster_resources()
    return balance(loaded, tally, int(there.get("GPU", 0.0)), there.get("CPU", 0.0))


def _check_rate(run_id: str, tally: Tally, total: int, limit: float) -> None:
    if tally.total >= min(_RATE_AFTER, total) and tally.failure_rate > limit:
        raise RunFailedError(
            run_id,
            f"{tally.documents['failed']} of {tally.total} documents failed, more than "
            f"max_failure_rate = {limit:g}: {_listed(tally)}",
        )


def _check_drift(
    store: RunStore, run_id: str, plan: RunPlan, tally: Tally, limit: float | None
) -> None:
    """Raise DriftError where a pass differs from the live runs by more than ``limit``. Failed
    documents that are tried again are no sample of the source, and are not compared."""
    increment = plan.increment
    if limit is None or increment is None or increment.only_retries:
        return
    before = live_profile(store.snapshot(plan.base).ledger)
    drift = compare_profiles(before, tally.profile)
    if drift.beyond(limit):
        raise DriftError(run_id, drift, limit)


def _add(tally: Tally, done: dict[str, UnitFiles], files: UnitFiles, counts: str = "") -> None:
    """Add a finished unit; ``counts`` overrides the counts in its files."""
    if files.unit in done:
        return  # Ray returned a row twice, or a resumed run saw the unit being written
    found = Tally.from_json(counts or files.facts)
    tally += found
    # Without the profile, of which the driver needs the sum alone: those of all units are large.
    done[files.unit] = replace(files, facts=json.dumps(found.as_dict()))


_SYSTEM_ERROR = re.compile(r"OSError: (\[Errno \d+\] [A-Za-z ]+)")
_TELLING = (DuplicateIdsError, StalledError, RunError, OSError)


@contextmanager
def _translate_errors(run_id: str) -> Iterator[None]:
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
