"""The end of a unit: merge what the steps said, write its rows, and report in numbers."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from actors.config.merge import Merge
from actors.merge import merge
from actors.pages import place
from actors.spans import Entity, Extraction, Status
from pipelines.batch.step import BUSY, OVER, unpack
from pipelines.lake.read import READ
from pipelines.lake.readings import row_reading
from pipelines.runs.carry import Carried, content_hash
from pipelines.runs.tally import Tally
from pipelines.storage import Storage
from pipelines.tables.columns import as_column, extra_columns
from pipelines.tables.folder import Folder
from pipelines.tables.rows import entity_row, extraction_row, row_extraction
from pipelines.tables.schema import DOCUMENTS, ENTITIES, RELATIONS
from pipelines.tables.unit_files import write_unit as write_files
from pipelines.worker.events import count_unit, say


@dataclass(frozen=True, slots=True)
class UnitRows:
    """The rows of a unit, by table, without provenance. ``documents`` has the kept columns, as
    they were read, after its own."""

    documents: pa.Table
    entities: pa.Table
    relations: pa.Table

    def tables(self, entity_columns: Sequence[str], plain: bool) -> dict[str, pa.Table]:
        """By name, with the kept columns in the types of the tables (``plain``: in their own), and
        some of them in ``entities`` as well."""
        documents, entities = self.documents, self.entities
        kept = [f for f in documents.schema if f.name not in DOCUMENTS.names]
        rows = pc.index_in(entities["doc_id"], value_set=documents["doc_id"].combine_chunks())
        for field in kept if plain else extra_columns(pa.schema(kept)):
            column = as_column(documents[field.name], field.type)
            at = documents.schema.get_field_index(field.name)
            documents = documents.set_column(at, field, column)
            if field.name in entity_columns:
                entities = entities.append_column(field, column.take(rows))
        return {"documents": documents, "entities": entities, "relations": self.relations}


def finish_unit(
    table: pa.Table, models: int, policy: Merge, finished: datetime, carried: Carried | None = None
) -> tuple[UnitRows, Tally]:
    """The rows of a unit, and its counts.

    ``table`` has the columns of READ, kept ones, and ``step_0`` to ``step_<models - 1>``; where
    pictures were read also ``reading`` and ``step_ocr``. ``carried`` has the
    old rows of those that are carried over.
    """
    tally = Tally()
    ours = {*READ.names, "reading", "step_ocr", *(f"step_{i}" for i in range(models))}
    kept = [name for name in table.schema.names if name not in ours]
    entities: list[dict[str, Any]] = []
    documents: list[dict[str, Any]] = []
    relations: list[dict[str, Any]] = []
    for row in table.drop_columns(kept).to_pylist():
        if row["prior"] and carried is not None:
            documents.append(carried.document(row))
            entities.extend(carried.entities(row))
            relations.extend(carried.relations(row))
            _count_carried(tally, documents[-1], carried.entities(row))
            continue
        steps = [
            row_extraction(row[name], row["doc_id"])
            for name in ("step_ocr", *(f"step_{i}" for i in range(models)))
            if row.get(name) is not None
        ]
        merged = merge([step.entities for step in steps], policy.overlaps, policy.priority)
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
    found = pa.Table.from_pylist(entities, schema=ENTITIES)
    links = pa.Table.from_pylist(relations, schema=RELATIONS)
    return UnitRows(written, found, links), tally


def _document(
    row: dict[str, Any], steps: list[Extraction], entity_count: int, finished: datetime
) -> dict[str, Any]:
    error_type, error_message = row["error_type"], row["error_message"]
    status = Status.FAILED if error_type else Status.OK
    for step in steps:
        status = max(status, step.status, key=lambda s: s.severity)
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
    """What tells whether a document is what it was: of a picture its bytes, not what was read."""
    if row.get("reading") is not None:
        return str(row["reading"]["identity"])
    if row.get("image") is not None:  # a vision model saw it, and nothing read it
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


@dataclass(frozen=True, slots=True)
class WriteWork:
    """What the tasks that write need beside their units."""

    sink: str
    run_id: str
    pipeline: str
    models: int
    policy: Merge
    storage: Storage
    entity_columns: tuple[str, ...] = ()
    plain: bool = False


def write_unit(block: pa.Table, work: WriteWork) -> pa.Table:
    """The last map of the graph: write one packed unit's files; a row of its id, what stands in
    the footer of its documents file, its counts, and what kept it from being written."""
    work.storage.apply()
    unit, table = unpack(block)
    started = time.monotonic()
    folder = Folder(work.sink)
    carried = Carried(folder, table)
    rows, tally = finish_unit(table, work.models, work.policy, datetime.now(UTC), carried)
    tally.busy.update(json.loads((table.schema.metadata or {}).get(BUSY, b"{}")))
    tally.over_share.update(json.loads((table.schema.metadata or {}).get(OVER, b"[]")))
    tables = rows.tables(work.entity_columns, work.plain)
    try:
        files = write_files(folder, work.run_id, unit, tables, tally.as_json())
    except OSError as error:
        # As data, because Ray would hand on no more than its own wrapper of it.
        return pa.table({"unit": [unit], "files": [""], "tally": ["{}"], "error": [str(error)]})
    tally.busy["write"] += time.monotonic() - started  # type: ignore[assignment]
    new = tally.documents - tally.carried
    count_unit(work.pipeline, new, tally.entities, tally.failures)
    say("unit written", run=work.run_id, unit=unit, documents=tally.total, failed=new["failed"])
    return pa.table(
        {"unit": [unit], "files": [files.as_json()], "tally": [tally.as_json()], "error": [""]}
    )
