"""The ledger: one version of the table ``units``, with the live units and the committed runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.source.units import Slice
from pipelines.tables.delta_table import TableVersion, UnitKey
from pipelines.tables.folder import RunError, SinkFolder, ahead
from pipelines.tables.schema import UNITS

_LIVE = [
    *("run_id", "number", "unit", "identity", "documents", "failed", "entities"),
    *("failures", "slices"),
]


@dataclass(frozen=True, slots=True)
class LiveUnit:
    """A unit with rows in the snapshot: its run and file, and its counts."""

    run_id: str
    unit: str
    identity: str
    documents: int
    failed: int
    slices: tuple[Slice, ...]
    number: int = 0
    """Of the commit of its run."""
    entities: int = 0
    failures: Mapping[str, int] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> UnitKey:
        """The run and the unit, which together tell it from all others."""
        return self.run_id, self.unit


class Ledger:
    """The ledger: a version of the table ``units``; empty without a table."""

    def __init__(self, folder: SinkFolder, table: TableVersion | None) -> None:
        self._folder = folder
        self.table = table

    @property
    def number(self) -> int:
        """The number of commits of runs."""
        return self.table.number if self.table is not None else 0

    @cached_property
    def runs(self) -> list[str]:
        """The runs that count, in the order of their commits."""
        rows = self._read(["run_id", "number", "unit"], pc.field("unit").is_null())
        return rows.sort_by("number")["run_id"].to_pylist()  # type: ignore[no-any-return]

    def facts(self, run_id: str) -> dict[str, Any]:
        """Return the facts of a run. Raises RunError if it is not committed."""
        mine = pc.field("unit").is_null() & (pc.field("run_id") == run_id)
        rows = self._read(["facts", "unit", "run_id"], mine)
        if not rows.num_rows:
            raise RunError(f"{self._folder.path}: the run {run_id} is not committed")
        return json.loads(rows["facts"][0].as_py())  # type: ignore[no-any-return]

    @cached_property
    def all_facts(self) -> dict[str, dict[str, Any]]:
        """The facts of each run, in the order of their commits."""
        rows = self._read(["run_id", "number", "facts", "unit"], pc.field("unit").is_null())
        rows = rows.sort_by("number")
        pairs = zip(rows["run_id"].to_pylist(), rows["facts"].to_pylist(), strict=True)
        return {run: json.loads(facts) for run, facts in pairs}

    @cached_property
    def live(self) -> tuple[LiveUnit, ...]:
        """The units with rows in the tables, in the order of their commits."""
        rows = self._read(_LIVE, ~pc.field("unit").is_null()).sort_by("number")
        return tuple(
            LiveUnit(
                run_id=run,
                unit=unit,
                identity=identity,
                documents=documents,
                failed=failed,
                slices=tuple(Slice(**part) for part in slices),
                number=number,
                entities=entities,
                failures=dict(failures or ()),
            )
            for run, number, unit, identity, documents, failed, entities, failures, slices in zip(
                *(rows[name].to_pylist() for name in _LIVE), strict=True
            )
        )

    @cached_property
    def empty(self) -> tuple[Slice, ...]:
        """The files without a row that the latest run knew of."""
        if not self.runs:
            return ()
        latest = pc.field("unit").is_null() & (pc.field("run_id") == self.runs[-1])
        rows = self._read(["slices", "unit", "run_id"], latest)
        return tuple(Slice(**part) for part in rows["slices"][0].as_py())

    def _read(self, columns: list[str], where: pc.Expression) -> pa.Table:
        wanted = pa.schema([UNITS.field(name) for name in columns])
        if self.table is None:
            return wanted.empty_table()
        paths = [f"units/{file.path}" for file in self.table.files()]
        parts = ahead(lambda path: self._folder.read_table(path, columns, where), paths)
        return pa.concat_tables([wanted.empty_table(), *(p.cast(wanted) for p in parts)])


def ledger_rows(units: Iterable[LiveUnit]) -> pa.Table:
    """Rows of the ledger for live units."""
    rows = [
        {
            "run_id": one.run_id,
            "number": one.number,
            "unit": one.unit,
            "identity": one.identity,
            "documents": one.documents,
            "failed": one.failed,
            "entities": one.entities,
            "failures": list(one.failures.items()),
            "slices": [asdict(part) for part in one.slices],
        }
        for one in units
    ]
    return pa.Table.from_pylist(rows, schema=UNITS)


def run_row(
    run_id: str, number: int, identity: str, empty: Iterable[Slice], facts: Mapping[str, Any]
) -> pa.Table:
    """The row of the ledger that describes a run itself; ``facts`` has ``committed_at``."""
    row = {
        "run_id": run_id,
        "number": number,
        "identity": identity,
        "documents": sum(facts["counts"]["documents"].values()),
        "failed": facts["counts"]["documents"].get("failed", 0),
        "entities": sum(facts["counts"]["entities"].values()),
        "failures": list(facts["counts"]["failures"].items()),
        "slices": [asdict(part) for part in empty],
        "committed_at": datetime.fromisoformat(facts["committed_at"]),
        "facts": json.dumps(facts, sort_keys=True),
    }
    return pa.Table.from_pylist([row], schema=UNITS)
