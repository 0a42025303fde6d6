"""What must hold over a whole run before it is committed, checked without holding it in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from pipelines.lake.layout import Sink
from pipelines.lake.read import DuplicateIdsError

_IDS = pa.schema([("doc_id", pa.string())])
_NAMED = 20
_MEMORY = "512MB"


def check_unique_ids(sink: Sink, run_id: str, units: Sequence[str]) -> None:
    """Raise DuplicateIdsError where two documents of a run share an id.

    Ids are streamed through an aggregation of DuckDB that spills to disk above 512 MB, so the
    memory does not grow with the run.
    """

    def batches() -> Iterator[pa.RecordBatch]:
        for table in sink.tables(run_id, "documents", units, ["doc_id"]):
            yield from table.cast(_IDS).to_batches()

    with TemporaryDirectory(prefix="medspan-ids-") as folder, duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{_MEMORY}'")
        connection.execute(f"SET temp_directory = '{folder}'")
        connection.register("ids", pa.RecordBatchReader.from_batches(_IDS, batches()))
        found = connection.execute(
            "SELECT doc_id FROM ids GROUP BY doc_id HAVING count(*) > 1 LIMIT ?", [_NAMED]
        ).fetchall()
    if found:
        raise DuplicateIdsError.of(sorted(row[0] for row in found), f"run {run_id}")
