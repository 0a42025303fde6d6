"""Results of OCR as columns, from the OCR pool to the end of the unit."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pyarrow as pa

from actors.pages import OcrResult, PageSize, Word
from actors.spans import Box, MarkKind, PageMark

_SIDES = ("x0", "y0", "x1", "y1")
_BOX = [pa.field("page", pa.int32()), *(pa.field(side, pa.float32()) for side in _SIDES)]


def _text(name: str) -> pa.Field:
    return pa.field(name, pa.string())


READING = pa.struct(
    [
        # What was read: BLAKE2b of the picture's bytes and of the row's prompt.
        pa.field("identity", pa.string()),
        # Words as columns: a page has hundreds, and a struct of lists is a tenth of the size.
        pa.field("start", pa.list_(pa.int32())),
        pa.field("end", pa.list_(pa.int32())),
        pa.field("page", pa.list_(pa.int32())),
        *(pa.field(side, pa.list_(pa.float32())) for side in _SIDES),
        pa.field("confidence", pa.list_(pa.float32())),
        pa.field("word_turn", pa.list_(pa.int32())),
        pa.field("field", pa.list_(pa.string())),
        pa.field("width", pa.list_(pa.int32())),
        pa.field("height", pa.list_(pa.int32())),
        pa.field("turn", pa.list_(pa.int32())),
        pa.field("marks", pa.list_(pa.struct([*map(_text, ("kind", "content")), *_BOX]))),
    ]
)


def reading_row(reading: OcrResult) -> dict[str, Any]:
    """A Reading, without its text, as a value of READING."""
    words = reading.words
    return {
        "start": [word.start for word in words],
        "end": [word.end for word in words],
        "page": [word.box.page for word in words],
        **{side: [getattr(word.box, side) for word in words] for side in _SIDES},
        "confidence": [word.confidence for word in words],
        "word_turn": [word.turn for word in words],
        "field": [word.field for word in words],
        "width": [page.width for page in reading.pages],
        "height": [page.height for page in reading.pages],
        "turn": [page.turn for page in reading.pages],
        "marks": [mark_row(mark) for mark in reading.marks],
    }


def mark_row(mark: PageMark) -> dict[str, Any]:
    """A PageMark as one of the marks of a READING."""
    return {"kind": mark.kind.value, "content": mark.content, **asdict(mark.box)}


def row_reading(row: dict[str, Any], text: str) -> OcrResult:
    """The reverse of ``reading_row``."""
    boxes = zip(row["page"], *(row[side] for side in _SIDES), strict=True)
    others = (row[name] for name in ("confidence", "word_turn", "field"))
    words = zip(row["start"], row["end"], boxes, *others, strict=True)
    return OcrResult(
        text,
        tuple(Word(start, end, Box(*box), *others) for start, end, box, *others in words),
        tuple(
            PageSize(*size) for size in zip(row["width"], row["height"], row["turn"], strict=True)
        ),
        marks=tuple(
            PageMark(
                MarkKind(mark["kind"]),
                Box(mark["page"], *(mark[side] for side in _SIDES)),
                mark["content"],
            )
            for mark in row["marks"]
        ),
    )
