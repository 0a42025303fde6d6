"""Writing units anew out of the tables, without their source and without a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.lake.layout import Sink
from pipelines.lake.state import Held
from pipelines.lake.units import Unit


@dataclass
class Rewritten:
    """A unit that was written anew, and what is in it."""

    held: Held
    statuses: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    grounding: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)


def rewrite(
    sink: Sink, run_id: str, units: Sequence[Held], without: Sequence[str] = ()
) -> Rewritten:
    """Write the rows of some units, but those of the documents ``without``, as one unit of a run.

    All must have one fingerprint. Columns that only some have are null in the others.
    """
    taken = pa.array(sorted(without), pa.string())

    def rows(table: str) -> pa.Table:
        found = [
            part.filter(pc.invert(pc.is_in(part["doc_id"], value_set=taken)))
            for held in units
            for part in sink.tables(held.run_id, table, [held.unit])
        ]
        return pa.concat_tables(found, promote_options="default").combine_chunks()

    documents, entities = rows("documents"), rows("entities")
    merged = Unit(tuple(part for held in units for part in held.slices))
    statuses = _counts(documents["status"])
    held = Held(
        run_id=run_id,
        unit=merged.id,
        fingerprint=units[0].fingerprint,
        documents=documents.num_rows,
        failed=statuses["failed"],
        slices=merged.slices,
    )
    sink.write_unit(run_id, held.unit, entities, documents)
    failures = _counts(documents["error_type"])
    failures.pop("", None)
    return Rewritten(
        held, statuses, _counts(entities["label"]), _counts(entities["grounding"]), failures
    )


def _counts(column: pa.ChunkedArray) -> Counter[str]:
    pairs = pc.value_counts(column).to_pylist()
    return Counter({pair["values"]: pair["counts"] for pair in pairs})
