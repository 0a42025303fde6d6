"""Tombstones: which documents an increment took away, for those who keep copies downstream."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.lake.layout import Sink
from pipelines.lake.plan import Plan

_TOMBSTONES = pa.schema(
    [
        pa.field("doc_id", pa.string(), metadata={"description": "id of the document"}),
        pa.field("source", pa.string(), metadata={"description": "URI of the file it was in"}),
        pa.field("last_run", pa.string(), metadata={"description": "the run that last had it"}),
    ]
)


def write_tombstones(sink: Sink, run_id: str, plan: Plan, units: Sequence[str]) -> int:
    """Write the documents that the replaced units have and the run's units have not; how many."""
    if plan.increment is None:
        return 0
    new = [table["doc_id"] for table in sink.tables(run_id, "documents", units, ["doc_id"])]
    there = pa.chunked_array([c for column in new for c in column.chunks], pa.string())
    lost = []
    for run, unit in plan.increment.replaces:
        for table in sink.tables(run, "documents", [unit], ["doc_id", "source"]):
            gone = table.filter(pc.invert(pc.is_in(table["doc_id"], value_set=there)))
            if gone.num_rows:
                runs = pa.array([run] * gone.num_rows, pa.string())
                lost.append(gone.append_column("last_run", runs).cast(_TOMBSTONES))
    if not lost:
        return 0
    table = pa.concat_tables(lost)
    sink.write_table(f"tombstones/run_id={run_id}/part.parquet", table)
    return int(table.num_rows)
