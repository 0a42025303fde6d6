"""Reading a run back: its documents with their entities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from actors.spans import Entity
from pipelines.lake.layout import Sink
from pipelines.lake.schema import row_entity

_COLUMNS = [
    *("doc_id", "source", "source_row", "status", "error_type", "error_message", "text"),
    "page_sizes",
]


@dataclass(frozen=True, slots=True)
class Result:
    """A row of the documents table with its rows of the entities table."""

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


def read_results(sink: Sink, run_id: str, units: Sequence[str]) -> Iterator[Result]:
    """The documents of some units of a run, one unit in memory at a time."""
    for unit in units:
        entities: dict[str, list[Entity]] = {}
        rows: list[dict[str, Any]] = []
        for table in sink.tables(run_id, "entities", [unit]):
            for row in table.to_pylist():
                entities.setdefault(row["doc_id"], []).append(row_entity(row))
        for table in sink.tables(run_id, "documents", [unit], _COLUMNS):
            rows.extend(table.to_pylist())
        for row in rows:
            row["page_sizes"] = tuple(row["page_sizes"] or ())
            yield Result(entities=tuple(entities.get(row["doc_id"], ())), **row)
