"""Load gold annotations from JSONL.

A line is {"id", "text", "entities": [{"start", "end", "label", "text"}]}. Offsets are code points,
unless ``offsets`` names another unit. See ``statements`` for the optional status and relations.
Lines of several people for one document name these in ``annotator``.
Every error names file and line, and none contains text: gold notes are patients' data too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import fsspec

from pipelines.evaluate.statements import StatementError, Statements, read_statements
from pipelines.offset_units import OffsetUnit, code_points

_WITH_OFFSETS = ("entities", "status", "relations", "start", "end", "head", "tail")


class GoldError(ValueError):
    """The gold file is invalid, or does not match the run it is compared with."""


@dataclass(frozen=True, slots=True)
class GoldSpan:
    """An annotated span: text[start:end] of its document."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class GoldDocument:
    """A gold document; the offsets of its entities refer to ``text``."""

    id: str
    text: str
    entities: tuple[GoldSpan, ...]
    statements: Statements = field(default_factory=Statements)
    annotators: Mapping[str, tuple[GoldSpan, ...]] = field(default_factory=dict)
    """Spans by annotator, if known; ``entities`` are those of one of them."""

    def joined(self, other: GoldDocument) -> GoldDocument:
        """The document with what ``other``, the same document by another person, marked too; its
        entities and statements are then those of ``other``. Raises GoldError where a person would
        count twice, or the texts differ."""
        who = self.annotators.keys() & other.annotators.keys()
        if who or not (self.annotators and other.annotators):
            raise GoldError(
                f"two documents with the id {self.id!r}; if several people annotated it, each "
                "line needs a different 'annotator'"
            )
        if self.text != other.text:
            raise GoldError(f"different texts for the document {self.id!r}")
        return replace(other, annotators={**self.annotators, **other.annotators})


def load_gold(path: str) -> dict[str, GoldDocument]:
    """Load the documents of a JSONL file (a path or fsspec URL) by id, in file order.

    Of a document that several annotators have a line for, the last line counts. Raises GoldError
    with file and line if a line is not a document, an id is duplicated, or text[start:end] differs
    from the entity's text; FileNotFoundError if the file does not exist.
    """
    gold: dict[str, GoldDocument] = {}
    with fsspec.open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            document = _document(line, where)
            try:
                before = gold.get(document.id)
                gold[document.id] = document if before is None else before.joined(document)
            except GoldError as error:
                raise GoldError(f"{where}: {error}") from None
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
        identifier = str(identifier)  # as in the tables, where numeric ids become strings
    if not isinstance(identifier, str) or not identifier:
        raise GoldError(f"{where}: 'id' must be a non-empty string")
    if not isinstance(text, str):
        raise GoldError(f"{where}: 'text' must be a string")
    if not isinstance(entities, Sequence) or isinstance(entities, str):
        raise GoldError(f"{where}: 'entities' must be a list ([] if there are none)")
    unit = row.get("offsets", "code_points")
    if unit not in get_args(OffsetUnit):
        raise GoldError(f"{where}: 'offsets' must be one of {', '.join(get_args(OffsetUnit))}")
    if unit != "code_points":
        row = _in_code_points(row, text, unit, where)
        entities = row["entities"]
    spans = tuple(_span(e, text, f"{where}: entity {i}") for i, e in enumerate(entities))
    try:
        statements = read_statements(row, len(text))
    except StatementError as error:
        raise GoldError(f"{where}: {error}") from None
    who = row.get("annotator")
    if who is not None and not (isinstance(who, str) and who):
        raise GoldError(f"{where}: 'annotator' must be a non-empty string")
    return GoldDocument(identifier, text, spans, statements, {who: spans} if who else {})


def _in_code_points(
    row: Mapping[str, Any], text: str, unit: OffsetUnit, where: str
) -> dict[str, Any]:
    """The row with all offsets of its entities, status and relations in code points."""
    found: set[int] = set()

    def walk(value: Any, change: Callable[[int], int]) -> Any:
        if isinstance(value, list):
            return [walk(one, change) for one in value]
        if isinstance(value, dict):
            changed = {k: walk(v, change) for k, v in value.items() if k in _WITH_OFFSETS}
            return value | changed
        return change(value) if isinstance(value, int) and not isinstance(value, bool) else value

    def note(offset: int) -> int:
        found.add(offset)
        return offset

    lists = {name: row[name] for name in ("entities", "status", "relations") if name in row}
    walk(lists, note)
    try:
        at = code_points(text, found, unit)
    except ValueError as error:
        raise GoldError(f"{where}: {error} (unit: {unit})") from None
    changed: dict[str, Any] = walk(lists, at.__getitem__)
    return {**row, **changed}


def _span(entity: Any, text: str, where: str) -> GoldSpan:
    if not isinstance(entity, Mapping):
        raise GoldError(f"{where} must be an object with start, end and label")
    start, end = (_offset(entity.get(name), f"{where}: {name!r}") for name in ("start", "end"))
    label = entity.get("label")
    if not isinstance(label, str) or not label:
        raise GoldError(f"{where}: 'label' must be a non-empty string")
    if not 0 <= start < end <= len(text):
        raise GoldError(
            f"{where}: [{start}, {end}) is not a valid span of a text of {len(text)} characters"
        )
    if "text" in entity and entity["text"] != text[start:end]:
        raise GoldError(
            f"{where}: the text at [{start}, {end}) differs from the entity's text; offsets are "
            "Unicode code points (not bytes, not UTF-16)"
        )
    return GoldSpan(start, end, label)


def _offset(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise GoldError(f"{where} must be an integer")
    return value
