"""Reading a sink back: its documents with their entities, sections and relations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from actors.spans import Entity, Relation, Section
from pipelines.tables.delta_table import UnitKey
from pipelines.tables.folder import RunError
from pipelines.tables.rows import row_entity, row_relation, row_section
from pipelines.tables.snapshot import Snapshot, TableName, keys_of

_COLUMNS = [
    *("doc_id", "source", "source_row", "status", "error_type", "error_message", "text"),
    *("page_sizes", "sections"),
]
# Documents that are Python objects at a time; the rest of their file stays an Arrow table.
_DOCUMENTS = 64

_Names = tuple[TableName, TableName, TableName]
_ORIGINALS: _Names = ("documents", "entities", "relations")
_RELEASED: _Names = (
    "deidentified/documents",
    "deidentified/entities",
    "deidentified/relations",
)
# What de-identified documents do not have: nothing of theirs leads to a file.
_ABSENT = {"source": "", "source_row": 0, "error_message": "", "page_sizes": None}


@dataclass(frozen=True, slots=True)
class Result:
    """A row of a table of documents with its rows of the other tables."""

    doc_id: str
    source: str
    source_row: int
    status: str
    error_type: str
    error_message: str
    text: str | None
    page_sizes: tuple[dict[str, int], ...]
    """Of a document that was a picture: width, height and turn of every page."""
    entities: tuple[Entity, ...]
    sections: tuple[Section, ...] = ()
    relations: tuple[Relation, ...] = ()
    """By the places of their entities in ``entities``."""
    characters: int = 0
    """Length of the whole text; ``text`` may be only its beginning."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """The further columns of the documents table that were asked for."""


def read_results(
    snapshot: Snapshot,
    run_id: str | None = None,
    most_files: int = 0,
    columns: Sequence[str] = (),
    deidentified: bool = False,
    most_characters: int | None = None,
) -> Iterator[Result]:
    """All live documents, or those that a run wrote, one file in memory at a time; with
    ``most_files`` those of so many files, evenly spread. ``columns``: further columns of the
    documents table, for ``Result.more``.

    ``most_characters``: of a longer text only the beginning, with what is in it.

    ``deidentified``: the de-identified documents instead, with the entities, relations and sections
    in their new texts. Their tables have no ``source``, no pages and no ``steps``, which are then
    empty, and ``finished_at`` is when their run was committed. Raises RunError for a sink without
    them.
    """
    if deidentified:
        check_deidentified(snapshot)
    texts, *others = _RELEASED if deidentified else _ORIGINALS
    units = [one.key for one in snapshot.units if run_id in (None, one.run_id)]
    documents = list(keys_of(snapshot.folder, snapshot.table(texts), units))
    step = max(1, len(documents) // most_files) if most_files else 1
    paths = [snapshot.paths(name, units) for name in others]
    mine = None if run_id is None else pc.field("run_id") == run_id
    known = snapshot.table(texts).schema().names
    names = [name for name in dict.fromkeys((*_COLUMNS, "run_id", *columns)) if name in known]
    committed = _Committed(snapshot)
    for file, keys in documents[::step]:
        entities, relations = (rows_by_id(snapshot, keys, one) for one in paths)
        table = snapshot.folder.read_table(f"{texts}/{file.path}", names, mine)
        for batch in table.to_batches(_DOCUMENTS):
            for row in batch.to_pylist():
                if deidentified:
                    finished = committed.at(row["run_id"])
                    row = _ABSENT | {"steps": None, "finished_at": finished} | row
                yield _result(row, entities, relations, columns, most_characters)


class _Committed:
    """When runs were committed."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._known: dict[str, datetime] = {}

    def at(self, run_id: str) -> datetime:
        if run_id not in self._known:
            facts = self._snapshot.ledger.facts(run_id)
            self._known[run_id] = datetime.fromisoformat(facts["committed_at"])
        return self._known[run_id]


def check_deidentified(snapshot: Snapshot) -> None:
    """Raise RunError for a sink that was never de-identified."""
    if "deidentified/documents" not in snapshot.names:
        raise RunError(
            f"{snapshot.folder.path} has no de-identified documents; add a `deidentify` section to "
            "the pipeline and run it"
        )


def _result(
    row: dict[str, Any],
    entities: RowsById,
    relations: RowsById,
    columns: Sequence[str],
    most: int | None,
) -> Result:
    text = row["text"] or ""
    sections = tuple(map(row_section, row["sections"] or ()))
    cut = most is not None and len(text) > most
    kept = None
    if most is not None and cut:
        # Filtered as Arrow: as Python objects, the entities of a chart of 6 MB take a gigabyte.
        end = pc.field("end")
        kept = (end <= most) | end.is_null()
        row = row | {"text": text[:most]}
        sections = tuple(_until(most, one) for one in sections if one.start < most)
    found = sorted(entities.of(row["doc_id"], kept), key=lambda one: int(one["ordinal"]))
    return Result(
        **{name: row[name] for name in _COLUMNS}
        | {"page_sizes": tuple(row["page_sizes"] or ()), "sections": sections},
        entities=tuple(map(row_entity, found)),
        relations=_among(found, relations, row["doc_id"], cut),
        characters=len(text),
        more={name: row[name] for name in columns},
    )


def _until(end: int, section: Section) -> Section:
    return replace(section, end=min(section.end, end), heading_end=min(section.heading_end, end))


def _among(
    entities: Sequence[dict[str, Any]], relations: RowsById, doc_id: str, cut: bool
) -> tuple[Relation, ...]:
    """The relations between these entities of a document, by their places."""
    if not cut:
        return tuple(map(row_relation, relations.of(doc_id)))
    place_of = {row["ordinal"]: place for place, row in enumerate(entities)}
    kept = pc.field("head").isin([*place_of]) & pc.field("tail").isin([*place_of])
    found = map(row_relation, relations.of(doc_id, kept))
    return tuple(replace(one, head=place_of[one.head], tail=place_of[one.tail]) for one in found)


class RowsById:
    """Rows of some units in another table. They stay in Arrow until their document is due, since
    a compacted file may hold more rows than fit into memory as Python objects."""

    def __init__(self, tables: Sequence[pa.Table]) -> None:
        self._table = pa.concat_tables(tables, promote_options="default") if tables else None
        self._places: dict[str, tuple[int, int]] = {}
        if self._table is None:
            return
        ids = self._table["doc_id"]
        self._order = pc.sort_indices(ids)
        encoded = pc.run_end_encode(ids.take(self._order).combine_chunks())
        start = 0
        ends = encoded.run_ends.to_pylist()
        for doc_id, end in zip(encoded.values.to_pylist(), ends, strict=True):
            self._places[doc_id] = (start, end)
            start = end

    def of(self, doc_id: str, kept: pc.Expression | None = None) -> list[dict[str, Any]]:
        """The rows of a document, in the order of their file."""
        if self._table is None or doc_id not in self._places:
            return []
        start, end = self._places[doc_id]
        rows = self._table.take(self._order[start:end])
        found: list[dict[str, Any]] = (rows if kept is None else rows.filter(kept)).to_pylist()
        return found


def rows_by_id(
    snapshot: Snapshot,
    keys: set[UnitKey],
    paths: Mapping[UnitKey, Sequence[str]],
    columns: list[str] | None = None,
) -> RowsById:
    """Read the rows of some units from their files in a table (``paths``): ``columns``, or all."""
    wanted_columns = None if columns is None else [*columns, "run_id", "unit"]
    wanted = pc.field("run_id").isin([run for run, _ in keys])
    wanted &= pc.field("unit").isin([unit for _, unit in keys])
    files = dict.fromkeys(path for key in keys for path in paths.get(key, ()))
    return RowsById([snapshot.folder.read_table(path, wanted_columns, wanted) for path in files])
