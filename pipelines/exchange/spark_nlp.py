"""Spark NLP: a row per document with arrays of annotations, as Parquet.

https://sparknlp.org/docs/en/concepts. An annotation has ``annotatorType``, ``begin`` and ``end``
(inclusive), ``result``, ``metadata`` and ``embeddings``. Columns: ``document``, ``ner_chunk``
(chunk), ``assertion`` (classes of i2b2), ``resolution`` (entity: codes) and ``relations``
(category), with the metadata keys of Spark NLP for Healthcare. Its code cuts Java strings, so
offsets are UTF-16 code units unless asked for otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from actors.context.standards import i2b2_class
from actors.spans import Entity
from pipelines.exchange.export_files import ExportFiles
from pipelines.exchange.exporter import (
    ExportOptions,
    Lost,
    Offsets,
    count_facts,
    count_unplaced,
    placed,
)
from pipelines.runs.results import Result

ANNOTATION = pa.struct(
    [
        pa.field("annotatorType", pa.string()),
        pa.field("begin", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("result", pa.string()),
        pa.field("metadata", pa.map_(pa.string(), pa.string())),
        pa.field("embeddings", pa.list_(pa.float32())),
    ]
)
SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("text", pa.string()),
        *(
            (column, pa.list_(ANNOTATION))
            for column in ("document", "ner_chunk", "assertion", "resolution", "relations")
        ),
    ]
)
_ROWS = 256


class SparkNlpExporter:
    """Writes a Parquet file; read it with ``spark.read.parquet``."""

    def __init__(self, output: ExportFiles, options: ExportOptions, lost: Lost) -> None:
        self._unit, self._lost = options.unit, lost
        self._writer = output.parquet(SCHEMA)
        self._rows: list[dict[str, Any]] = []

    def write(self, result: Result, text: str) -> None:
        """Add a row."""
        count_unplaced(result, self._lost)
        count_facts(result, self._lost, "boxes")
        if result.sections:  # names stand in the metadata of chunks
            self._lost["places of sections"] += len(result.sections)
        entities = list(placed(result.entities))
        at = Offsets(text, [len(text), *_edges(result.entities)], self._unit)
        chunk = {one.index: number for number, one in enumerate(entities)}
        row: dict[str, Any] = {"doc_id": result.doc_id, "text": text}
        row["document"] = [_annotation("document", 0, at[len(text)], text, {"sentence": "0"})]
        row["ner_chunk"] = [
            _annotation(
                "chunk",
                at[one.start],
                at[one.end],
                one.entity.text,
                _metadata(one.entity) | _number(number),
            )
            for number, one in enumerate(entities)
        ]
        row["assertion"] = [
            _annotation(
                "assertion",
                at[one.start],
                at[one.end],
                i2b2_class(one.entity.assertion),
                {"ner_chunk": one.entity.text, "ner_label": one.label} | _number(number),
            )
            for number, one in enumerate(entities)
            if one.entity.assertion is not None
        ]
        row["resolution"] = [
            _annotation(
                "entity",
                at[one.start],
                at[one.end],
                code.code,
                {
                    "target_text": one.entity.text,
                    "resolved_text": code.term,
                    "vocabulary": code.system,
                    "confidence": str(code.score),
                }
                | _number(number),
            )
            for number, one in enumerate(entities)
            for code in one.entity.codes
        ]
        row["relations"] = list(self._relations(result, at, chunk))
        self._rows.append(row)
        if len(self._rows) >= _ROWS:
            self._flush()

    def _relations(
        self, result: Result, at: Offsets, chunk: dict[int, int]
    ) -> Iterator[dict[str, Any]]:
        for one in result.relations:
            ends = result.entities[one.head], result.entities[one.tail]
            places = [(e.start, e.end) for e in ends if e.start is not None and e.end is not None]
            if len(places) < 2:
                self._lost["relations of ungrounded entities"] += 1
                continue
            metadata = {"confidence": "" if one.score is None else str(one.score)}
            for number, (entity, (start, end), index) in enumerate(
                zip(ends, places, (one.head, one.tail), strict=True), start=1
            ):
                metadata |= {
                    f"entity{number}": entity.label,
                    f"entity{number}_begin": str(at[start]),
                    f"entity{number}_end": str(at[end] - 1),
                    f"chunk{number}": entity.text,
                    f"chunk{number}_id": str(chunk[index]),
                }
            metadata |= dict(one.attributes)
            first, last = min(s for s, _ in places), max(e for _, e in places)
            yield _annotation("category", at[first], at[last], one.type, metadata)

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
        self._rows.clear()

    def close(self) -> None:
        """Write the last rows."""
        self._flush()


def _edges(entities: tuple[Entity, ...]) -> Iterator[int | None]:
    yield 0
    for entity in entities:
        yield from (entity.start, entity.end)


def _number(chunk: int) -> dict[str, str]:
    return {"sentence": "0", "chunk": str(chunk)}


def _metadata(entity: Entity) -> dict[str, str]:
    found = {"entity": entity.label, "ner_source": entity.model, **entity.attributes}
    if entity.score is not None:
        found["confidence"] = str(entity.score)
    if entity.section is not None:
        found["section"] = entity.section
    return found


def _annotation(
    kind: str, start: int, end: int, result: str, metadata: dict[str, str]
) -> dict[str, Any]:
    return {
        "annotatorType": kind,
        "begin": start,
        "end": end - 1,
        "result": result,
        "metadata": list(metadata.items()),
        "embeddings": [],
    }
