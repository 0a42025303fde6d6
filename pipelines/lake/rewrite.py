"""Writing units anew out of the tables, without their source and without a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.lake.layout import Sink, ahead
from pipelines.lake.state import Held
from pipelines.source.units import Unit


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A unit that was written anew, and its counts as the footers of units hold them."""

    held: Held
    facts: dict[str, dict[str, int]]


def rewrite(
    sink: Sink, run_id: str, units: Sequence[Held], without: Sequence[str] = ()
) -> Rewritten:
    """Write the rows of some units, but those of the documents ``without``, as one unit of a run.

    All must have one fingerprint. Columns that only some have are null in the others.
    """
    taken = pa.array(sorted(without), pa.string())

    def rows(table: str) -> pa.Table:
        def of(held: Held) -> pa.Table:
            (part,) = sink.tables(held.run_id, table, [held.unit])
            return part.filter(pc.invert(pc.is_in(part["doc_id"], value_set=taken)))

        found = list(ahead(of, units))
        return pa.concat_tables(found, promote_options="default").combine_chunks()

    documents, entities = rows("documents"), rows("entities")
    merged = Unit(tuple(part for held in units for part in held.slices))
    statuses = _counts(documents["status"])
    facts = {
        "documents": statuses,
        "entities": _counts(entities["label"]),
        "grounding": _counts(entities["grounding"]),
        "failures": {kind: n for kind, n in _counts(documents["error_type"]).items() if kind},
        "carried": statuses,
    }
    sink.write_unit(run_id, merged.id, entities, documents, json.dumps(facts))
    held = Held(
        run_id=run_id,
        unit=merged.id,
        fingerprint=units[0].fingerprint,
        documents=documents.num_rows,
        failed=statuses.get("failed", 0),
        slices=merged.slices,
    )
    return Rewritten(held, facts)


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    return {pair["values"]: pair["counts"] for pair in pc.value_counts(column).to_pylist()}
