"""The de-identified tables of a unit, from its rows of the other tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from actors.pages import OcrResult
from actors.spans import Annotations, Failure, Status
from pipelines.batch.second_look import SecondLook
from pipelines.deidentification import Deidentification
from pipelines.release import Release, Releaser
from pipelines.source.ids import Id, column_ids, may_be_ids
from pipelines.tables.column_types import as_column, extra_columns, released_columns
from pipelines.tables.rows import (
    entity_row,
    relation_row,
    released_rows,
    row_entity,
    row_relation,
    row_section,
)
from pipelines.tables.schema import (
    DEIDENTIFIED_DOCUMENTS,
    DEIDENTIFIED_ENTITIES,
    DEIDENTIFIED_RELATIONS,
    REIDENTIFICATION,
)

TableRow = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """A document's patient, from columns of the source. ``id``: None if unknown, a Failure if the
    value cannot be an id. ``names``: names of the patient and of others."""

    id: Id = None
    names: tuple[str, ...] = ()


def known(table: pa.Table, section: Deidentification) -> list[Known]:
    """Return the patient of each row of a unit."""
    columns = [table[name].to_pylist() for name in section.name_columns]
    rows = zip(*columns, strict=True) if columns else ((),) * table.num_rows
    names = [tuple(str(value) for value in row if value) for row in rows]
    return [Known(*both) for both in zip(_ids(table, section.patient_column), names, strict=True)]


def _ids(table: pa.Table, name: str | None) -> list[Id]:
    if name is None:
        return [None] * table.num_rows
    column = table[name].combine_chunks()
    if not may_be_ids(column.type):
        return [Failure("WrongType", f"{name}: {column.type} cannot be an id")] * table.num_rows
    return column_ids(column, name)


class UnitRelease:
    """Collects the de-identified rows of a unit, a document at a time."""

    def __init__(self, releaser: Releaser) -> None:
        self._releaser = releaser
        self._documents: list[TableRow] = []
        self._entities: list[TableRow] = []
        self._relations: list[TableRow] = []
        self._pairs: list[TableRow] = []
        self._page_names: list[str | None] = []
        self.releases: list[Release] = []
        """The release of each document, in order."""
        self.statuses: Counter[str] = Counter()

    def add(
        self,
        document: TableRow,
        entities: Sequence[TableRow],
        relations: Iterable[TableRow],
        known: Known,
        again: SecondLook | None = None,
        reading: OcrResult | None = None,
    ) -> None:
        """Add a document, given by its rows of the other tables: those of a document that is
        carried over from an earlier run are de-identified again, by this run's configuration.
        ``reading``: what OCR read of its pages."""
        releaser, id_ = self._releaser, document["doc_id"]
        ordered = sorted(entities, key=lambda row: int(row["ordinal"]))
        annotations = Annotations(
            entities=tuple(map(row_entity, ordered)),
            sections=tuple(map(row_section, document["sections"] or ())),
            relations=tuple(map(row_relation, relations)),
        )
        status, error_type = Status(document["status"]), document["error_type"]
        patient = known.id
        if isinstance(patient, Failure):
            status, error_type, patient = Status.FAILED, patient.type, None
        release = releaser.release(
            document["text"],
            status,
            error_type,
            annotations,
            patient or id_,
            known.names,
            reading,
        )
        if again is not None:
            release = again.of(release, releaser, document["text"], known.names)
        new_id = releaser.document_id(id_, _is_derived(document))
        self._add(release, id_, new_id, patient)
        page = None if again is None or release.done.text is None else again.page
        name = releaser.pseudonym("page", id_)
        self._page_names.append(None if page is None else f"{name}.{page.kind}")

    def _add(self, release: Release, id_: str, new_id: str, patient: str | None) -> None:
        self.statuses[release.status] += 1
        self.releases.append(release)
        pseudonym = None if patient is None else self._releaser.pseudonym("patient", patient)
        document, pair = released_rows(release.done, release.on_page)
        of = {"doc_id": new_id}
        self._documents.append(
            of
            | {"status": release.status.value, "error_type": release.error_type}
            | {"patient": pseudonym}
            | document
        )
        found = release.done.annotations
        self._entities += (
            of | {"ordinal": i} | entity_row(entity) for i, entity in enumerate(found.entities)
        )
        self._relations += (of | relation_row(relation) for relation in found.relations)
        self._pairs.append({"doc_id": id_, "deidentified_id": new_id} | pair)

    def page_files(self, place: str) -> list[str | None]:
        """The file of every document's pages, below the folder ``deidentified``; None where none
        may leave. ``place``: what the unit's files begin with."""
        return [name and f"{place}.{name}" for name in self._page_names]

    def _hashed(self, column: str, value: object) -> str | None:
        return None if value is None else self._releaser.pseudonym(f"column {column}", str(value))

    def tables(self, extra: pa.Table, plain: bool, place: str) -> dict[str, pa.Table]:
        """The tables by name. ``extra``: the extra columns of the unit's documents, in their order,
        as they were read; ``plain``: columns that are kept stay in their own types; ``place`` as
        for ``page_files``."""
        pages = self.page_files(place)
        rows = [row | {"page_file": file} for row, file in zip(self._documents, pages, strict=True)]
        documents = pa.Table.from_pylist(rows, schema=DEIDENTIFIED_DOCUMENTS)
        schema = extra.schema if plain else extra_columns(extra.schema)
        how = self._releaser.config.extra_columns
        for field in released_columns(schema, self._releaser.config):
            column = extra[field.name]
            if how[field.name] == "hash":
                values = (self._hashed(field.name, value) for value in column.to_pylist())
                column = pa.chunked_array([pa.array(values, pa.string())])
            documents = documents.append_column(field, as_column(column, field.type))
        return {
            "deidentified/documents": documents,
            "deidentified/entities": pa.Table.from_pylist(
                self._entities, schema=DEIDENTIFIED_ENTITIES
            ),
            "deidentified/relations": pa.Table.from_pylist(
                self._relations, schema=DEIDENTIFIED_RELATIONS
            ),
            "reidentification": pa.Table.from_pylist(self._pairs, schema=REIDENTIFICATION),
        }


def _is_derived(document: TableRow) -> bool:
    """True if an id is made of the path of the document's file; see ``pipelines.source.read``."""
    source = document["source"]
    return document["doc_id"] in (source, f"{source}#{document['source_row']}")
