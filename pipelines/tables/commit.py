"""The commit of a run: its tables changed one after the other, and seen as one change.

What a run changes is written down first (``_runs/<run>/commit-*``). Then ``documents``,
``entities``, ``relations`` and the de-identified tables are committed, and ``units`` last: from
then on the run counts. The commit to ``documents`` takes the next number, which the log gives to
one run only. From there on nobody else can begin, and nothing can keep this run from counting:
whoever comes next, or the process itself when it wakes, finishes it from what was written down. So
no step is ever undone, and no lease guards any of it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.source.units import Slice
from pipelines.storage import StoreError
from pipelines.tables.delta_table import (
    ConflictError,
    LiveFile,
    Retries,
    Tables,
    TableVersion,
    UnitKey,
)
from pipelines.tables.ledger import LiveUnit, ledger_rows, run_row
from pipelines.tables.schema import DATA
from pipelines.tables.snapshot import Snapshot, among, keys_of, snapshot
from pipelines.tables.unit_files import DataFile, write_data

# Each commit adds a small file to the ledger; so many are joined by the next one.
_LEDGER_FILES = 16
_FILE = pa.schema(
    [
        ("table", pa.string()),
        ("path", pa.string()),
        ("size", pa.int64()),
        ("statistics", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Change:
    """The change of a run on top of a snapshot."""

    files: tuple[DataFile, ...]
    """The files of its units."""
    units: tuple[LiveUnit, ...]
    """Its units, and those of other runs that lose documents, as they are afterwards."""
    replaced: frozenset[UnitKey]
    """Live units that lose all rows."""
    moved: Mapping[UnitKey, tuple[str, ...]]
    """Ids of documents, and of their de-identified counterparts, that go from live units which
    otherwise stay."""
    identity: str
    empty: tuple[Slice, ...]
    """Files without a row."""
    facts: Mapping[str, Any]
    """The facts of the run for the ledger."""


def commit(tables: Tables, run_id: str, change: Callable[[Snapshot], Change]) -> None:
    """Make a run count; nothing happens where it already does.

    ``change`` is asked once for every snapshot that turns out to be the latest, and raises
    where the run does not fit on top of it; then nothing has changed.
    """
    retries = Retries(tables.folder.path)
    while True:
        finish_pending(tables)
        documents = tables.existing("documents")
        if documents.has(run_id):
            return
        now = snapshot(tables)
        if documents.number != now.ledger.number:
            retries.again()  # another run took the next number between the two looks
            continue
        prepared = _write_down(tables, run_id, now.ledger.number + 1, change(now))
        try:
            prepared.apply(tables, documents)
        except (ConflictError, StoreError) as error:
            retries.again(error)


def finish_pending(tables: Tables) -> str | None:
    """Finish a commit that was begun and not ended, whoever began it; its run."""
    finished = None
    retries = Retries(tables.folder.path)
    while True:
        documents, units = tables.open("documents"), tables.open("units")
        if documents is None or units is None or documents.number <= units.number:
            return finished
        at = next(f for _, f in documents.commits() if f["medspan.number"] == str(documents.number))
        prepared = _Prepared.read(tables, at["medspan.prepared"])
        if prepared is None:
            retries.again()  # it was finished, and cleared away, since we looked
            continue
        for name in tables.there():
            if name not in ("documents", "units"):
                prepared.apply_until_done(tables, name)
        prepared.count(tables)
        finished = prepared.run_id


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A change as it was written down."""

    name: str
    run_id: str
    number: int
    files: tuple[DataFile, ...]
    replaced: frozenset[UnitKey]
    moved: Mapping[UnitKey, tuple[str, ...]]
    ledger: pa.Table
    """The new rows of ``units``, that of the run among them."""

    def apply(self, tables: Tables, table: TableVersion) -> None:
        """Commit to one table of results; raises ConflictError."""
        adds = [file for file in self.files if file.table == table.name]
        gone = self.replaced | self.moved.keys()
        ids = {id_ for moved in self.moved.values() for id_ in moved}
        removes: list[LiveFile] = []
        for file, keys in keys_of(tables.folder, table, gone) if gone else ():
            rest = self._rest(tables, table.name, file, keys, ids)
            if rest is None:
                continue
            removes.append(file)
            if rest.num_rows:
                path = f"{self.run_id}/{secrets.token_hex(8)}.parquet"
                adds.append(write_data(tables.folder, table.name, path, rest))
        if adds or removes or table.name == "documents":
            facts = {"medspan.prepared": self.name}
            table.commit(adds, removes, self.number, self.run_id, facts)

    def _rest(
        self, tables: Tables, name: str, file: LiveFile, keys: Collection[UnitKey], ids: set[str]
    ) -> pa.Table | None:
        """The rows of a file that stay; None where it stays as it is."""
        if file.key is not None and file.key in self.replaced:
            return DATA[name].empty_table()
        rows = tables.folder.read_table(f"{name}/{file.path}")
        going = among(rows, [key for key in keys if key in self.replaced])
        if moved := [key for key in keys if key in self.moved]:
            theirs = pc.is_in(rows["doc_id"], value_set=pa.array(sorted(ids), pa.string()))
            going = pc.or_(going, pc.and_(among(rows, moved), theirs))
        return rows.filter(pc.invert(going)) if pc.any(going).as_py() else None

    def apply_until_done(self, tables: Tables, name: str) -> None:
        """Commit to one table unless it is done; other changes of its files may come between."""
        retries = Retries(tables.folder.path)
        while (table := tables.existing(name)).number < self.number:
            try:
                self.apply(tables, table)
                return
            except (ConflictError, StoreError) as error:
                retries.again(error)

    def count(self, tables: Tables) -> None:
        """Commit to the ledger, which makes the run count."""
        retries = Retries(tables.folder.path)
        while (table := tables.existing("units")).number < self.number:
            files = table.files()
            gone = self.replaced | self.moved.keys()
            if len(files) < _LEDGER_FILES:
                held = {f.path for f, _ in keys_of(tables.folder, table, gone)} if gone else set()
                files = [file for file in files if file.path in held]
            rows = [tables.folder.read_table(f"units/{file.path}") for file in files]
            stay = [part.filter(pc.invert(among(part, gone))) for part in rows]
            merged = pa.concat_tables([self.ledger, *(p.cast(self.ledger.schema) for p in stay)])
            path = f"{self.run_id}/{secrets.token_hex(8)}.parquet"
            add = write_data(tables.folder, "units", path, merged)
            data = (tables.existing(name) for name in tables.there() if name != "units")
            versions = {f"medspan.{one.name}": str(one.version) for one in data}
            try:
                table.commit([add], files, self.number, self.run_id, versions)
                return
            except (ConflictError, StoreError) as error:
                retries.again(error)

    @classmethod
    def read(cls, tables: Tables, name: str) -> _Prepared | None:
        """Read a prepared commit below the sink; None if there is none."""
        try:
            files = tables.folder.read_table(f"{name}.files.parquet")
            ledger = tables.folder.read_table(f"{name}.units.parquet")
        except FileNotFoundError:
            return None
        facts = json.loads(files.schema.metadata[b"medspan"])
        return cls(
            name=name,
            run_id=facts["run_id"],
            number=facts["number"],
            files=tuple(DataFile(**row) for row in files.to_pylist()),
            replaced=frozenset((run, unit) for run, unit in facts["replaced"]),
            moved={(run, unit): tuple(ids) for run, unit, ids in facts["moved"]},
            ledger=ledger,
        )


def _write_down(tables: Tables, run_id: str, number: int, change: Change) -> _Prepared:
    # A name of its own: a process that was thought dead must not change what another one does.
    name = f"_runs/{run_id}/commit-{secrets.token_hex(4)}"
    ledger = pa.concat_tables(
        [
            run_row(run_id, number, change.identity, change.empty, change.facts),
            ledger_rows(change.units),
        ]
    )
    facts = {
        "run_id": run_id,
        "number": number,
        "replaced": sorted(change.replaced),
        "moved": [(*key, list(ids)) for key, ids in change.moved.items()],
    }
    columns = {column: [getattr(f, column) for f in change.files] for column in _FILE.names}
    files = pa.table(columns, schema=_FILE.with_metadata({"medspan": json.dumps(facts)}))
    tables.folder.write_table(f"{name}.units.parquet", ledger)
    tables.folder.write_table(f"{name}.files.parquet", files)
    return _Prepared(name, run_id, number, change.files, change.replaced, change.moved, ledger)
