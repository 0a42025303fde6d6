"""What an increment has to do: a listing against what holds, and nothing is read to decide."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from actors.config import ConfigError
from pipelines.batch.describe import check_reader
from pipelines.config import LoadedPipeline
from pipelines.lake.fingerprint import pipeline_fingerprint
from pipelines.lake.layout import RunError, Sink
from pipelines.lake.plan import Increment, Plan
from pipelines.lake.state import Held, read_state
from pipelines.source.files import SourceFile
from pipelines.source.units import Slice, SourcePlan, Unit, plan_source, source_files

log = logging.getLogger(__name__)
# Below this many files a share of lost ones says little.
_LOST_AFTER = 20


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do; ``plan`` is None where there is nothing."""

    plan: Plan | None
    changes: dict[str, int]
    """Files new, changed, gone, unchanged; units stale, failed."""

    @property
    def documents(self) -> int:
        """Rows to read; those that did not change are carried over."""
        return sum(unit.rows for unit in self.plan.units) if self.plan else 0


def decide(loaded: LoadedPipeline) -> Decision:
    """Compare the source with what holds in the sink.

    Lists both and opens new and changed files alone, to count their rows. Without a committed run
    everything is new. Raises ConfigError, also where so many files have vanished at once that
    a wrong path or a missing mount is likelier.
    """
    pipeline = loaded.pipeline
    pipeline.storage.apply()
    sink = Sink(pipeline.sink.path)
    fingerprint = pipeline_fingerprint(loaded)
    if not sink.committed():
        source = plan_source(pipeline.source, mix=pipeline.enrich.deleted == "drop")
        check_reader(loaded, source)
        plan = Plan(loaded.as_json(), source.units, source.keep, source.empty, fingerprint)
        return Decision(plan, {"new": len(source.files)})
    base = sink.latest()
    state = read_state(sink, base)
    found = _compare(loaded, state)
    stale = pipeline.enrich.on_model_change == "reprocess"
    retry = pipeline.enrich.failed == "retry"
    replaces, units, counts = _affected(state, found, fingerprint if stale else None, retry)
    changes = {
        "new": len(found.new),
        "changed": len(found.changed),
        "gone": len(found.gone) if pipeline.enrich.deleted == "drop" else 0,
        "unchanged": found.unchanged,
        **counts,
    }
    if not (replaces or found.new or found.changed or changes["gone"]):
        return Decision(None, changes)
    keep, empty = sink.plan(base).keep, list(found.empty)
    if files := [*found.new, *found.changed]:
        fresh = plan_source(pipeline.source, files, mix=pipeline.enrich.deleted == "drop")
        check_reader(loaded, fresh)
        keep = _same(keep, fresh)
        units.extend(fresh.units)
        empty.extend(fresh.empty)
    increment = Increment(
        base=base,
        replaces=tuple(replaces),
        keep_models=not stale,
        retry_failed=retry,
        changes=tuple(changes.items()),
    )
    plan = Plan(loaded.as_json(), tuple(units), keep, tuple(empty), fingerprint, increment)
    return Decision(plan, changes)


def decide_retry(loaded: LoadedPipeline, run_id: str) -> Plan:
    """The failed documents of a run, alone; the others of their units are carried over.

    Units whose files have changed or are gone are left to ``medspan enrich``, and logged. Raises
    RunError where the run is not committed, or nothing is left to do.
    """
    pipeline = loaded.pipeline
    pipeline.storage.apply()
    sink = Sink(pipeline.sink.path)
    base = sink.latest()
    sink.marker(run_id)  # whether there is such a run
    state = read_state(sink, base)
    failing = [held for held in state if held.run_id == run_id and held.failed]
    if not failing:
        others = sorted({held.run_id for held in state if held.failed})
        hint = f"; there are some of {', '.join(others[-3:])}" if others else ""
        raise RunError(f"{sink.path}: no failed document of {run_id} holds now{hint}")
    there = {file.uri: file.version for file in source_files(pipeline.source)}
    chosen = [h for h in failing if all(there.get(p.uri) == p.version for p in h.slices)]
    if len(chosen) < len(failing):
        told = (
            f"{len(failing) - len(chosen)} of {len(failing)} units with failed documents of "
            f"{run_id} are of files that have changed or are gone: `medspan enrich` does these"
        )
        if not chosen:
            raise RunError(f"{sink.path}: {told}")
        log.warning("%s", told)
    changes = {"failed": sum(held.failed for held in chosen)}
    return Plan(
        loaded.as_json(),
        tuple(Unit(held.slices) for held in chosen),
        sink.plan(base).keep,
        tuple(part for h in state if not h.unit for part in h.slices),
        pipeline_fingerprint(loaded),
        Increment(
            base=base,
            replaces=tuple((held.run_id, held.unit) for held in chosen),
            keep_models=True,
            retry_failed=True,
            changes=tuple(changes.items()),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Compared:
    new: Sequence[SourceFile]
    changed: Sequence[SourceFile]
    gone: frozenset[str]
    drop: bool
    """Whether the rows of files that are gone hold no longer."""
    unchanged: int
    empty: Sequence[Slice]
    """Known files without a row that are as they were."""

    @property
    def touched(self) -> set[str]:
        return {file.uri for file in self.changed} | (self.gone if self.drop else frozenset())


def _compare(loaded: LoadedPipeline, state: Iterable[Held]) -> _Compared:
    source, policy = loaded.pipeline.source, loaded.pipeline.enrich
    files = {file.uri: file for file in source_files(source)}
    known: dict[str, str] = {}
    empty: list[Slice] = []
    for held in state:
        for part in held.slices:
            known[part.uri] = part.version
            there = files.get(part.uri)
            if not held.unit and there is not None and there.version == part.version:
                empty.append(part)
    new = [file for uri, file in files.items() if uri not in known]
    changed = [f for uri, f in files.items() if uri in known and known[uri] != f.version]
    gone = frozenset(known.keys() - files.keys())
    limit = policy.max_deleted_share
    if policy.deleted == "drop" and len(gone) >= _LOST_AFTER and len(gone) > limit * len(known):
        raise ConfigError(
            f"source.path: {len(gone)} of {len(known)} files are gone, more than "
            f"enrich.max_deleted_share = {limit:g}; is the path right, and the lake mounted?"
        )
    unchanged = len(files) - len(new) - len(changed)
    return _Compared(new, changed, gone, policy.deleted == "drop", unchanged, empty)


def _affected(
    state: Iterable[Held], found: _Compared, wanted: str | None, retry: bool
) -> tuple[list[tuple[str, str]], list[Unit], dict[str, int]]:
    """The units that no longer hold, what of them is to be done again, and why. ``wanted``: the
    fingerprint that units must have, None where any will do."""
    replaces: list[tuple[str, str]] = []
    units: list[Unit] = []
    counts = {"stale": 0, "failed": 0}
    for held in state:
        if not held.unit:
            continue
        uris = {part.uri for part in held.slices}
        stale = wanted is not None and held.fingerprint != wanted
        failed = retry and held.failed > 0
        hit = not uris.isdisjoint(found.touched)
        if not found.drop and not uris.isdisjoint(found.gone):
            if hit:
                raise ConfigError(
                    f"{held.run_id}: a unit holds files that are gone and one that has changed; "
                    "enrich.deleted was not `keep` when it was made: do a full `medspan run`"
                )
            continue  # it holds as it is, and there is nothing to read it from again
        if not (hit or stale or failed):
            continue
        counts["stale"] += stale
        counts["failed"] += failed
        replaces.append((held.run_id, held.unit))
        rest = tuple(part for part in held.slices if part.uri not in found.touched)
        if rest:
            units.append(Unit(rest))
    return replaces, units, counts


def _same(keep: pa.Schema, fresh: SourcePlan) -> pa.Schema:
    if not fresh.keep.equals(keep):
        raise ConfigError(
            "source.keep: the columns are not those of the runs before, or have other types; "
            "do a full `medspan run`"
        )
    return keep
