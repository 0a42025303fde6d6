"""OMOP CDM 5.4: rows of NOTE and NOTE_NLP, as CSV or Parquet.

https://ohdsi.github.io/CommonDataModel/cdm54.html. ``note_id`` is the document's id where that is
an integer, or else the first 63 bits of its BLAKE2b hash; ``note_source_value`` holds the id
itself. Concept ids that the tables require and medspan does not know are 0, OMOP's "no matching
concept". A code fills ``note_nlp_concept_id`` only if the name of its vocabulary is ``omop``, that
is, if the vocabulary was built with concept ids as codes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import date, datetime
from hashlib import blake2b
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from actors.context.standards import omop_modifiers
from actors.spans import Entity
from pipelines.exchange.export_files import ExportFiles
from pipelines.exchange.exporter import ExportError, ExportOptions, Lost, Offsets, count_facts
from pipelines.runs.results import Result

_DAY, _TIME = pa.date32(), pa.timestamp("us")
NOTE = pa.schema(
    [
        ("note_id", pa.int64()),
        ("person_id", pa.int64()),
        ("note_date", _DAY),
        ("note_datetime", _TIME),
        ("note_type_concept_id", pa.int32()),
        ("note_class_concept_id", pa.int32()),
        ("note_title", pa.string()),
        ("note_text", pa.string()),
        ("encoding_concept_id", pa.int32()),
        ("language_concept_id", pa.int32()),
        ("provider_id", pa.int32()),
        ("visit_occurrence_id", pa.int32()),
        ("visit_detail_id", pa.int32()),
        ("note_source_value", pa.string()),
        ("note_event_id", pa.int64()),
        ("note_event_field_concept_id", pa.int32()),
    ]
)
NOTE_NLP = pa.schema(
    [
        ("note_nlp_id", pa.int64()),
        ("note_id", pa.int64()),
        ("section_concept_id", pa.int32()),
        ("snippet", pa.string()),
        ("offset", pa.string()),
        ("lexical_variant", pa.string()),
        ("note_nlp_concept_id", pa.int32()),
        ("note_nlp_source_concept_id", pa.int32()),
        ("nlp_system", pa.string()),
        ("nlp_date", _DAY),
        ("nlp_datetime", _TIME),
        ("term_exists", pa.string()),
        ("term_temporal", pa.string()),
        ("term_modifiers", pa.string()),
    ]
)
_SHORT, _ID = 250, 50  # varchar(250) and varchar(50) of the tables
_AROUND = 60  # characters of the text on either side of a term in ``snippet``
_SYSTEM = "omop"
_DIGITS = 18  # of a number that fits into 63 bits


class _Rows(Protocol):
    def add(self, row: Mapping[str, Any]) -> None: ...
    def close(self) -> None: ...


class OmopExporter:
    """Writes ``note`` and ``note_nlp``, ``.csv`` or ``.parquet``."""

    def __init__(self, output: ExportFiles, options: ExportOptions, lost: Lost) -> None:
        self._options, self._lost = options, lost
        self._notes, self._terms = (
            _ParquetRows(output.parquet(schema, f"{name}.parquet"), schema)
            if options.parquet
            else _CsvRows(output.file(f"{name}.csv"), schema)
            for name, schema in (("note", NOTE), ("note_nlp", NOTE_NLP))
        )
        self._number = 0

    def write(self, result: Result, text: str) -> None:
        """Write a note and its terms."""
        count_facts(result, self._lost, "relations", "scores", "attributes", "boxes")
        note_id = _note_id(result.doc_id)
        written: datetime = result.more["finished_at"]
        when = self._date(result)
        if len(result.doc_id) > _ID:
            self._lost[f"ids longer than {_ID} characters, cut in note_source_value"] += 1
        self._notes.add(
            {
                "note_id": note_id,
                "person_id": self._person(result),
                "note_date": when.date() if isinstance(when, datetime) else when,
                "note_datetime": when.replace(tzinfo=None) if isinstance(when, datetime) else None,
                "note_type_concept_id": 0,
                "note_class_concept_id": 0,
                "note_text": text,
                "encoding_concept_id": 0,
                "language_concept_id": 0,
                "note_source_value": result.doc_id[:_ID],
            }
        )
        versions = {step["model"]: step["fingerprint"] for step in result.more["steps"] or ()}
        at = Offsets(text, (entity.start for entity in result.entities), self._options.unit)
        for entity in result.entities:
            self._number += 1
            version = versions.get(entity.model)
            system = f"{self._options.system}; {entity.model}" + (f" {version}" if version else "")
            modifiers = None if entity.assertion is None else omop_modifiers(entity.assertion)
            place = at.of(entity.start)
            self._terms.add(
                {
                    "note_nlp_id": self._number,
                    "note_id": note_id,
                    "section_concept_id": self._section(entity),
                    "snippet": _snippet(entity, text),
                    "offset": None if place is None else str(place),
                    "lexical_variant": self._cut(entity.text),
                    "note_nlp_concept_id": self._concept(entity),
                    "nlp_system": system[:_SHORT],
                    "nlp_date": written.date(),
                    "nlp_datetime": written.replace(tzinfo=None),
                    "term_exists": modifiers and modifiers.term_exists,
                    "term_temporal": modifiers and modifiers.term_temporal,
                    "term_modifiers": modifiers and modifiers.term_modifiers,
                }
            )

    def _person(self, result: Result) -> int | None:
        column = self._options.patient
        value = result.more[column] if column else None
        if value is None:
            self._lost["person_id is empty (--patient names its column)"] += 1
            return None
        try:
            return int(value)
        except ValueError:
            raise ExportError(
                f"--patient {column}: OMOP's person_id is an integer, and document "
                f"{result.doc_id!r} has none there"
            ) from None

    def _date(self, result: Result) -> date | datetime | None:
        column = self._options.date
        value = result.more[column] if column else None
        if value is None:
            self._lost["note_date is empty (--date names its column)"] += 1
        return as_date(value, result.doc_id, column)

    def _section(self, entity: Entity) -> int | None:
        if entity.section is None:
            return None
        concept = self._options.section_concepts.get(entity.section)
        if concept is None:
            self._lost["sections of entities without a concept (--section-concepts)"] += 1
        return concept

    def _concept(self, entity: Entity) -> int | None:
        concept = None
        for code in entity.codes:
            if code.system == _SYSTEM and concept is None and code.code.isdecimal():
                concept = int(code.code)
            else:
                self._lost["codes that are no OMOP concepts"] += 1
        return concept

    def _cut(self, text: str) -> str:
        if len(text) > _SHORT:
            self._lost[f"terms longer than {_SHORT} characters, cut"] += 1
        return text[:_SHORT]

    def close(self) -> None:
        """End the two tables."""
        self._notes.close()
        self._terms.close()


def as_date(value: object, doc_id: str, column: str | None) -> date | datetime | None:
    """A value of a date column: a date, a time, or ISO 8601 text. Raises ExportError."""
    if value is None or isinstance(value, date):  # a datetime is a date
        return value
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        raise ExportError(
            f"--date {column}: document {doc_id!r} has no date there (expected a date, a time or "
            "ISO 8601)"
        ) from None
    return found.date() if len(str(value)) <= len("2026-01-31") else found


def _note_id(doc_id: str) -> int:
    number = doc_id.isascii() and doc_id.isdecimal() and len(doc_id) <= _DIGITS
    if number and str(int(doc_id)) == doc_id:  # "007" and "7" are two documents
        return int(doc_id)
    return int.from_bytes(blake2b(doc_id.encode(), digest_size=8).digest()) >> 1


def _snippet(entity: Entity, text: str) -> str | None:
    if entity.start is None or entity.end is None:
        return None
    return text[max(entity.start - _AROUND, 0) : entity.end + _AROUND][:_SHORT]


class _CsvRows:
    """Rows of a table as CSV in UTF-8 (RFC 4180), with a header; an empty field is a null."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._file = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        self._rows = csv.DictWriter(self._file, schema.names)
        self._rows.writeheader()

    def add(self, row: Mapping[str, Any]) -> None:
        self._rows.writerow(row)

    def close(self) -> None:
        self._file.detach()


class _ParquetRows:
    """Rows of a table as Parquet, some thousands in memory at a time."""

    _ROWS = 4096

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._writer, self._schema = writer, schema
        self._rows: list[dict[str, Any]] = []

    def add(self, row: Mapping[str, Any]) -> None:
        self._rows.append(dict(row))
        if len(self._rows) >= self._ROWS:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema))
        self._rows.clear()

    def close(self) -> None:
        self._flush()
