"""Finish a unit: merge the results of all stages, write its rows and report counts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from actors.config import ConfigError
from actors.config.merge import Merge
from actors.pages import OcrResult
from actors.spans import Annotations, Entity, Extraction, Failure, Refine, Status, unrefined, worst
from pipelines.batch.deidentified_tables import UnitRelease, known
from pipelines.batch.ocr_rows import row_reading
from pipelines.batch.page_covering import cover_pages, with_bar_codes, write_pages
from pipelines.batch.pulse import NoPulse, Pulse
from pipelines.batch.second_look import SecondLooks
from pipelines.batch.stage_actor import RELEASED, is_stage_column
from pipelines.batch.unit_row import add_busy, busy, characters, over, pack, unpack
from pipelines.config import LoadedPipeline
from pipelines.refine import annotate, refiner
from pipelines.release import Release, Releaser, releaser_with
from pipelines.runs.carry import Carried, content_hash
from pipelines.runs.profile import profile
from pipelines.runs.tally import Tally
from pipelines.source.read import READ
from pipelines.stages import second_look_of
from pipelines.tables.column_types import as_column, extra_columns
from pipelines.tables.folder import SinkFolder
from pipelines.tables.page_files import page_place
from pipelines.tables.rows import (
    entity_row,
    relation_row,
    row_extraction,
    row_section,
    section_row,
)
from pipelines.tables.schema import DOCUMENTS, ENTITIES, RELATIONS
from pipelines.tables.unit_files import new_attempt, write_unit_tables
from pipelines.worker.events import count_unit, log_event
from pipelines.worker.traces import ParentSpan


@dataclass(frozen=True, slots=True)
class UnitRows:
    """The rows of a unit, by table, without provenance. ``documents`` also has the extra columns of
    the source, as they were read; ``release`` has the rows of the de-identified tables."""

    documents: pa.Table
    entities: pa.Table
    relations: pa.Table
    release: UnitRelease | None = None

    def tables(
        self, entity_columns: Sequence[str], plain: bool, pages: str = ""
    ) -> dict[str, pa.Table]:
        """The tables by name, with the extra columns cast to table types (``plain``: not cast), and
        those of ``entity_columns`` added to ``entities``. ``pages``: what the names of the unit's
        page files begin with."""
        documents, entities = self.documents, self.entities
        kept = [f for f in documents.schema if f.name not in DOCUMENTS.names]
        released = {}
        if self.release is not None:
            released = self.release.tables(documents.select([f.name for f in kept]), plain, pages)
        rows = pc.index_in(entities["doc_id"], value_set=documents["doc_id"].combine_chunks())
        for field in kept if plain else extra_columns(pa.schema(kept)):
            column = as_column(documents[field.name], field.type)
            at = documents.schema.get_field_index(field.name)
            documents = documents.set_column(at, field, column)
            if field.name in entity_columns:
                entities = entities.append_column(field, column.take(rows))
        ours = {"documents": documents, "entities": entities, "relations": self.relations}
        return ours | released


def finish_unit(
    table: pa.Table,
    policy: Merge,
    finished: datetime,
    carried: Carried | None = None,
    refine: Refine = unrefined,
    releaser: Releaser | None = None,
) -> tuple[UnitRows, Tally]:
    """Build the rows of a unit and its counts.

    ``table`` has the columns of READ, extra columns, an EXTRACTION column per stage with actors,
    and ``reading`` if OCR ran. ``carried`` has the earlier rows of documents that are carried over.
    ``releaser`` de-identifies the documents; after a second look by models ``table`` also has the
    texts that they read, and an EXTRACTION column per model; and of covered pages the columns of
    ``page_rows``, and an EXTRACTION column per model that read them.
    """
    tally = Tally()
    release = None if releaser is None else UnitRelease(releaser)
    patients = [] if releaser is None else known(table, releaser.config)
    columns = [name for name in table.schema.names if is_stage_column(name)]
    looks = SecondLooks(table)
    ours = {*READ.names, "reading", *columns, *looks.columns}
    kept = [name for name in table.schema.names if name not in ours]
    entities: list[dict[str, Any]] = []
    documents: list[dict[str, Any]] = []
    relations: list[dict[str, Any]] = []
    for at, row in enumerate(table.drop_columns([*kept, *looks.large]).to_pylist()):
        reading = None
        if row["prior"] and carried is not None:
            document, found, links = (
                carried.document(row),
                carried.entities(row),
                carried.relations(row),
            )
            _count_carried(tally, document, found)
        else:
            stored = [row[name] for name in columns if row[name] is not None]
            steps = [row_extraction(one, row["doc_id"]) for one in stored]
            stated = [row_section(section) for section in row["sections"] or ()]
            if row.get("reading") is not None:
                reading = row_reading(row["reading"], row["text"])
            annotations = annotate(row["text"], steps, policy, refine, stated, reading)
            document = _document(row, reading, steps, annotations, finished)
            document["steps"] = [one["step"] for one in stored]
            found, links = _rows_of(row, annotations)
            _count(tally, document, steps, annotations.entities)
        documents.append(document)
        entities += found
        relations += links
        if release is not None:
            look = looks.at(at, row)
            for step in () if look is None else look.all_extractions:
                _count_usage(tally, second_look_of(step.model), step)
            release.add(document, found, links, patients[at], look, reading)
    if release is not None:
        tally.deidentified.update(release.statuses)
    written = pa.Table.from_pylist(documents, schema=DOCUMENTS)
    found_entities = pa.Table.from_pylist(entities, schema=ENTITIES)
    tally.profile = profile(written.filter(pc.is_null(table["prior"])), found_entities)
    for name in kept:
        written = written.append_column(table.schema.field(name), table[name])
    relation_rows = pa.Table.from_pylist(relations, schema=RELATIONS)
    return UnitRows(written, found_entities, relation_rows, release), tally


def _rows_of(
    row: dict[str, Any], annotations: Annotations
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A document's rows of the tables of entities and of relations."""
    of = {"doc_id": row["doc_id"], "source": row["source"]}
    entities = [
        of | {"ordinal": i} | entity_row(entity) for i, entity in enumerate(annotations.entities)
    ]
    return entities, [of | relation_row(relation) for relation in annotations.relations]


def _document(
    row: dict[str, Any],
    reading: OcrResult | None,
    steps: list[Extraction],
    annotations: Annotations,
    finished: datetime,
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
        "original_hash": row["original_hash"],
        "problems": row["problems"],
        "entity_count": len(annotations.entities),
        "content_hash": _identity(row),
        **_pages(reading, annotations),
        "sections": [section_row(section) for section in annotations.sections],
        "finished_at": finished,
    }


def _identity(row: dict[str, Any]) -> str | None:
    """Content hash that detects changes: of an image its bytes, not the OCR text."""
    if row.get("reading") is not None:
        return str(row["reading"]["identity"])
    if row.get("image") is not None:  # only vision models processed it
        return content_hash(row["image"], row["prompt"])
    return None if row["text"] is None else content_hash(row["text"], row["prompt"])


def _pages(reading: OcrResult | None, annotations: Annotations) -> dict[str, Any]:
    if reading is None:
        return {}
    return {
        "pages": len(reading.pages),
        "page_sizes": [asdict(page) for page in reading.pages],
        "tables": [asdict(table) for table in annotations.tables],
        "fields": [asdict(one) for one in annotations.fields],
        "marks": [{"kind": one.kind.value, "box": asdict(one.box)} for one in reading.marks],
    }


def _count(
    tally: Tally, document: dict[str, Any], steps: list[Extraction], merged: Sequence[Entity]
) -> None:
    tally.documents[document["status"]] += 1
    if document["error_type"]:
        tally.failures[document["error_type"]] += 1
    for entity in merged:
        tally.entities[entity.label] += 1
        tally.grounding[entity.grounding.value] += 1
    for step in steps:
        _count_usage(tally, step.model, step)


def _count_usage(tally: Tally, stage: str, step: Extraction) -> None:
    if step.copied:
        tally.copied[stage] += 1
    tally.seconds[stage] += step.usage.seconds  # type: ignore[assignment]
    tally.tokens[stage] += step.usage.prompt_tokens + step.usage.completion_tokens


def _count_carried(tally: Tally, document: dict[str, Any], entities: list[dict[str, Any]]) -> None:
    tally.documents[document["status"]] += 1
    tally.carried[document["status"]] += 1
    if document["error_type"]:
        tally.failures[document["error_type"]] += 1
    tally.entities.update(entity["label"] for entity in entities)
    tally.grounding.update(entity["grounding"] for entity in entities)


def release_unit(
    block: pa.Table, loaded: LoadedPipeline, key_check: str, pulse: Pulse | None = None
) -> pa.Table:
    """De-identify the texts of a packed unit for the second look, and its pages if they are to be
    written.

    Only texts and covered pages go on; ``write_unit`` makes the texts again, with all that belongs
    to them.
    """
    unit, table = unpack(block)
    with (pulse or NoPulse()).while_busy(characters(table)):
        started = time.monotonic()
        loaded.pipeline.storage.apply()
        releases: Sequence[Release | None] = [None] * table.num_rows
        failed: Mapping[int, Failure] = {}
        with suppress(ConfigError):  # ``write_unit`` reports it
            if loaded.burns_pages:
                table, failed = with_bar_codes(table, loaded, key_check)
            # Images are large, and only the covering needs them.
            small = table.drop_columns(["image"]) if loaded.burns_pages else table
            rows, _ = _finished(small, loaded, key_check)
            releases = releases if rows.release is None else rows.release.releases
        if loaded.burns_pages:
            table = cover_pages(table, releases, loaded, key_check, failed)
        texts = [one and one.done.text for one in releases]
        table = table.append_column(RELEASED, pa.array(texts, pa.string()))
        return pack(unit, add_busy(table, "write", time.monotonic() - started))


def _finished(table: pa.Table, loaded: LoadedPipeline, key_check: str) -> tuple[UnitRows, Tally]:
    pipeline = loaded.pipeline
    return finish_unit(
        table,
        pipeline.merge,
        datetime.now(UTC),
        Carried(SinkFolder(pipeline.sink.path), table),
        refiner(loaded.stages),
        releaser_with(loaded.stages, key_check),
    )


def write_unit(
    block: pa.Table,
    loaded: LoadedPipeline,
    run_id: str,
    key_check: str = "",
    pulse: Pulse | None = None,
    run_span: ParentSpan | None = None,
) -> pa.Table:
    """The last map of the graph: write the files of one packed unit. Returns a row with its id,
    the footer of its documents file, its counts, and the error if writing failed.

    ``key_check``: of the key that the run de-identifies with. ``pulse`` is called during the work;
    ``run_span`` gets a span for it.
    """
    unit, table = unpack(block)
    with (
        (pulse or NoPulse()).while_busy(characters(table)),
        (run_span or ParentSpan()).span("write", unit=unit, documents=table.num_rows),
    ):
        return _written(unit, table, loaded, run_id, key_check)


def _written(
    unit: str, table: pa.Table, loaded: LoadedPipeline, run_id: str, key_check: str
) -> pa.Table:
    pipeline = loaded.pipeline
    pipeline.storage.apply()
    started = time.monotonic()
    folder = SinkFolder(pipeline.sink.path)
    try:
        rows, tally = _finished(table, loaded, key_check)
    except ConfigError as error:
        return _unwritten(unit, error)
    tally.busy.update(busy(table))
    tally.over_share.update(over(table))
    attempt = new_attempt()
    place = page_place(run_id, unit, attempt)
    plain = pipeline.sink.format == "parquet"
    tables = rows.tables(pipeline.sink.entity_columns, plain, place)
    try:
        if rows.release is not None:
            write_pages(folder, table, rows.release.page_files(place))
        files = write_unit_tables(folder, run_id, unit, tables, tally.as_json(), attempt)
    except OSError as error:
        return _unwritten(unit, error)
    tally.busy["write"] += time.monotonic() - started  # type: ignore[assignment]
    new = tally.documents - tally.carried
    count_unit(pipeline.name, new, tally.entities, tally.failures, tally.deidentified)
    log_event("unit written", run=run_id, unit=unit, documents=tally.total, failed=new["failed"])
    return pa.table(
        {"unit": [unit], "files": [files.as_json()], "tally": [tally.as_json()], "error": [""]}
    )


def _unwritten(unit: str, error: Exception) -> pa.Table:
    """The error as data, because Ray would pass on only its own wrapper of it."""
    return pa.table({"unit": [unit], "files": [""], "tally": ["{}"], "error": [str(error)]})
