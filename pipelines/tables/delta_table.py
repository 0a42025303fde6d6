"""One Delta table: opened, created, widened, changed in one commit, by delta-rs.

Each commit carries two application transactions. ``medspan`` counts the commits of runs: of two
commits with the same number the log lets one through, whatever else they hold, and that is what
puts runs in an order. The other, named after the run, makes a commit idempotent.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Field, TableFeatures, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from pipelines.storage import NoTablesError, StoreError, delta_options, store_sentence
from pipelines.tables.compatibility import (
    check_features,
    missing_columns,
    missing_extra_columns,
)
from pipelines.tables.folder import RunError, SinkFolder
from pipelines.tables.schema import DATA, OF_DEIDENTIFICATION, STATISTICS, UNITS
from pipelines.tables.unit_files import DataFile

_MOST_CONFLICTS = 100
_MOST_FAULTS = 8
_LONGEST_PAUSE = 2.0
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
APP = "medspan"
TABLES = (*DATA, "units")
UnitKey = tuple[str, str]
"""A run and a unit of it."""


class ConflictError(RunError):
    """The table was changed meanwhile in a way that this commit does not allow."""


@contextmanager
def table_errors(name: str, path: str) -> Iterator[None]:
    """Raise ConflictError where another commit won, and StoreError for what delta-rs raises
    beside it."""
    try:
        yield
    except TableNotFoundError:
        raise
    except CommitFailedError as error:
        raise ConflictError(f"{name}: another commit came first") from error
    except StoreError:
        raise
    except (DeltaError, OSError) as error:
        message = " ".join(_COLOURS.sub("", str(error)).split())
        raise StoreError(f"the table {name}: {store_sentence(path, message)}") from error


class Retries:
    """Attempts at a commit to a table: again after a conflict, and a few times after a fault of
    the store, since a commit that was done and not answered is found by its transaction."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._conflicts = 0
        self._faults = 0

    def again(self, error: Exception | None = None) -> None:
        """Wait a moment before the next attempt. Raises the store's error, or RunError where
        others came first too often."""
        if isinstance(error, StoreError):
            self._faults += 1
            if self._faults > _MOST_FAULTS:
                raise error
        self._conflicts += 1
        if self._conflicts > _MOST_CONFLICTS:
            raise RunError(
                f"{self._path}: other commits won repeatedly; run the command again"
            ) from error
        time.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.05 * 2 ** min(self._conflicts, 10))))


@dataclass(frozen=True, slots=True)
class LiveFile:
    """A file of a table's snapshot. ``key``: the unit of all its rows; None if it holds rows of
    several units, of the runs ``first`` to ``last``."""

    path: str
    size: int
    rows: int
    key: UnitKey | None
    first: str
    last: str


class TableVersion:
    """One version of a table, the latest when it was opened."""

    def __init__(self, name: str, delta: DeltaTable) -> None:
        self.name = name
        self.delta = delta

    @property
    def version(self) -> int:
        """The version in Delta's log."""
        return self.delta.version()

    @cached_property
    def number(self) -> int:
        """The number of the last run's commit; 0 where there is none."""
        return self.delta.transaction_version(APP) or 0

    def has(self, run_id: str) -> bool:
        """True if the commit of a run is in it."""
        return self.delta.transaction_version(run_id) is not None

    def schema(self) -> pa.Schema:
        """The columns."""
        return pa.schema(self.delta.schema().to_arrow())

    def files(self) -> list[LiveFile]:
        """The files of this version."""
        actions = pa.table(self.delta.get_add_actions(flatten=True))

        def column(name: str) -> list[Any]:
            if name not in actions.schema.names:
                return [None] * actions.num_rows
            return actions[name].to_pylist()  # type: ignore[no-any-return]

        names = ("path", "size_bytes", "num_records")
        ranges = ("min.run_id", "max.run_id", "min.unit", "max.unit", "null_count.unit")
        found = []
        for path, size, rows, first, last, low, high, nulls in zip(
            *map(column, names), *map(column, ranges), strict=True
        ):
            one = first is not None and low is not None and first == last and low == high
            key = (first, low) if one and not nulls else None
            found.append(LiveFile(path, size, rows or 0, key, first or "", last or "\U0010ffff"))
        return found

    def commit(
        self,
        adds: Sequence[DataFile],
        removes: Sequence[LiveFile],
        number: int,
        run_id: str,
        facts: Mapping[str, str],
    ) -> None:
        """Add and remove files in one commit, on top of this version.

        Raises ConflictError where another run's commit, or one that removed the same files, came
        first. One that only moved rows between other files may come first.
        """
        now = int(time.time() * 1000)
        actions: list[AddAction | RemoveAction] = [
            AddAction(f.path, f.size, {}, now, True, f.statistics) for f in adds
        ]
        actions += [RemoveAction(f.path, True, now, f.size, {}) for f in removes]
        transactions = [Transaction(APP, number), Transaction(run_id, number)]
        with table_errors(self.name, self.delta.table_uri):
            self.delta.create_write_transaction(
                actions,
                "append",
                self.delta.schema(),
                commit_properties=CommitProperties(
                    custom_metadata={"medspan.run": run_id, "medspan.number": str(number), **facts},
                    app_transactions=transactions,
                ),
            )

    def compact(self, target_bytes: int) -> None:
        """Join small files; raises ConflictError where a run removed one of them meanwhile."""
        with table_errors(self.name, self.delta.table_uri):
            self.delta.optimize.compact(target_size=target_bytes)

    def vacuum(self, hours: int, remove: bool) -> list[str]:
        """Find, or remove, the files below the table that no version of the last ``hours`` needs
        and that are older; paths below the table.

        Files that no version ever had stay for an hour at least: a run that has just begun may
        have written them.
        """
        passes = [(hours, True)] if hours else [(0, False), (1, True)]
        with table_errors(self.name, self.delta.table_uri):
            found = [
                path
                for retention, untracked in passes
                for path in self.delta.vacuum(
                    retention_hours=retention,
                    dry_run=not remove,
                    enforce_retention_duration=False,
                    full=untracked,
                )
            ]
        return list(dict.fromkeys(found))

    def commits(self) -> Iterator[tuple[int, dict[str, str]]]:
        """The versions that runs committed, the newest first, with their facts."""
        for limit in (5, None):
            history = self.delta.history(limit)
            for entry in history:
                if "medspan.run" in entry:
                    facts = {n: v for n, v in entry.items() if n.startswith("medspan.")}
                    yield int(entry["version"]), facts
            if len(history) < 5:
                return


class Tables:
    """The tables of a sink."""

    def __init__(self, folder: SinkFolder) -> None:
        self.folder = folder

    def open(self, name: str, version: int | None = None) -> TableVersion | None:
        """A table at its latest version, or at an earlier one; None where there is none.

        Raises RunError for a table with a feature of Delta that medspan does not support.
        """
        path = self.folder.uri(name)
        try:
            with table_errors(name, path):
                delta = DeltaTable(path, version, delta_options(path))
        except (TableNotFoundError, NoTablesError):
            return None
        check_features(delta, name, self.folder.path)
        return TableVersion(name, delta)

    def existing(self, name: str, version: int | None = None) -> TableVersion:
        """The same; raises RunError where there is none."""
        table = self.open(name, version)
        if table is None:
            raise RunError(f"{self.folder.path} has no table {name}")
        return table

    def there(self) -> list[str]:
        """Names of the tables that a sink with a run has, ``units`` last."""
        return [n for n in TABLES if n not in OF_DEIDENTIFICATION or self.open(n) is not None]

    def create(
        self,
        extra: pa.Schema,
        entity_columns: Sequence[str] = (),
        deidentified: pa.Schema | None = None,
    ) -> None:
        """Make the tables that are not there, and give ``documents`` the columns ``extra``, of
        which ``entities`` gets some; rows that are there have nulls in new columns.

        ``deidentified``: extra columns of the de-identified documents; None for a pipeline that
        does not de-identify. Raises RunError where a column is there with another type, or where a
        table is not medspan's.
        """
        copied = pa.schema([field for field in extra if field.name in entity_columns])
        wanted = [n for n in TABLES if n not in OF_DEIDENTIFICATION or deidentified is not None]
        there = {name: self.open(name) for name in wanted}
        units = there["units"]
        if units is not None and units.number and there["documents"] is None:
            raise RunError(
                f"{self.folder.path}: the table documents is gone, but units has runs; restore its "
                "folder, or give the sink another path"
            )
        more = {"documents": extra, "entities": copied}
        if deidentified is not None:
            more["deidentified/documents"] = deidentified
        for name, table in there.items():
            self._widen(table or self._made(name), more.get(name, pa.schema([])))

    def _made(self, name: str) -> TableVersion:
        path = self.folder.uri(name)
        # Text of documents must not stand in the log: no statistics but of these columns.
        properties = {"delta.dataSkippingStatsColumns": ",".join(STATISTICS[name])}
        retries = Retries(self.folder.path)
        while True:
            try:
                with table_errors(name, path):
                    DeltaTable.create(
                        path,
                        DATA.get(name, UNITS),
                        mode="ignore",
                        name=name,
                        configuration=properties,
                        storage_options=delta_options(path),
                    )
            except (ConflictError, StoreError) as error:  # two may begin at a time
                retries.again(error)
            if (table := self.open(name)) is not None:
                return table

    def _widen(self, table: TableVersion, extra: pa.Schema) -> None:
        """Add the columns of this version of medspan, and the extra ones, that are not there."""
        ours, sink = DATA.get(table.name, UNITS), self.folder.path
        retries = Retries(sink)
        while True:
            there = table.schema()
            missing = missing_columns(there, table.name, sink, ours)
            missing += missing_extra_columns(there, table.name, sink, extra)
            if not missing:
                return
            naive = any(pa.types.is_timestamp(f.type) and f.type.tz is None for f in missing)
            try:
                with table_errors(table.name, table.delta.table_uri):
                    if naive:
                        table.delta.alter.add_feature(
                            TableFeatures.TimestampWithoutTimezone,
                            allow_protocol_versions_increase=True,
                        )
                    table.delta.alter.add_columns([Field.from_arrow(field) for field in missing])
                return
            except (ConflictError, StoreError) as error:  # others may begin or commit meanwhile
                retries.again(error)
                table = self.existing(table.name)
