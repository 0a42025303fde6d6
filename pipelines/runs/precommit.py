"""Checks of a whole run before its commit, without holding it in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.source.duplicates import Digests, DuplicateIdsError, digests, lookup
from pipelines.tables.delta_table import UnitKey
from pipelines.tables.folder import SinkFolder, ahead
from pipelines.tables.ledger import LiveUnit
from pipelines.tables.snapshot import Snapshot

_IDS = pa.schema([("doc_id", pa.string())])
_NAMED = 20
_MEMORY = "512MB"


def check_unique_ids(folder: SinkFolder, run_id: str, paths: Sequence[str]) -> None:
    """Raise DuplicateIdsError where two documents of a run share an id. ``paths``: its files of
    documents, below the sink.

    Ids are streamed through an aggregation of DuckDB that spills to disk above 512 MB, so the
    memory does not grow with the run.
    """

    def batches() -> Iterator[pa.RecordBatch]:
        for table in ahead(lambda path: folder.read_table(path, ["doc_id"]), paths):
            yield from table.cast(_IDS).to_batches()

    with TemporaryDirectory(prefix="medspan-ids-") as temporary, duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{_MEMORY}'")
        connection.execute(f"SET temp_directory = '{temporary}'")
        connection.register("ids", pa.RecordBatchReader.from_batches(_IDS, batches()))
        found = connection.execute(
            "SELECT doc_id FROM ids GROUP BY doc_id HAVING count(*) > 1 LIMIT ?", [_NAMED]
        ).fetchall()
    if found:
        raise DuplicateIdsError.of(sorted(row[0] for row in found), f"run {run_id}")


def live_ids(snapshot: Snapshot, wanted: Digests, sources: Collection[str]) -> Digests:
    """The wanted ids that live documents of these source files have.

    Reads the ids of all live documents, 32 files at a time, and holds those that are found.
    """
    if not wanted.any() or not sources:
        return digests(())
    among = lookup(wanted)
    folder = snapshot.folder
    files = pa.array(sorted(sources), pa.string())

    def read(path: str) -> Digests:
        rows = folder.read_table(f"documents/{path}", ["doc_id", "source"])
        rows = rows.filter(pc.is_in(rows["source"].cast(pa.string()), value_set=files))
        return among(digests(rows["doc_id"].to_pylist()))

    paths = [file.path for file in snapshot.table("documents").files()]
    return np.concatenate([digests(()), *ahead(read, paths)])


def taken_ids(
    snapshot: Snapshot, replaced: Collection[UnitKey], paths: Sequence[str]
) -> dict[UnitKey, tuple[str, ...]]:
    """Ids that the documents of a run share with live documents of units that it does not replace,
    by unit. ``paths``: the run's files of documents, below the sink.

    Reads the ids of all live documents, 32 files at a time. No other part of an increment grows
    with the lake.
    """
    folder = snapshot.folder
    files = [f for f in snapshot.table("documents").files() if f.key not in replaced or not f.key]
    if not paths or not files:
        return {}
    new = pa.concat_tables(ahead(lambda path: folder.read_table(path, ["doc_id"]), paths))
    wanted = new.cast(_IDS)["doc_id"].combine_chunks()

    def shared(path: str) -> pa.Table:
        rows = folder.read_table(f"documents/{path}", ["doc_id", "run_id", "unit"])
        return rows.filter(pc.is_in(rows["doc_id"], value_set=wanted))

    found: dict[UnitKey, list[str]] = {}
    for table in ahead(shared, [file.path for file in files]):
        for row in table.to_pylist():
            key = row["run_id"], row["unit"]
            if key not in replaced:
                found.setdefault(key, []).append(row["doc_id"])
    return {key: tuple(ids) for key, ids in found.items()}


def check_moved(
    run_id: str,
    live: Mapping[UnitKey, LiveUnit],
    taken: Mapping[UnitKey, Sequence[str]],
    there: set[str],
) -> None:
    """Raise DuplicateIdsError where a document is in two files that are both there, and so has not
    moved. ``there``: the files of the source."""
    twice = [
        id_
        for key, ids in taken.items()
        if any(part.uri in there for part in live[key].slices)
        for id_ in ids
    ]
    if twice:
        raise DuplicateIdsError.of(sorted(twice)[:_NAMED], f"run {run_id} and earlier ones")
