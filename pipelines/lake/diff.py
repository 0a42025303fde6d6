"""What two commits have not in common: documents, their text, their status, their entities."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from pipelines.lake.layout import Sink
from pipelines.lake.state import Held, current

_ROW = pa.schema(
    [
        ("doc_id", pa.string()),
        ("content", pa.string()),
        ("status", pa.string()),
        ("entities", pa.string()),
    ]
)
_NAMED = 20
_KINDS = {
    "added": "a.doc_id IS NULL",
    "removed": "b.doc_id IS NULL",
    "text": "a.content IS DISTINCT FROM b.content AND a.doc_id = b.doc_id",
    "status": "a.status <> b.status",
    "entities": "a.entities <> b.entities AND a.content IS NOT DISTINCT FROM b.content",
}


@dataclass
class Difference:
    """From one commit to another. Entities are compared where the text is the same."""

    documents: dict[str, int] = field(default_factory=dict)
    """How many were added or removed, or have another text, status or other entities."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """Ids of some of them."""
    labels: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Entities of each label in the units that differ: before, after."""
    units: int = 0
    """Units that are not the same in both; the others were not read."""


def compare(sink: Sink, before: str, after: str) -> Difference:
    """The difference between what held after two commits. Raises RunError for an unknown one.

    Reads the units that the two do not share, and spills to disk above 512 MB.
    """
    old, new = current(sink, before).units, current(sink, after).units
    both = {(h.run_id, h.unit) for h in old} & {(h.run_id, h.unit) for h in new}
    sides = [[h for h in units if (h.run_id, h.unit) not in both] for units in (old, new)]
    labels = [Counter[str](), Counter[str]()]
    found = Difference(units=sum(map(len, sides)))
    with TemporaryDirectory(prefix="medspan-diff-") as folder, duckdb.connect() as connection:
        connection.execute("SET memory_limit = '512MB'")
        connection.execute(f"SET temp_directory = '{folder}'")
        for name, units, counter in zip("ab", sides, labels, strict=True):
            reader = pa.RecordBatchReader.from_batches(_ROW, _rows(sink, units, counter))
            connection.register("stream", reader)
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM stream")
            connection.unregister("stream")
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


def _rows(sink: Sink, units: Iterable[Held], labels: Counter[str]) -> Iterator[pa.RecordBatch]:
    for held in units:
        digests: dict[str, hashlib.blake2b] = {}
        columns = ["doc_id", "label", "start", "end", "text"]
        for table in sink.tables(held.run_id, "entities", [held.unit], columns):
            for row in table.to_pylist():
                labels[row["label"]] += 1
                digest = digests.setdefault(row["doc_id"], hashlib.blake2b(digest_size=16))
                digest.update(repr(tuple(row.values())).encode())
        columns = ["doc_id", "content_hash", "status"]
        for table in sink.tables(held.run_id, "documents", [held.unit], columns):
            found = [
                digests[i].hexdigest() if i in digests else "" for i in table["doc_id"].to_pylist()
            ]
            arrays = [*(table[name].combine_chunks() for name in columns), pa.array(found)]
            yield from pa.table(dict(zip(_ROW.names, arrays, strict=True))).cast(_ROW).to_batches()
