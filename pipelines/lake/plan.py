"""What a run set out to do, as it is kept in storage."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from pipelines.source.units import Slice, Unit

_EMPTY = -1
SLICE = [
    ("uri", pa.string()),
    ("version", pa.string()),
    ("format", pa.string()),
    ("start", pa.int64()),
    ("count", pa.int64()),
]
_PLAN = pa.schema([("unit", pa.int64()), *SLICE])


@dataclass(frozen=True, slots=True)
class Increment:
    """What a run builds on and what it takes the place of."""

    base: str
    """The committed run whose state it starts from."""
    replaces: tuple[tuple[str, str], ...] = ()
    """Units (run, unit) of that state which no longer hold once this run is committed."""
    keep_models: bool = False
    """Whether rows that another model or configuration made are carried over too."""
    retry_failed: bool = False
    """Whether failed rows are done again rather than carried over."""
    changes: tuple[tuple[str, int], ...] = ()
    """Why: files new, changed, gone; units stale, failed."""

    @property
    def new_rows(self) -> bool:
        """Whether there may be documents that no earlier run had."""
        changes = dict(self.changes)
        return bool(changes.get("new") or changes.get("changed"))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run set out to do: its configuration as JSON, its units, the kept columns."""

    pipeline: str
    units: tuple[Unit, ...]
    keep: pa.Schema
    empty: tuple[Slice, ...] = ()
    """Files without a row: nothing to do, but known."""
    fingerprint: str = ""
    """Of all that decides the output, see ``pipelines.lake.fingerprint``."""
    increment: Increment | None = None
    """None: the run covers its whole source and replaces all that was."""

    def as_table(self) -> pa.Table:
        """The plan as one Parquet table."""
        numbered = [(i, part) for i, unit in enumerate(self.units) for part in unit.slices]
        numbered += [(_EMPTY, part) for part in self.empty]
        facts = {
            "fingerprint": self.fingerprint,
            "increment": asdict(self.increment) if self.increment else None,
        }
        metadata = {
            "pipeline": self.pipeline.encode(),
            "keep": self.keep.serialize().to_pybytes(),
            "facts": json.dumps(facts).encode(),
        }
        return slice_table(
            ((part, {"unit": number}) for number, part in numbered),
            _PLAN.with_metadata(metadata),
        )

    @classmethod
    def from_table(cls, table: pa.Table) -> Plan:
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
            fingerprint=facts["fingerprint"],
            increment=Increment(**increment) if increment is not None else None,
        )


def slice_table(rows: Iterable[tuple[Slice, dict[str, Any]]], schema: pa.Schema) -> pa.Table:
    """Slices and further columns as a table."""
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    for part, more in rows:
        for name, _ in SLICE:
            columns[name].append(getattr(part, name))
        for name, value in more.items():
            columns[name].append(value)
    return pa.table(columns, schema=schema)
