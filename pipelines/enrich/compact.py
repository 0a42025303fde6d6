"""Compaction: the many small units that increments leave become few of the usual size.

Rows are copied from table to table; no source is read and no model asked. The result is a commit
like any other: readers of earlier ones are not disturbed, and ``medspan runs vacuum`` removes what
nothing needs any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pipelines.batch.finish import Tally
from pipelines.batch.marker import marker
from pipelines.config import LoadedPipeline
from pipelines.lake.layout import RunError, Sink, ahead, new_run_id
from pipelines.lake.lease import Lease
from pipelines.lake.plan import Increment, Plan
from pipelines.lake.rewrite import rewrite
from pipelines.lake.state import Held, read_state, write_state
from pipelines.source.units import Unit

_COMMIT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a compaction came to; ``run_id`` is None where there was nothing to do."""

    run_id: str | None
    before: int
    """Units that held."""
    after: int
    """Units that hold now."""


def compact(sink: Sink) -> Compacted:
    """Make whole units of the small ones of the latest commit.

    A unit is small with at most half of ``source.unit_rows`` documents (``unit_images``), and the
    new ones keep to these and to ``source.unit_mb``. Units of different
    fingerprints are not joined, since a new model makes them stale one by one; and none is where
    the pipeline keeps documents of files that are gone, since then no unit may mix files. Raises
    LeaseHeldError while a pass of enrichment is under way, and RunError where another run was
    committed meanwhile: then nothing has changed.
    """
    started = datetime.now(UTC)
    with Lease(sink, f"enrich-{sink.marker(sink.latest())['name']}"):
        base = sink.latest()
        plan, state = sink.plan(base), read_state(sink, base)
        loaded = LoadedPipeline.from_json(plan.pipeline)
        units = sum(1 for held in state if held.unit)
        groups = list(_groups(sink, state, loaded))
        if not groups:
            return Compacted(None, units, units)
        replaced = tuple((held.run_id, held.unit) for group in groups for held in group)
        joined = tuple(Unit(tuple(p for held in group for p in held.slices)) for group in groups)
        work = Plan(
            plan.pipeline,
            joined,
            plan.keep,
            tuple(part for held in state if not held.unit for part in held.slices),
            plan.fingerprint,
            Increment(base, replaced, keep_models=True, changes=(("compacted", len(replaced)),)),
        )
        run_id = new_run_id()
        sink.begin(run_id, work)
        tally, made = Tally(), list[Held]()
        for group in groups:
            unit = rewrite(sink, run_id, group)
            made.append(unit.held)
            tally += Tally.from_dict(unit.facts)
        gone = set(replaced)
        after = [held for held in state if (held.run_id, held.unit) not in gone] + made
        seconds = (datetime.now(UTC) - started).total_seconds()
        with Lease(sink, "commit", wait=_COMMIT_SECONDS):
            if sink.latest() != base:
                sink.discard(run_id)
                raise RunError(f"{sink.path}: {sink.latest()} was committed meanwhile; try again")
            write_state(sink, run_id, after)
            spent = {"seconds": round(seconds, 3), "stages": {}, "busiest": None}
            facts = marker(run_id, loaded, work, tally, after, started, seconds, spent)
            sink.commit(run_id, facts | {"kind": "compaction"})
    return Compacted(run_id, units, units - len(replaced) + len(made))


def _groups(sink: Sink, state: Iterable[Held], loaded: LoadedPipeline) -> Iterator[list[Held]]:
    """Neighbours of one fingerprint that together make a unit of no more than the usual size."""
    pipeline = loaded.pipeline
    if pipeline.enrich.deleted == "keep":
        return
    source, most_bytes = pipeline.source, pipeline.source.unit_mb * 1e6

    def most(held: Held) -> int:
        pictures = source.image or any(part.format == "image" for part in held.slices)
        return source.unit_images if pictures else source.unit_rows

    small = [held for held in state if held.unit and held.documents <= most(held) // 2]
    sizes = ahead(lambda held: sink.size(held.run_id, "documents", held.unit), small)
    open_: dict[tuple[str, int], tuple[list[Held], list[int]]] = {}
    for held, size in zip(small, sizes, strict=True):
        group, bytes_ = open_.setdefault((held.fingerprint, most(held)), ([], []))
        full = sum(one.documents for one in group) + held.documents > most(held)
        if full or sum(bytes_) + size > most_bytes:
            if len(group) > 1:
                yield list(group)
            group.clear()
            bytes_.clear()
        group.append(held)
        bytes_.append(size)
    yield from (group for group, _ in open_.values() if len(group) > 1)
