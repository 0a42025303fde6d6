"""Differences between two snapshots: documents, their text, their status, their entities."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from pipelines.tables.delta_table import UnitKey
from pipelines.tables.schema import DOCUMENTS
from pipelines.tables.snapshot import Snapshot, TableName, among, keys_of

_DOCUMENTS = ["doc_id", "content_hash", "status"]
_FOUND = ["label", "start", "end", "text"]
_DIGESTS = pa.schema([("doc_id", pa.string()), ("ordinal", pa.int32()), ("digest", pa.string())])
_NAMED = 20
_KINDS = {
    "added": "a.doc_id IS NULL",
    "removed": "b.doc_id IS NULL",
    "text": "a.content IS DISTINCT FROM b.content AND a.doc_id = b.doc_id",
    "status": "a.status <> b.status",
    "entities": "a.entities <> b.entities AND a.content IS NOT DISTINCT FROM b.content",
}


@dataclass
class SnapshotDiff:
    """From one commit to another. Entities are compared where the text is the same."""

    documents: dict[str, int] = field(default_factory=dict)
    """Counts of documents added, removed, or with another text, status or other entities."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """Ids of some of them."""
    labels: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Entities of each label in the units that differ: before, after."""
    units: int = 0
    """Units that are not the same in both; the others were not read."""


def compare(before: Snapshot, after: Snapshot) -> SnapshotDiff:
    """The difference between two snapshots.

    Reads the units that the two do not share, and spills to disk above 512 MB.
    """
    old, new = set(before.units), set(after.units)
    sides = ((before, old - new), (after, new - old))
    labels = [Counter[str](), Counter[str]()]
    found = SnapshotDiff(units=sum(len(units) for _, units in sides))
    with TemporaryDirectory(prefix="medspan-diff-") as folder, duckdb.connect() as connection:
        connection.execute("SET memory_limit = '512MB'")
        connection.execute(f"SET temp_directory = '{folder}'")
        for name, (snapshot, units), counter in zip("ab", sides, labels, strict=True):
            keys = {unit.key for unit in units}
            documents = pa.schema([DOCUMENTS.field(column) for column in _DOCUMENTS])
            _load(connection, f"{name}_documents", documents, _documents(snapshot, keys))
            _load(connection, f"{name}_entities", _DIGESTS, _digests(snapshot, keys, counter))
            connection.execute(
                f"CREATE TABLE {name} AS SELECT d.doc_id, d.content_hash AS content, d.status, "
                "coalesce(e.digests, '') AS entities "
                f"FROM {name}_documents d LEFT JOIN (SELECT doc_id, "
                "md5(string_agg(digest, '' ORDER BY ordinal)) AS digests "
                f"FROM {name}_entities GROUP BY doc_id) e ON d.doc_id = e.doc_id"
            )
        joined = "FROM a FULL OUTER JOIN b ON a.doc_id = b.doc_id WHERE"
        for kind, condition in _KINDS.items():
            (count,) = connection.execute(f"SELECT count(*) {joined} {condition}").fetchone() or (
                0,
            )
            found.documents[kind] = count
            rows = connection.execute(
                f"SELECT coalesce(a.doc_id, b.doc_id) AS id {joined} {condition} "
                f"ORDER BY id LIMIT {_NAMED}"
            ).fetchall()
            found.examples[kind] = [row[0] for row in rows]
    for label in sorted(labels[0] | labels[1]):
        found.labels[label] = (labels[0][label], labels[1][label])
    return found


def _load(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    schema: pa.Schema,
    tables: Iterator[pa.Table],
) -> None:
    batches = (batch for table in tables for batch in table.cast(schema).to_batches())
    connection.register("stream", pa.RecordBatchReader.from_batches(schema, batches))
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM stream")
    connection.unregister("stream")


def _documents(snapshot: Snapshot, keys: set[UnitKey]) -> Iterator[pa.Table]:
    for table in _rows(snapshot, "documents", keys, _DOCUMENTS):
        yield table.select(_DOCUMENTS)


def _digests(snapshot: Snapshot, keys: set[UnitKey], labels: Counter[str]) -> Iterator[pa.Table]:
    """Of each entity a digest, since its text must not be spilt to disk."""
    for table in _rows(snapshot, "entities", keys, ["doc_id", "ordinal", *_FOUND]):
        labels.update(table["label"].to_pylist())
        found_rows = table.select(_FOUND).to_pylist()
        digests = [
            hashlib.blake2b(repr(tuple(row.values())).encode(), digest_size=16).hexdigest()
            for row in found_rows
        ]
        columns = [table["doc_id"], table["ordinal"], pa.array(digests, pa.string())]
        yield pa.table(columns, schema=_DIGESTS)


def _rows(
    snapshot: Snapshot, name: TableName, keys: set[UnitKey], columns: list[str]
) -> Iterator[pa.Table]:
    for file, found in keys_of(snapshot.folder, snapshot.table(name), keys):
        path = f"{name}/{file.path}"
        rows = snapshot.folder.read_table(path, [*columns, "run_id", "unit"])
        yield rows.filter(among(rows, found))
