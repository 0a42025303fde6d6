"""Snapshots: the rows that are live after a run's commit, in all tables together."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.tables.delta_table import LiveFile, Tables, TableVersion, UnitKey
from pipelines.tables.folder import RunError, SinkFolder, ahead
from pipelines.tables.ledger import Ledger, LiveUnit

TableName = Literal[
    "documents",
    "entities",
    "relations",
    "deidentified/documents",
    "deidentified/entities",
    "deidentified/relations",
    "reidentification",
]


class Snapshot:
    """The tables after the commit of one run, every document once."""

    def __init__(self, tables: Tables, ledger: Ledger) -> None:
        self._tables = tables
        self._opened: dict[str, TableVersion] = {}
        self.ledger = ledger

    @property
    def folder(self) -> SinkFolder:
        """The folder of the sink."""
        return self._tables.folder

    @cached_property
    def run_id(self) -> str:
        """The run; raises RunError where none counts yet."""
        if not self.ledger.runs:
            raise RunError(f"{self.folder.path} has no committed run")
        return self.ledger.runs[-1]

    @property
    def units(self) -> tuple[LiveUnit, ...]:
        """The live units."""
        return self.ledger.live

    def table(self, name: str) -> TableVersion:
        """One of the tables of results, at the newest version that holds no later run's commit."""
        if name not in self._opened:
            self._opened[name] = self._at(name)
        return self._opened[name]

    @cached_property
    def names(self) -> tuple[TableName, ...]:
        """The tables of results that the sink has."""
        there = self._tables.there()
        return tuple(name for name in get_args(TableName) if name in there)

    def _at(self, name: str) -> TableVersion:
        table = self._tables.existing(name)
        if table.number <= self.ledger.number:
            return table
        later = table.version
        for version, facts in table.commits():
            if int(facts["medspan.number"]) <= self.ledger.number:
                break
            later = version
        return self._tables.existing(name, later - 1)

    def files(self, name: TableName) -> list[str]:
        """Paths or URIs of the files of a table."""
        return [self.folder.uri(f"{name}/{file.path}") for file in self.table(name).files()]

    def tables(self, name: TableName, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The rows of a table, one file in memory at a time (32 are read ahead)."""
        paths = [f"{name}/{file.path}" for file in self.table(name).files()]
        return ahead(lambda path: self.folder.read_table(path, columns), paths)

    def paths(self, name: TableName, units: Collection[UnitKey]) -> dict[UnitKey, tuple[str, ...]]:
        """Return paths below the sink with the rows of some units, by unit. Units without a row are
        left out."""
        found: dict[UnitKey, list[str]] = {}
        for file, keys in keys_of(self.folder, self.table(name), units):
            for key in keys:
                found.setdefault(key, []).append(f"{name}/{file.path}")
        return {key: tuple(paths) for key, paths in found.items()}


def keys_of(
    folder: SinkFolder, table: TableVersion, units: Collection[UnitKey]
) -> Iterator[tuple[LiveFile, set[UnitKey]]]:
    """The files of a table that hold rows of some units, and which of them. Of files with several
    units the two columns that say so are read."""
    wanted = set(units)
    runs = {run for run, _ in wanted}
    shared = []
    for file in table.files():
        if file.key is not None:
            if file.key in wanted:
                yield file, {file.key}
        elif any(file.first <= run <= file.last for run in runs):
            shared.append(file)

    def read(file: LiveFile) -> set[UnitKey]:
        rows = folder.read_table(f"{table.name}/{file.path}", ["run_id", "unit"])
        pairs = rows.group_by(["run_id", "unit"]).aggregate([])
        return set(zip(pairs["run_id"].to_pylist(), pairs["unit"].to_pylist(), strict=True))

    for file, keys in zip(shared, ahead(read, shared), strict=True):
        if both := keys & wanted:
            yield file, both


def among(rows: pa.Table, keys: Collection[UnitKey]) -> pa.ChunkedArray:
    """For each row, whether its unit is one of these; false where it has none."""
    joined = pc.binary_join_element_wise(
        rows["run_id"], rows["unit"], "/", null_handling="emit_null"
    )
    wanted = pa.array(sorted(f"{run}/{unit}" for run, unit in keys), pa.string())
    return pc.is_in(joined, value_set=wanted)


def snapshot(tables: Tables, run_id: str | None = None) -> Snapshot:
    """Return the snapshot after a run's commit, or the latest.

    Raises RunError where there is no such run, or where its version is no longer in the log.
    """
    latest = Ledger(tables.folder, tables.open("units"))
    if run_id is None or (latest.runs and latest.runs[-1] == run_id):
        return Snapshot(tables, latest)
    if run_id not in latest.runs or latest.table is None:
        raise RunError(f"{tables.folder.path}: the run {run_id} is not committed")
    for version, facts in latest.table.commits():
        if facts["medspan.run"] == run_id:
            return Snapshot(tables, Ledger(tables.folder, tables.open("units", version)))
    raise RunError(
        f"{tables.folder.path}: the state after {run_id} is no longer in the Delta log, which "
        "keeps delta.logRetentionDuration (30 days)"
    )
