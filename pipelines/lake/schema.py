"""What the tables hold, column by column. The descriptions travel in the Parquet schema.

``EXTRACTION`` is an Extraction as an Arrow struct: how a step hands its results to the next.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from actors.spans import Box, Entity, Extraction, Failure, Grounding, Status, Usage


def _field(name: str, type_: pa.DataType, description: str, nullable: bool = True) -> pa.Field:
    return pa.field(name, type_, nullable=nullable, metadata={"description": description})


BOX = pa.struct(
    [
        pa.field("page", pa.int32()),
        *(pa.field(side, pa.float32()) for side in ("x0", "y0", "x1", "y1")),
    ]
)

PAGE_SIZE = pa.struct([pa.field(name, pa.int32()) for name in ("width", "height", "turn")])

_ENTITY_FIELDS = [
    _field("label", pa.string(), "what kind of thing it is", nullable=False),
    _field("text", pa.string(), "its words: text[start:end] of the document, or the model's own"),
    _field("start", pa.int64(), "first code point in the document's text; null when ungrounded"),
    _field("end", pa.int64(), "code point after the last one; null when ungrounded"),
    _field("score", pa.float64(), "probability that the model gives it, 0 to 1"),
    _field("grounding", pa.string(), "exact, normalized, fuzzy or ungrounded", nullable=False),
    _field("boxes", pa.list_(BOX), "places on the pages, in pixels as page_sizes says"),
    _field("ocr_confidence", pa.float32(), "least confidence of the words that were read"),
    _field("attributes", pa.map_(pa.string(), pa.string()), "further facts, such as agreement"),
    _field("model", pa.string(), "the model that said it", nullable=False),
]

ENTITIES = pa.schema(
    [
        _field("doc_id", pa.string(), "id of the document", nullable=False),
        _field("ordinal", pa.int32(), "place in the document's list, from 0", nullable=False),
        *_ENTITY_FIELDS,
        _field("source", pa.string(), "URI of the file the document came from", nullable=False),
    ]
)

_STEP = pa.struct(
    [
        pa.field("model", pa.string()),
        pa.field("status", pa.string()),
        pa.field("error_type", pa.string()),
        pa.field("error_message", pa.string()),
        pa.field("completion", pa.string()),
        pa.field("reasoning", pa.string()),
        pa.field("structured", pa.string()),
        pa.field("problems", pa.list_(pa.string())),
        pa.field("prompt_tokens", pa.int64()),
        pa.field("completion_tokens", pa.int64()),
        pa.field("seconds", pa.float64()),
        pa.field("fingerprint", pa.string()),
    ]
)

DOCUMENTS = pa.schema(
    [
        _field("doc_id", pa.string(), "id of the document, unique in a run", nullable=False),
        _field("source", pa.string(), "URI of the file it came from", nullable=False),
        _field("source_version", pa.string(), "version of that file when it was listed"),
        _field("source_row", pa.int64(), "row in that file, from 0", nullable=False),
        _field("status", pa.string(), "ok, truncated or failed: the worst step", nullable=False),
        _field("error_type", pa.string(), "kind of the first failure; empty when there is none"),
        _field("error_message", pa.string(), "what went wrong, without any text of the document"),
        _field("text", pa.string(), "what offsets refer to; null where it could not be read"),
        _field("entity_count", pa.int32(), "rows of this document in entities", nullable=False),
        _field("steps", pa.list_(_STEP), "what each model of the pipeline did with it"),
        _field(
            "original_hash",
            pa.string(),
            "BLAKE2b-128 of the stored text, where it is markup and text is what one sees of it",
        ),
        _field(
            "content_hash",
            pa.string(),
            "BLAKE2b-128 of text (of a picture: its bytes) and own prompt",
        ),
        _field("pages", pa.int32(), "pages of an image document"),
        _field(
            "page_sizes",
            pa.list_(PAGE_SIZE),
            "of every page: the pixels that boxes are measured in (EXIF orientation applied, PDF "
            "as rendered), and the degrees clockwise that make its text upright",
        ),
        _field("finished_at", pa.timestamp("us", tz="UTC"), "when its unit was written"),
    ]
)

EXTRACTION = pa.struct(
    [
        pa.field("step", _STEP),
        pa.field("entities", pa.list_(pa.struct(_ENTITY_FIELDS))),
    ]
)


def entity_row(entity: Entity) -> dict[str, Any]:
    """An Entity as a value of the entities table."""
    return {
        "label": entity.label,
        "text": entity.text,
        "start": entity.start,
        "end": entity.end,
        "score": entity.score,
        "grounding": entity.grounding.value,
        "boxes": [
            {"page": b.page, "x0": b.x0, "y0": b.y0, "x1": b.x1, "y1": b.y1} for b in entity.boxes
        ],
        "ocr_confidence": entity.ocr_confidence,
        "attributes": list(entity.attributes.items()),
        "model": entity.model,
    }


def row_entity(row: dict[str, Any]) -> Entity:
    """The reverse of ``entity_row``."""
    return Entity(
        label=row["label"],
        text=row["text"],
        start=row["start"],
        end=row["end"],
        score=row["score"],
        grounding=Grounding(row["grounding"]),
        attributes=dict(row["attributes"] or ()),
        model=row["model"],
        boxes=tuple(Box(**box) for box in row["boxes"] or ()),
        ocr_confidence=row["ocr_confidence"],
    )


def extraction_row(extraction: Extraction) -> dict[str, Any]:
    """An Extraction as a value of EXTRACTION."""
    failure = extraction.failure
    return {
        "step": {
            "model": extraction.model,
            "status": extraction.status.value,
            "error_type": failure.type if failure else "",
            "error_message": failure.message if failure else "",
            "completion": extraction.completion,
            "reasoning": extraction.reasoning,
            "structured": extraction.structured,
            "problems": list(extraction.problems),
            "prompt_tokens": extraction.usage.prompt_tokens,
            "completion_tokens": extraction.usage.completion_tokens,
            "seconds": extraction.usage.seconds,
            "fingerprint": extraction.fingerprint,
        },
        "entities": [entity_row(entity) for entity in extraction.entities],
    }


def row_extraction(row: dict[str, Any], document_id: str) -> Extraction:
    """The reverse of ``extraction_row``."""
    step = row["step"]
    status = Status(step["status"])
    failed = status is Status.FAILED
    return Extraction(
        document_id=document_id,
        model=step["model"],
        fingerprint=step["fingerprint"],
        status=status,
        entities=tuple(row_entity(entity) for entity in row["entities"]),
        failure=Failure(step["error_type"], step["error_message"]) if failed else None,
        completion=step["completion"],
        reasoning=step["reasoning"],
        structured=step["structured"],
        problems=tuple(step["problems"]),
        usage=Usage(step["prompt_tokens"], step["completion_tokens"], step["seconds"]),
    )
