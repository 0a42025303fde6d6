"""What must hold over a whole run before it is committed, checked without holding it in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.lake.layout import Sink
from pipelines.lake.rewrite import rewrite
from pipelines.lake.state import Held
from pipelines.source.duplicates import DuplicateIdsError

_IDS = pa.schema([("doc_id", pa.string())])
_NAMED = 20
_MEMORY = "512MB"
_THREADS = 16


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


def taken_ids(
    sink: Sink, run_id: str, units: Sequence[str], state: Sequence[Held]
) -> dict[Held, list[str]]:
    """Ids that documents of this run share with documents of other units that hold, by unit.

    Reads the ids of all that holds, one unit in memory at a time and a thread: the one part of an
    increment whose cost grows with the lake.
    """
    others = [held for held in state if held.unit and held.run_id != run_id]
    if not units or not others:
        return {}
    new = pa.concat_tables(sink.tables(run_id, "documents", units, ["doc_id"])).cast(_IDS)
    wanted = new["doc_id"].combine_chunks()

    def both(held: Held) -> list[str]:
        (old,) = sink.tables(held.run_id, "documents", [held.unit], ["doc_id"])
        found: list[str] = (
            old["doc_id"].filter(pc.is_in(old["doc_id"], value_set=wanted)).to_pylist()
        )
        return found

    with ThreadPoolExecutor(_THREADS) as pool:
        found = zip(others, pool.map(both, others), strict=True)
        return {held: ids for held, ids in found if ids}


def give_way(
    sink: Sink, run_id: str, state: Sequence[Held], taken: Mapping[Held, list[str]], there: set[str]
) -> list[Held]:
    """The state without the documents of files that are gone, where a file that is there has them
    now: they have moved. ``there``: the files of the source.

    Raises DuplicateIdsError where a document is in two files that are both there.
    """
    twice = [
        id_
        for held, ids in taken.items()
        if any(part.uri in there for part in held.slices)
        for id_ in ids
    ]
    if twice:
        raise DuplicateIdsError.of(sorted(twice)[:_NAMED], f"run {run_id} and earlier ones")
    return [
        rewrite(sink, run_id, [held], taken[held]).held if held in taken else held for held in state
    ]
