"""The plan of a run, as stored below the sink."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from pipelines.source.units import Slice, Unit

_EMPTY = -1
_SLICE = [
    ("uri", pa.string()),
    ("version", pa.string()),
    ("format", pa.string()),
    ("start", pa.int64()),
    ("count", pa.int64()),
]
_PLAN = pa.schema([("unit", pa.int64()), *_SLICE])


@dataclass(frozen=True, slots=True)
class Increment:
    """The effect of a run on the live units."""

    replaces: tuple[tuple[str, str], ...] = ()
    """Live units (run, unit) that are no longer live once this run is committed."""
    keep_models: bool = False
    """True if rows that another model or configuration made are carried over too."""
    retry_failed: bool = False
    """True if failed rows are done again rather than carried over."""
    changes: tuple[tuple[str, int], ...] = ()
    """Why: files new, changed, gone; units stale, failed."""

    @property
    def new_rows(self) -> bool:
        """True if there may be documents that no earlier run had."""
        changes = dict(self.changes)
        return bool(changes.get("new") or changes.get("changed"))

    @property
    def only_retries(self) -> bool:
        """True if no document is processed but those that failed before."""
        return not (self.new_rows or dict(self.changes).get("stale"))


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The plan of a run: its configuration as JSON, its units, the extra columns."""

    pipeline: str
    units: tuple[Unit, ...]
    keep: pa.Schema
    empty: tuple[Slice, ...] = ()
    """Files without a row: nothing to do, but known."""
    identity: str = ""
    """Of all that decides the output, see ``pipelines.runs.identity``."""
    base: str | None = None
    """The latest run when this one was planned, if there was any."""
    increment: Increment | None = None
    """None: the run covers its whole source, and replaces all that was live when it was planned."""
    passed_over: tuple[tuple[str, int], ...] = ()
    """Of a run over its whole source, how many files were passed over, by suffix."""
    source_snapshots: tuple[tuple[str, int], ...] = ()
    """Of tables the snapshot that was planned, by path: a Delta version, an Iceberg id."""
    vocabularies: tuple[Mapping[str, str], ...] = ()
    """Name, version and digest of each that codes are from."""
    key_check: str = ""
    """Digits that tell the key of de-identification from others, and nothing else about it."""

    def as_table(self) -> pa.Table:
        """The plan as one Parquet table."""
        numbered = [(i, part) for i, unit in enumerate(self.units) for part in unit.slices]
        numbered += [(_EMPTY, part) for part in self.empty]
        facts = {
            "identity": self.identity,
            "base": self.base,
            "increment": asdict(self.increment) if self.increment else None,
            "passed_over": dict(self.passed_over),
            "source_snapshots": dict(self.source_snapshots),
            "vocabularies": self.vocabularies,
            "key_check": self.key_check,
        }
        metadata = {
            "pipeline": self.pipeline.encode(),
            "keep": self.keep.serialize().to_pybytes(),
            "facts": json.dumps(facts).encode(),
        }
        columns: dict[str, list[Any]] = {"unit": [number for number, _ in numbered]}
        for name, _ in _SLICE:
            columns[name] = [getattr(part, name) for _, part in numbered]
        return pa.table(columns, schema=_PLAN.with_metadata(metadata))

    @classmethod
    def from_table(cls, table: pa.Table) -> RunPlan:
        """The reverse of ``as_table``."""
        units: dict[int, list[Slice]] = {}
        for row in table.to_pylist():
            units.setdefault(row.pop("unit"), []).append(Slice(**row))
        empty = units.pop(_EMPTY, [])
        metadata = table.schema.metadata
        facts = json.loads(metadata[b"facts"])
        increment = facts["increment"]
        if increment is not None:
            for name in ("replaces", "changes"):
                increment[name] = tuple(tuple(pair) for pair in increment[name])
        return cls(
            pipeline=metadata[b"pipeline"].decode(),
            units=tuple(Unit(tuple(slices)) for slices in units.values()),
            keep=pa.ipc.read_schema(pa.py_buffer(metadata[b"keep"])),
            empty=tuple(empty),
            identity=facts["identity"],
            base=facts["base"],
            increment=Increment(**increment) if increment is not None else None,
            passed_over=tuple(facts["passed_over"].items()),
            source_snapshots=tuple(facts["source_snapshots"].items()),
            vocabularies=tuple(facts["vocabularies"]),
            key_check=facts["key_check"],
        )
