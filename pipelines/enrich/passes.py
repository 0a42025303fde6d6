"""One pass of enrichment: decide, and do what was decided."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from actors.extractor import Extractor
from pipelines.batch import Outcome, Progress, drive_run, write_plan
from pipelines.batch.stage import Load
from pipelines.config import LoadedPipeline
from pipelines.enrich.decide import Decision, decide
from pipelines.lake.layout import Sink
from pipelines.lake.lease import Lease

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pass:
    """What a pass came to: ``outcome`` is None where there was nothing to do."""

    changes: dict[str, int]
    outcome: Outcome | None = field(default=None)


def enrich(
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
    sink = Sink(loaded.pipeline.sink.path)
    with Lease(sink, f"enrich-{loaded.pipeline.name}"):
        decision, run_id = _next(loaded, sink)
        if run_id is None:
            return Pass(decision.changes)
        with ray:
            return Pass(decision.changes, drive_run(sink, run_id, progress, load))


def _next(loaded: LoadedPipeline, sink: Sink) -> tuple[Decision, str | None]:
    decision = decide(loaded)
    if decision.plan is None:
        return decision, None
    for run_id in reversed(sink.open_runs()):
        plan = sink.plan(run_id)
        # The same work, to the unit: what of it is done need not be done again.
        if (
            plan.units == decision.plan.units
            and plan.increment == decision.plan.increment
            and plan.fingerprint == decision.plan.fingerprint
        ):
            log.info("going on with %s, which was cut short", run_id)
            return decision, run_id
    return decision, write_plan(loaded, decision.plan)
