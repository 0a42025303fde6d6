"""The files of a unit: what a worker writes, and a commit makes part of the tables.

    documents/<run>/<unit>.<attempt>.parquet
    entities/<run>/<unit>.<attempt>.parquet     where there are any
    relations/<run>/<unit>.<attempt>.parquet    where there are any
    deidentified/..., reidentification/...      of a pipeline that de-identifies
    deidentified/pages/<run>/...                its pages; see page_files

No file is ever written twice: a unit that is done again has another attempt, and a commit takes
one of them. The documents file is written last, and its footer names the others: a unit is done
when it stands.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.tables.folder import SinkFolder, ahead
from pipelines.tables.schema import DATA, STATISTICS

_FOOTER = b"medspan"
# The log keeps no more of a long value; Delta's own writers cut there, too.
_MOST_CHARACTERS = 32
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file of a table, as a commit adds it: its path below the table's folder, its size
    in bytes, and Delta's statistics of it as JSON."""

    table: str
    path: str
    size: int
    statistics: str


@dataclass(frozen=True, slots=True)
class UnitFiles:
    """The files of a unit that is done, and the facts that its worker wrote down (JSON)."""

    unit: str
    files: tuple[DataFile, ...]
    facts: str

    def as_json(self) -> str:
        """Serialise for the way from a worker to the driver."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, content: str) -> UnitFiles:
        """The reverse of ``as_json``."""
        values = json.loads(content)
        files = tuple(DataFile(**file) for file in values["files"])
        return cls(values["unit"], files, values["facts"])


def new_attempt() -> str:
    """Return a new name for an attempt at a unit; the names of its files contain it."""
    return secrets.token_hex(4)


def write_unit_tables(
    folder: SinkFolder,
    run_id: str,
    unit: str,
    tables: Mapping[str, pa.Table],
    facts: str = "{}",
    attempt: str = "",
) -> UnitFiles:
    """Write a unit's rows, by table and without provenance: ``documents``, and the others that
    have rows.

    ``facts`` are kept in the footer of the documents file, where a resumed run finds them without
    reading a row. ``attempt``: of files that the unit has besides; default: a new one.
    """
    attempt = attempt or new_attempt()
    files = [
        write_data(folder, name, f"{run_id}/{unit}.{attempt}.parquet", table)
        for name in DATA
        if name != "documents" and name in tables
        if (table := _placed(tables[name], run_id, unit)).num_rows
    ]
    documents = _placed(tables["documents"], run_id, unit)
    statistics = statistics_of("documents", documents)
    footer = {"facts": facts, "files": [asdict(f) for f in files], "statistics": statistics}
    metadata = {**(documents.schema.metadata or {}), _FOOTER: json.dumps(footer).encode()}
    path = f"{run_id}/{unit}.{attempt}.parquet"
    size = folder.write_table(f"documents/{path}", documents.replace_schema_metadata(metadata))
    return UnitFiles(unit, (DataFile("documents", path, size, statistics), *files), facts)


def done_units(folder: SinkFolder, run_id: str) -> dict[str, tuple[str, int]]:
    """Return the units with a documents file: path below ``documents`` and size, by unit."""
    found: dict[str, tuple[str, int]] = {}
    for name, size in sorted(folder.sizes(f"documents/{run_id}").items()):
        unit, _, rest = name.partition(".")
        if unit and rest.endswith(".parquet"):
            found.setdefault(unit, (f"{run_id}/{name}", size))
    return found


def read_units_done(
    folder: SinkFolder, done: Mapping[str, tuple[str, int]], units: Iterable[str]
) -> Iterator[UnitFiles]:
    """Read finished units from their footers, in the order of ``units``."""

    def read(unit: str) -> UnitFiles:
        path, size = done[unit]
        footer = json.loads(folder.read_schema(f"documents/{path}").metadata[_FOOTER])
        documents = DataFile("documents", path, size, footer["statistics"])
        files = (documents, *(DataFile(**file) for file in footer["files"]))
        return UnitFiles(unit, files, footer["facts"])

    return ahead(read, list(units))


def write_data(folder: SinkFolder, name: str, path: str, table: pa.Table) -> DataFile:
    """Write a file of a table, with its statistics."""
    size = folder.write_table(f"{name}/{path}", table)
    return DataFile(name, path, size, statistics_of(name, table))


def statistics_of(name: str, table: pa.Table) -> str:
    """Delta's statistics of a file: rows, and of some columns least, greatest and nulls."""
    least: dict[str, object] = {}
    greatest: dict[str, object] = {}
    nulls: dict[str, int] = {}
    for column in STATISTICS[name]:
        found = pc.min_max(table[column]).as_py()
        nulls[column] = table[column].null_count
        if found["min"] is not None:
            least[column] = _cut(found["min"])
            greatest[column] = _cut(found["max"], _LAST)
    return json.dumps(
        {
            "numRecords": table.num_rows,
            "minValues": least,
            "maxValues": greatest,
            "nullCount": nulls,
        }
    )


def _cut(value: object, more: str = "") -> object:
    if isinstance(value, str) and len(value) > _MOST_CHARACTERS:
        return value[:_MOST_CHARACTERS] + more
    return value


def _placed(table: pa.Table, run_id: str, unit: str) -> pa.Table:
    schema = DATA["documents"]
    for name, value in (("unit", unit), ("run_id", run_id)):
        column = pa.array([value], pa.string()).take(pa.array([0] * table.num_rows, pa.int32()))
        table = table.add_column(1, schema.field(name), column)
    return table
