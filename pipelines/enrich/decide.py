"""Plan an increment by comparing a listing with the live units; no file is read for that."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from actors.config import ConfigError
from pipelines.batch.describe import check_source
from pipelines.config import LoadedPipeline, Pipeline, Source
from pipelines.runs.identity import pipeline_fingerprint
from pipelines.runs.plan import Increment, RunPlan
from pipelines.runs.precommit import live_ids
from pipelines.runs.store import RunStore
from pipelines.source.duplicates import TakenIds, no_ids_taken
from pipelines.source.listing import Listing, SourceFile, list_source
from pipelines.source.units import DUPLICATE, Slice, Unit, plan_source
from pipelines.tables.folder import RunError
from pipelines.tables.ledger import LiveUnit
from pipelines.tables.snapshot import Snapshot

log = logging.getLogger(__name__)
# Below this many files a share of lost ones is no evidence.
_LOST_AFTER = 20


@dataclass(frozen=True, slots=True)
class Decision:
    """The plan of an increment; ``plan`` is None if there is nothing to do."""

    plan: RunPlan | None
    changes: dict[str, int]
    """Files new, changed, gone, unchanged; units stale, failed."""

    @property
    def documents(self) -> int:
        """Rows to read; those that did not change are carried over."""
        return sum(unit.rows for unit in self.plan.units) if self.plan else 0


def decide(loaded: LoadedPipeline) -> Decision:
    """Compare the source with what is live in the sink.

    Lists both and opens new and changed files alone, to count their rows. Without a committed run
    everything is new. Raises ConfigError, also where so many files have vanished at once that
    a wrong path or a missing mount is likelier.
    """
    pipeline = loaded.pipeline
    pipeline.storage.apply()
    if pipeline.sink.format == "parquet":
        raise ConfigError(
            "sink.format: plain Parquet files have one full run; `medspan enrich` needs delta"
        )
    store = RunStore(pipeline.sink.path)
    identity = pipeline_fingerprint(loaded)
    snapshot = store.snapshot()
    if not snapshot.ledger.runs:
        source = plan_source(pipeline.source, mix=pipeline.enrich.deleted == "drop")
        check_source(loaded, source)
        plan = RunPlan(
            loaded.as_json(),
            source.units,
            source.keep,
            source.empty,
            identity,
            passed_over=tuple(source.skipped.items()),
            source_snapshots=tuple(source.snapshots.items()),
        )
        return Decision(plan, {"new": len(source.files)})
    found = _compare(loaded, snapshot)
    stale = pipeline.enrich.on_model_change == "reprocess"
    retry = pipeline.enrich.failed == "retry"
    replaces, units, counts = _affected(snapshot.units, found, identity if stale else None, retry)
    changes = {
        "new": len(found.new),
        "changed": len(found.changed),
        "gone": len(found.gone) if pipeline.enrich.deleted == "drop" else 0,
        "unchanged": found.unchanged,
        **counts,
    }
    if not (replaces or found.new or found.changed or changes["gone"]):
        return Decision(None, changes)
    keep, empty = pa.schema([]), list(found.empty)
    # Changed files first: of two rows with an id, the one that had it before keeps it.
    if files := [*found.changed, *found.new]:
        fresh = plan_source(
            pipeline.source,
            files,
            mix=pipeline.enrich.deleted == "drop",
            taken=_taken(pipeline, snapshot, found),
        )
        check_source(loaded, fresh)
        keep = fresh.keep
        units.extend(fresh.units)
        empty.extend(fresh.empty)
    increment = Increment(
        replaces=tuple(replaces),
        keep_models=not stale,
        retry_failed=retry,
        changes=tuple(changes.items()),
    )
    plan = RunPlan(
        loaded.as_json(),
        tuple(units),
        keep if files else _kept(pipeline.source, units, found.files),
        tuple(empty),
        identity,
        snapshot.run_id,
        increment,
        source_snapshots=tuple(found.listing.snapshots.items()),
    )
    return Decision(plan, changes)


def decide_retry(loaded: LoadedPipeline, run_id: str) -> RunPlan:
    """The failed documents of a run, alone; the others of their units are carried over.

    Units of files that changed or are gone are logged, and left to ``medspan enrich``. Raises
    RunError where the run is not committed, or nothing is left to do.
    """
    pipeline = loaded.pipeline
    pipeline.storage.apply()
    store = RunStore(pipeline.sink.path)
    store.finish_pending()
    snapshot = store.snapshot()
    snapshot.ledger.facts(run_id)  # whether there is such a run
    failing = [one for one in snapshot.units if one.run_id == run_id and one.failed]
    if not failing:
        others = sorted({one.run_id for one in snapshot.units if one.failed})
        hint = f"; runs with failed documents: {', '.join(others[-3:])}" if others else ""
        raise RunError(f"{store.path}: {run_id} has no failed documents left{hint}")
    listing = list_source(pipeline.source)
    files = {file.uri: file for file in listing.files}
    chosen = [
        one
        for one in failing
        if all(p.uri in files and files[p.uri].version == p.version for p in one.slices)
    ]
    if len(chosen) < len(failing):
        message = (
            f"{len(failing) - len(chosen)} of {len(failing)} units with failed documents of "
            f"{run_id} are from files that have changed or are gone; `medspan enrich` handles these"
        )
        if not chosen:
            raise RunError(f"{store.path}: {message}")
        log.warning("%s", message)
    changes = {"failed": sum(one.failed for one in chosen)}
    units = tuple(Unit(one.slices) for one in chosen)
    return RunPlan(
        loaded.as_json(),
        units,
        _kept(pipeline.source, units, files),
        snapshot.ledger.empty,
        pipeline_fingerprint(loaded),
        snapshot.run_id,
        Increment(
            replaces=tuple(one.key for one in chosen),
            keep_models=True,
            retry_failed=True,
            changes=tuple(changes.items()),
        ),
        source_snapshots=tuple(listing.snapshots.items()),
    )


@dataclass(frozen=True, slots=True)
class _Compared:
    new: Sequence[SourceFile]
    changed: Sequence[SourceFile]
    gone: frozenset[str]
    drop: bool
    """True if the rows of files that are gone leave the tables."""
    unchanged: int
    listing: Listing
    files: Mapping[str, SourceFile]
    """All files of the source, by URI."""
    empty: Sequence[Slice]
    """Known files without a row that are as they were."""

    @property
    def touched(self) -> set[str]:
        return {file.uri for file in self.changed} | (self.gone if self.drop else frozenset())


def _compare(loaded: LoadedPipeline, snapshot: Snapshot) -> _Compared:
    source, policy = loaded.pipeline.source, loaded.pipeline.enrich
    listing = list_source(source)
    files = {file.uri: file for file in listing.files}
    empty = [
        part
        for part in snapshot.ledger.empty
        if part.uri in files and files[part.uri].version == part.version
    ]
    known = {part.uri: part.version for part in snapshot.ledger.empty}
    known |= {part.uri: part.version for one in snapshot.units for part in one.slices}
    new = [file for uri, file in files.items() if uri not in known]
    changed = [f for uri, f in files.items() if uri in known and known[uri] != f.version]
    gone = frozenset(known.keys() - files.keys())
    drop = policy.deleted == "drop"
    if changed or (gone and drop):
        again = _held_back(snapshot, files) - {file.uri for file in changed}
        changed += [files[uri] for uri in sorted(again)]
        empty = [part for part in empty if part.uri not in again]
    limit = policy.max_deleted_share
    if drop and len(gone) >= _LOST_AFTER and len(gone) > limit * len(known):
        raise ConfigError(
            f"source.path: {len(gone)} of {len(known)} files are gone, more than "
            f"enrich.max_deleted_share = {limit:g}; is the path right, and the lake mounted?"
        )
    unchanged = len(files) - len(new) - len(changed)
    return _Compared(new, changed, gone, drop, unchanged, listing, files, empty)


def _held_back(snapshot: Snapshot, files: Mapping[str, SourceFile]) -> set[str]:
    """The files with rows that were left out because another document had their id: it may have
    lost it, now that files have changed."""
    slices = [*snapshot.ledger.empty, *(part for one in snapshot.units for part in one.slices)]
    held = {part.uri for part in slices if part.format.startswith(DUPLICATE)}
    return held & files.keys()


def _affected(
    live: Iterable[LiveUnit], found: _Compared, wanted: str | None, retry: bool
) -> tuple[list[tuple[str, str]], list[Unit], dict[str, int]]:
    """The units that are replaced, what of them is to be done again, and why. ``wanted``: the
    identity that units must have, None where any will do."""
    replaces: list[tuple[str, str]] = []
    units: list[Unit] = []
    counts = {"stale": 0, "failed": 0}
    for one in live:
        uris = {part.uri for part in one.slices}
        stale = wanted is not None and one.identity != wanted
        failed = retry and one.failed > 0
        hit = not uris.isdisjoint(found.touched)
        if not found.drop and not uris.isdisjoint(found.gone):
            if hit:
                raise ConfigError(
                    f"{one.run_id}: a unit has files that are gone and one that has changed, and "
                    "was written without `enrich.deleted: keep`; do a full `medspan run`"
                )
            continue  # it stays as it is, and there is nothing to read it from again
        if not (hit or stale or failed):
            continue
        counts["stale"] += stale
        counts["failed"] += failed
        replaces.append(one.key)
        rest = tuple(part for part in one.slices if part.uri not in found.touched)
        if rest:
            units.append(Unit(rest))
    return replaces, units, counts


def _taken(pipeline: Pipeline, snapshot: Snapshot, found: _Compared) -> TakenIds:
    """The ids that live documents keep: those of files that are as they were."""
    if pipeline.enrich.unique_ids != "lake":
        return no_ids_taken
    staying = found.files.keys() - {file.uri for file in (*found.new, *found.changed)}
    return lambda ids: live_ids(snapshot, ids, staying)


def _kept(source: Source, units: Sequence[Unit], files: Mapping[str, SourceFile]) -> pa.Schema:
    """The columns of ``source.extra_columns`` with their types, by one file of the units."""
    if not source.extra_columns or not units:
        return pa.schema([])
    return plan_source(source, [files[units[0].slices[0].uri]]).keep
