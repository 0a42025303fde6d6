"""The gold: documents and the spans that people marked in them, from JSONL.

A line is {"id", "text", "entities": [{"start", "end", "label", "text"}]}; offsets are code points.
``statements`` says what a line may hold of status and relations. Every complaint names file and
line, and none holds text: gold notes are patients' data too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import fsspec

from pipelines.evaluate.statements import StatementError, Statements, read_statements


class GoldError(ValueError):
    """The gold cannot be used, or does not belong to what it is compared with."""


@dataclass(frozen=True, slots=True)
class GoldSpan:
    """A span that a person marked: text[start:end] of its document."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class GoldDocument:
    """A document of the gold. ``text`` is what the offsets of its entities refer to."""

    id: str
    text: str
    entities: tuple[GoldSpan, ...]
    statements: Statements = field(default_factory=Statements)


def load_gold(path: str) -> dict[str, GoldDocument]:
    """The documents of a JSONL file by id, in the order of the file; a path or any fsspec URL.

    Raises GoldError with file and line where a line is no document, an id comes twice, or
    text[start:end] is not the text that the entity states; FileNotFoundError where there is none.
    """
    gold: dict[str, GoldDocument] = {}
    with fsspec.open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            document = _document(line, f"{path}, line {number}")
            if document.id in gold:
                raise GoldError(f"{path}, line {number}: the id {document.id!r} comes twice")
            gold[document.id] = document
    if not gold:
        raise GoldError(f"{path}: no documents")
    return gold


def _document(line: bytes, where: str) -> GoldDocument:
    try:
        row = json.loads(line)
    except UnicodeDecodeError as error:
        raise GoldError(f"{where}: not UTF-8, at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise GoldError(f"{where}: not JSON, at column {error.colno}: {error.msg}") from None
    if not isinstance(row, Mapping):
        raise GoldError(f"{where}: a line must be an object with id, text and entities")
    identifier, text, entities = row.get("id"), row.get("text"), row.get("entities")
    if isinstance(identifier, int) and not isinstance(identifier, bool):
        identifier = str(identifier)  # the lake's ids are text; a number column reads as one
    if not isinstance(identifier, str) or not identifier:
        raise GoldError(f"{where}: 'id' must be a text that is not empty")
    if not isinstance(text, str):
        raise GoldError(f"{where}: 'text' must be a text")
    if not isinstance(entities, Sequence) or isinstance(entities, str):
        raise GoldError(f"{where}: 'entities' must be a list ([] where there are none)")
    spans = tuple(_span(e, text, f"{where}: entity {i}") for i, e in enumerate(entities))
    try:
        statements = read_statements(row, len(text))
    except StatementError as error:
        raise GoldError(f"{where}: {error}") from None
    return GoldDocument(identifier, text, spans, statements)


def _span(entity: Any, text: str, where: str) -> GoldSpan:
    if not isinstance(entity, Mapping):
        raise GoldError(f"{where} must be an object with start, end and label")
    start, end = (_offset(entity.get(name), f"{where}: {name!r}") for name in ("start", "end"))
    label = entity.get("label")
    if not isinstance(label, str) or not label:
        raise GoldError(f"{where}: 'label' must be a text that is not empty")
    if not 0 <= start < end <= len(text):
        raise GoldError(f"{where}: [{start}, {end}) is no span of a text of {len(text)} characters")
    if "text" in entity and entity["text"] != text[start:end]:
        raise GoldError(
            f"{where}: the text at [{start}, {end}) is not the text that the entity states; "
            "offsets count Unicode code points (not bytes, not UTF-16)"
        )
    return GoldSpan(start, end, label)


def _offset(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise GoldError(f"{where} must be a whole number")
    return value
