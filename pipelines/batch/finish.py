"""Finish a unit: merge the results of all stages, write both tables and report counts."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from actors.config.merge import Merge
from actors.pages import place
from actors.spans import Entity, Extraction, Refine, Status, unrefined, worst
from pipelines.batch.packing import busy, over, unpack
from pipelines.batch.stage import is_stage_column
from pipelines.config import LoadedPipeline
from pipelines.lake.carry import Carried, content_hash
from pipelines.lake.layout import Sink
from pipelines.lake.readings import row_reading
from pipelines.lake.schema import (
    DOCUMENTS,
    ENTITIES,
    READ,
    entity_row,
    extraction_row,
    row_extraction,
)
from pipelines.refine import annotate, refiner
from pipelines.worker.events import count_unit, say


@dataclass
class Tally:
    """Counts of documents and entities, per unit and per run."""

    documents: Counter[str] = field(default_factory=Counter)
    """By status."""
    entities: Counter[str] = field(default_factory=Counter)
    """By label."""
    grounding: Counter[str] = field(default_factory=Counter)
    """Entities by grounding."""
    failures: Counter[str] = field(default_factory=Counter)
    """Failed documents by error type."""
    seconds: Counter[str] = field(default_factory=Counter)
    """Model seconds by model."""
    tokens: Counter[str] = field(default_factory=Counter)
    """Tokens read and written by model."""
    busy: Counter[str] = field(default_factory=Counter)
    """Busy seconds of the workers, by stage: read, each model, write."""
    carried: Counter[str] = field(default_factory=Counter)
    """Documents whose results are carried over from an earlier run, by status."""
    over_share: Counter[str] = field(default_factory=Counter)
    """Units after which an actor exceeded its GPU memory share, by model."""

    def __iadd__(self, other: Tally) -> Tally:
        for name, counter in vars(other).items():
            getattr(self, name).update(counter)
        return self

    @property
    def total(self) -> int:
        """Documents of any status."""
        return sum(self.documents.values())

    @property
    def failure_rate(self) -> float:
        """Failed documents as a fraction of all, 0 to 1."""
        return self.documents[Status.FAILED.value] / max(self.total, 1)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """As plain dictionaries, largest count first."""
        return {name: dict(counter.most_common()) for name, counter in vars(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, dict[str, Any]]) -> Tally:
        """The reverse of ``as_dict``."""
        return cls(**{name: Counter(counts) for name, counts in values.items()})


def finish_unit(
    table: pa.Table,
    policy: Merge,
    finished: datetime,
    carried: Carried | None = None,
    refine: Refine = unrefined,
) -> tuple[pa.Table, pa.Table, Tally]:
    """Build the entities table, the documents table and the counts of a unit.

    ``table`` has the columns of READ, extra columns, an EXTRACTION column per stage with actors,
    and ``reading`` if OCR ran. ``carried`` has the earlier rows of documents that are carried over.
    """
    tally = Tally()
    columns = [name for name in table.schema.names if is_stage_column(name)]
    ours = {*READ.names, "reading", *columns}
    kept = [name for name in table.schema.names if name not in ours]
    entities: list[dict[str, Any]] = []
    documents: list[dict[str, Any]] = []
    for row in table.drop_columns(kept).to_pylist():
        if row["prior"] and carried is not None:
            documents.append(carried.document(row))
            entities.extend(carried.entities(row))
            _count_carried(tally, documents[-1], carried.entities(row))
            continue
        steps = [
            row_extraction(row[name], row["doc_id"]) for name in columns if row[name] is not None
        ]
        found = annotate(row["text"], steps, policy, refine)
        merged = list(found.entities)
        if row.get("reading") is not None:
            merged = place(merged, row_reading(row["reading"], row["text"]))
        documents.append(_document(row, steps, len(merged), finished))
        entities.extend(
            {"doc_id": row["doc_id"], "ordinal": i, "source": row["source"]} | entity_row(entity)
            for i, entity in enumerate(merged)
        )
        _count(tally, documents[-1], steps, merged)
    written = pa.Table.from_pylist(documents, schema=DOCUMENTS)
    for name in kept:
        written = written.append_column(table.schema.field(name), table[name])
    return pa.Table.from_pylist(entities, schema=ENTITIES), written, tally


def _document(
    row: dict[str, Any], steps: list[Extraction], entity_count: int, finished: datetime
) -> dict[str, Any]:
    error_type, error_message = row["error_type"], row["error_message"]
    status = Status.FAILED if error_type else worst(step.status for step in steps)
    for step in steps:
        if step.failure is not None and not error_type:
            error_type = step.failure.type
            error_message = f"{step.model}: {step.failure.message}"
    text = row["text"]
    return {
        "doc_id": row["doc_id"],
        "source": row["source"],
        "source_version": row["source_version"],
        "source_row": row["source_row"],
        "status": status.value,
        "error_type": error_type,
        "error_message": error_message,
        "text": text,
        "entity_count": entity_count,
        "steps": [extraction_row(step)["step"] for step in steps],
        "content_hash": _identity(row),
        **_pages(row.get("reading")),
        "finished_at": finished,
    }


def _identity(row: dict[str, Any]) -> str | None:
    """Content hash that detects changes: of an image its bytes, not the OCR text."""
    if row.get("reading") is not None:
        return str(row["reading"]["identity"])
    if row.get("image") is not None:  # only vision models processed it
        return content_hash(row["image"], row["prompt"])
    return None if row["text"] is None else content_hash(row["text"], row["prompt"])


def _pages(reading: dict[str, Any] | None) -> dict[str, Any]:
    if reading is None:
        return {}
    sizes = zip(reading["width"], reading["height"], reading["turn"], strict=True)
    return {
        "pages": len(reading["width"]),
        "page_sizes": [{"width": w, "height": h, "turn": turn} for w, h, turn in sizes],
    }


def _count(
    tally: Tally, document: dict[str, Any], steps: list[Extraction], merged: list[Entity]
) -> None:
    tally.documents[document["status"]] += 1
    if document["error_type"]:
        tally.failures[document["error_type"]] += 1
    for entity in merged:
        tally.entities[entity.label] += 1
        tally.grounding[entity.grounding.value] += 1
    for step in steps:
        tally.seconds[step.model] += step.usage.seconds  # type: ignore[assignment]
        tally.tokens[step.model] += step.usage.prompt_tokens + step.usage.completion_tokens


def _count_carried(tally: Tally, document: dict[str, Any], entities: list[dict[str, Any]]) -> None:
    tally.documents[document["status"]] += 1
    tally.carried[document["status"]] += 1
    if document["error_type"]:
        tally.failures[document["error_type"]] += 1
    tally.entities.update(entity["label"] for entity in entities)
    tally.grounding.update(entity["grounding"] for entity in entities)


def write_unit(block: pa.Table, loaded: LoadedPipeline, run_id: str) -> pa.Table:
    """The last map of the graph: write the files of one packed unit. Returns a row with its id,
    its counts, and the error if writing failed."""
    pipeline = loaded.pipeline
    pipeline.storage.apply()
    unit, table = unpack(block)
    started = time.monotonic()
    lake = Sink(pipeline.sink.path)
    carried = Carried(lake, table)
    refine = refiner(loaded.stages)
    entities, documents, tally = finish_unit(
        table, pipeline.merge, datetime.now(UTC), carried, refine
    )
    tally.busy.update(busy(table))
    tally.over_share.update(over(table))
    try:
        lake.write_unit(run_id, unit, entities, documents, json.dumps(tally.as_dict()))
    except OSError as error:
        # Returned as data, because Ray would pass on only its own wrapper of the error.
        return pa.table({"unit": [unit], "tally": ["{}"], "error": [str(error)]})
    tally.busy["write"] += time.monotonic() - started  # type: ignore[assignment]
    new = tally.documents - tally.carried
    count_unit(pipeline.name, new, tally.entities, tally.failures)
    say("unit written", run=run_id, unit=unit, documents=tally.total, failed=new["failed"])
    return pa.table({"unit": [unit], "tally": [json.dumps(tally.as_dict())], "error": [""]})
