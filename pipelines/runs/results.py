"""Reading a run back: its documents with their entities, sections and relations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow.compute as pc

from actors.spans import Entity, Relation, Section
from pipelines.tables.delta import Key
from pipelines.tables.rows import row_entity, row_relation, row_section
from pipelines.tables.snapshot import Snapshot, keys_of

_COLUMNS = [
    *("doc_id", "source", "source_row", "status", "error_type", "error_message", "text"),
    *("page_sizes", "sections"),
]


_OTHERS: tuple[Literal["entities"], Literal["relations"]] = ("entities", "relations")


@dataclass(frozen=True, slots=True)
class Result:
    """A row of the documents table with its rows of the other tables."""

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


def read_results(snapshot: Snapshot, run_id: str, most_files: int = 0) -> Iterator[Result]:
    """The live documents that a run wrote, one file in memory at a time; with ``most_files`` those
    of so many files, spread over the run."""
    units = [one.key for one in snapshot.units if one.run_id == run_id]
    documents = list(keys_of(snapshot.folder, snapshot.table("documents"), units))
    step = max(1, len(documents) // most_files) if most_files else 1
    paths = {name: snapshot.paths(name, units) for name in _OTHERS}
    for file, keys in documents[::step]:
        entities, relations = (_rows(snapshot, run_id, keys, paths[name]) for name in _OTHERS)
        mine = pc.field("run_id") == run_id
        rows = snapshot.folder.read_table(f"documents/{file.path}", [*_COLUMNS, "run_id"], mine)
        for row in rows.drop_columns("run_id").to_pylist():
            row["page_sizes"] = tuple(row["page_sizes"] or ())
            row["sections"] = tuple(map(row_section, row["sections"] or ()))
            found = sorted(entities.get(row["doc_id"], ()), key=lambda one: int(one["ordinal"]))
            yield Result(
                entities=tuple(map(row_entity, found)),
                relations=tuple(map(row_relation, relations.get(row["doc_id"], ()))),
                **row,
            )


def _rows(
    snapshot: Snapshot, run_id: str, keys: set[Key], paths: dict[Key, tuple[str, ...]]
) -> dict[str, list[dict[str, Any]]]:
    """The rows of some units in another table, by document."""
    mine = (pc.field("run_id") == run_id) & pc.field("unit").isin([unit for _, unit in keys])
    found: dict[str, list[dict[str, Any]]] = {}
    for path in dict.fromkeys(path for key in keys for path in paths.get(key, ())):
        for row in snapshot.folder.read_table(path, None, mine).to_pylist():
            found.setdefault(row["doc_id"], []).append(row)
    return found
