"""The change that a run commits: its plan and counts on top of the latest snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.compute as pc

from actors.spans import Status
from pipelines.config import LoadedPipeline
from pipelines.runs.plan import RunPlan
from pipelines.runs.precommit import check_moved, taken_ids
from pipelines.runs.tally import Tally
from pipelines.source.listing import list_source
from pipelines.source.units import Slice
from pipelines.tables.commit import Change
from pipelines.tables.delta_table import UnitKey
from pipelines.tables.folder import RunError
from pipelines.tables.ledger import LiveUnit
from pipelines.tables.snapshot import Snapshot, keys_of
from pipelines.tables.unit_files import UnitFiles

Facts = Callable[[Sequence[LiveUnit]], Mapping[str, Any]]
"""Computes the facts of a run from the units that are live after it."""


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run with all units done, and all that its commit needs."""

    run_id: str
    plan: RunPlan
    loaded: LoadedPipeline
    done: Mapping[str, UnitFiles]
    facts: Facts

    def change(self, snapshot: Snapshot) -> Change:
        """Return the change on top of a snapshot.

        Raises RunError where a run that was committed since this one was planned covers the same
        files or replaced the same units, and DuplicateIdsError where it has the same documents.
        """
        self._check_standing(snapshot)
        live = {one.key: one for one in snapshot.units}
        replaced = self._replaced(snapshot, live)
        self._check_files(snapshot, live, replaced)
        moved = _with_counterparts(snapshot, self._moved(snapshot, live, replaced))
        mine = self.units(live, snapshot.ledger.number + 1)
        lighter = [_without(snapshot, live[key], ids) for key, ids in moved.items()]
        stay = [one for key, one in live.items() if key not in replaced and key not in moved]
        return Change(
            files=tuple(file for done in self.done.values() for file in done.files),
            units=(*mine, *lighter),
            replaced=frozenset(replaced),
            moved=moved,
            identity=self.plan.identity,
            empty=self.plan.empty,
            facts=self.facts([*stay, *mine, *lighter]),
        )

    def _check_standing(self, snapshot: Snapshot) -> None:
        """A driver that was stopped for days may wake to find its run discarded."""
        there = snapshot.folder.sizes(f"documents/{self.run_id}").keys()
        files = (file for done in self.done.values() for file in done.files[:1])
        if not {file.path.rpartition("/")[2] for file in files} <= there:
            raise RunError(
                f"files of {self.run_id} are gone: it was discarded meanwhile; begin a new run"
            )

    def _replaced(self, snapshot: Snapshot, live: Mapping[UnitKey, LiveUnit]) -> set[UnitKey]:
        if self.plan.increment is None:
            runs = snapshot.ledger.runs
            known = runs[: runs.index(self.plan.base) + 1] if self.plan.base in runs else []
            return {key for key in live if key[0] in set(known)}
        replaced = set(self.plan.increment.replaces)
        gone = replaced - live.keys()
        if gone:
            raise RunError(
                f"{snapshot.run_id} was committed while {self.run_id} worked on top of "
                f"{self.plan.base}, and {len(gone)} units that both replace are gone; discard "
                "this run and begin again"
            )
        return replaced

    def _check_files(
        self, snapshot: Snapshot, live: Mapping[UnitKey, LiveUnit], replaced: set[UnitKey]
    ) -> None:
        mine: dict[str, list[Slice]] = {}
        for unit in self.plan.units:
            for part in unit.slices:
                mine.setdefault(part.uri, []).append(part)
        runs = snapshot.ledger.runs
        since = set(runs[runs.index(self.plan.base) + 1 :] if self.plan.base in runs else runs)
        both = {
            part.uri
            for key, one in live.items()
            if key not in replaced and one.run_id in since
            for part in one.slices
            if any(_overlap(part, other) for other in mine.get(part.uri, ()))
        }
        if both:
            raise RunError(
                f"{snapshot.run_id} was committed while {self.run_id} worked on top of "
                f"{self.plan.base or 'an empty sink'}, and both cover {len(both)} files, such as "
                f"{min(both)}; discard this run and begin again"
            )

    def _moved(
        self, snapshot: Snapshot, live: Mapping[UnitKey, LiveUnit], replaced: set[UnitKey]
    ) -> dict[UnitKey, tuple[str, ...]]:
        pipeline = self.loaded.pipeline
        others = self.plan.increment is None and live.keys() - replaced
        rows = self.plan.increment is not None and self.plan.increment.new_rows
        if not (pipeline.enrich.unique_ids == "lake" and pipeline.source.id and (rows or others)):
            return {}
        paths = [
            f"documents/{file.path}"
            for done in self.done.values()
            for file in done.files
            if file.table == "documents"
        ]
        taken = taken_ids(snapshot, replaced, paths)
        if taken:
            files = list_source(pipeline.source).files
            check_moved(self.run_id, live, taken, {file.uri for file in files})
        return taken

    def units(
        self, live: Mapping[UnitKey, LiveUnit] | None = None, number: int = 1
    ) -> list[LiveUnit]:
        """Its units. ``live``: those that it may replace; ``number``: of its commit."""
        # Rows that are carried over may be of another identity: their unit is then as stale.
        older: dict[str, str] = {}
        increment = self.plan.increment
        if increment is not None and increment.keep_models:
            for key in increment.replaces:
                was = (live or {})[key]
                if was.identity != self.plan.identity:
                    older |= {part.uri: was.identity for part in was.slices}
        units = []
        for unit in self.plan.units:
            tally = Tally.from_json(self.done[unit.id].facts)
            found = [older[part.uri] for part in unit.slices if part.uri in older]
            units.append(
                LiveUnit(
                    run_id=self.run_id,
                    unit=unit.id,
                    identity=found[0] if found else self.plan.identity,
                    documents=tally.total,
                    failed=tally.documents[Status.FAILED.value],
                    slices=unit.slices,
                    number=number,
                    entities=sum(tally.entities.values()),
                    failures=dict(tally.failures),
                )
            )
        return units


def _overlap(one: Slice, other: Slice) -> bool:
    """True if two slices of a file have a row in common, or are of different versions of it."""
    apart = one.start + one.count <= other.start or other.start + other.count <= one.start
    return one.version != other.version or not apart


def _with_counterparts(
    snapshot: Snapshot, moved: dict[UnitKey, tuple[str, ...]]
) -> dict[UnitKey, tuple[str, ...]]:
    """The ids of documents of some units, with those of their de-identified counterparts."""
    if not moved or "reidentification" not in snapshot.names:
        return moved
    found = {key: [*ids] for key, ids in moved.items()}
    names = ["doc_id", "deidentified_id", "run_id", "unit"]
    for file, keys in keys_of(snapshot.folder, snapshot.table("reidentification"), moved):
        rows = snapshot.folder.read_table(f"reidentification/{file.path}", names)
        for row in rows.to_pylist():
            key = row["run_id"], row["unit"]
            if key in keys and row["doc_id"] in moved[key]:
                found[key].append(row["deidentified_id"])
    return {key: tuple(ids) for key, ids in found.items()}


def _without(snapshot: Snapshot, unit: LiveUnit, ids: Sequence[str]) -> LiveUnit:
    """A live unit after some of its documents have moved away."""
    mine = (pc.field("run_id") == unit.run_id) & (pc.field("unit") == unit.unit)
    rows = [
        row
        for path in snapshot.paths("documents", [unit.key])[unit.key]
        for row in snapshot.folder.read_table(
            path, ["doc_id", "run_id", "unit", "status", "error_type", "entity_count"], mine
        ).to_pylist()
        if row["doc_id"] in set(ids)
    ]
    failures = dict(unit.failures)
    for row in rows:
        if row["error_type"]:
            failures[row["error_type"]] = failures.get(row["error_type"], 0) - 1
    return replace(
        unit,
        documents=unit.documents - len(rows),
        failed=unit.failed - sum(row["status"] == Status.FAILED.value for row in rows),
        entities=unit.entities - sum(row["entity_count"] for row in rows),
        failures={kind: count for kind, count in failures.items() if count > 0},
    )
