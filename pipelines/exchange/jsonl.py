"""JSONL: a document a line, with all that the tables say of it. ``medspan evaluate`` reads it as
gold.

    {"id", "text", "offsets", "document_status",
     "entities": [{"start", "end", "label", "text", "score", "grounding", "model", "section",
                   "attributes", "codes", "boxes"}],
     "ungrounded": the entities without a place, with the same keys but for start and end,
     "status": [{"start", "end", "label", "attributes", "experiencer"}],
     "relations": [{"type", "head": [start, end], "tail": [start, end], "score", "how",
                    "attributes"}],
     "sections": [{"name", "start", "end", "heading_end", "loinc"}]}

``status`` has an item for every entity with a status.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

from actors.spans import Entity
from pipelines.evaluate.statements import ATTRIBUTES
from pipelines.exchange.exporter import ExportOptions, Lost, Offsets
from pipelines.runs.results import Result
from pipelines.tables.rows import entity_row, section_row


class JsonlExporter:
    """Writes JSONL; the only thing without a place is a relation of an ungrounded entity."""

    def __init__(self, file: IO[bytes], options: ExportOptions, lost: Lost) -> None:
        self._file, self._unit, self._lost = file, options.unit, lost

    def write(self, result: Result, text: str) -> None:
        """Write a line."""
        at = Offsets(text, _places(result), self._unit)
        row = {
            "id": result.doc_id,
            "text": text,
            "offsets": self._unit,
            "document_status": result.status,
            "entities": [
                {"start": at.of(e.start), "end": at.of(e.end)} | _facts(e)
                for e in result.entities
                if e.start is not None
            ],
            "ungrounded": [_facts(e) for e in result.entities if e.start is None],
            "status": [
                {"start": at.of(e.start), "end": at.of(e.end), "label": e.label}
                | {
                    "attributes": [name for name in ATTRIBUTES if getattr(e.assertion, name)],
                    "experiencer": str(e.assertion.experiencer),
                }
                for e in result.entities
                if e.start is not None and e.assertion is not None
            ],
            "relations": list(self._relations(result, at)),
            "sections": [
                section_row(s)
                | {name: at[getattr(s, name)] for name in ("start", "end", "heading_end")}
                for s in result.sections
            ],
        }
        self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    def _relations(self, result: Result, at: Offsets) -> Iterator[dict[str, Any]]:
        for one in result.relations:
            head, tail = result.entities[one.head], result.entities[one.tail]
            if head.start is None or tail.start is None:
                self._lost["relations of ungrounded entities"] += 1
                continue
            yield {
                "type": one.type,
                "head": [at.of(head.start), at.of(head.end)],
                "tail": [at.of(tail.start), at.of(tail.end)],
                "score": one.score,
                "how": one.how,
                "attributes": dict(one.attributes),
            }

    def close(self) -> None:
        """Nothing follows the last line."""


def _places(result: Result) -> Iterator[int | None]:
    for entity in result.entities:
        yield from (entity.start, entity.end)
    for section in result.sections:
        yield from (section.start, section.end, section.heading_end)


_KEYS = ("label", "text", "score", "grounding", "model", "section", "codes", "boxes")


def _facts(entity: Entity) -> dict[str, Any]:
    row = entity_row(entity)
    return {key: row[key] for key in _KEYS} | {"attributes": dict(entity.attributes)}
