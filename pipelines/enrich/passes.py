"""One pass of enrichment: decide, and do what was decided."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from actors.extractor import Extractor
from pipelines.batch.run import Outcome, Progress, drive_run, register_tables, write_plan
from pipelines.batch.stage_actor import Load
from pipelines.config import LoadedPipeline, Pipeline
from pipelines.enrich.decide import Decision, decide
from pipelines.runs.lease import Lease, LeaseHeldError
from pipelines.runs.plan import RunPlan
from pipelines.runs.store import RunStore
from pipelines.tables.unit_files import done_units

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pass:
    """The result of a pass; ``outcome`` is None if there was nothing to do."""

    changes: dict[str, int]
    outcome: Outcome | None = field(default=None)


def enrich_once(
    loaded: LoadedPipeline,
    progress: Progress,
    ray: AbstractContextManager[Any],
    load: Load = Extractor,
) -> Pass:
    """Bring the sink up to date with the source; ``ray`` is entered only when there is work.

    An earlier pass of this pipeline that was cut short is finished first. Raises LeaseHeldError
    where another process is enriching for the same pipeline, and what ``drive_run`` raises.
    """
    loaded.pipeline.storage.apply()
    store = RunStore(loaded.pipeline.sink.path)
    with Lease(store.folder, f"enrich-{loaded.pipeline.name}"):
        store.finish_pending()
        decision, run_id = _next(loaded, store)
        if run_id is None:
            register_tables(store, loaded)  # a pass before may have died between commit and this
            return Pass(decision.changes)
        with ray:
            return Pass(decision.changes, drive_run(store, run_id, progress, load))


def _next(loaded: LoadedPipeline, store: RunStore) -> tuple[Decision, str | None]:
    decision, pipeline = decide(loaded), loaded.pipeline
    plan = decision.plan
    if plan is None:
        return decision, None
    for run_id in reversed(store.open_runs()):
        if _taken_over(store, run_id, plan, pipeline):
            log.info("resuming %s, which was interrupted", run_id)
            return decision, run_id
    return decision, write_plan(loaded, plan)


def _taken_over(store: RunStore, run_id: str, plan: RunPlan, pipeline: Pipeline) -> bool:
    """True if an open run has become the run of this plan: units that it has done, and that are
    in the plan, need not be done again. Whatever else has changed in the lake since, a unit's id
    says which rows of which versions of files it covers."""
    try:
        with Lease(store.folder, f"run-{run_id}"):
            before = store.plan(run_id)
            same = plan.units == before.units or not _planned(plan).isdisjoint(
                done_units(store.folder, run_id).keys() & _planned(before)
            )
            if not same or not _same_work(before, plan):
                return False
            # Equal identities: the same vocabularies and the same key.
            plan = replace(plan, vocabularies=before.vocabularies, key_check=before.key_check)
            store.begin(run_id, plan, pipeline.sink.entity_columns, pipeline.deidentify)
            return True
    except LeaseHeldError:
        return False


def _planned(plan: RunPlan) -> set[str]:
    return {unit.id for unit in plan.units}


def _same_work(before: RunPlan, now: RunPlan) -> bool:
    """True if a unit of the one has the rows that it would have in the other."""
    if before.identity != now.identity or (before.increment is None) != (now.increment is None):
        return False
    if before.increment is None or now.increment is None:
        return True
    # Rows of other models are carried over from what was live: then that must be the same, too.
    return (
        before.increment.keep_models == now.increment.keep_models
        and before.increment.retry_failed == now.increment.retry_failed
        and (not now.increment.keep_models or before.base == now.base)
    )
