"""Examples of a guideline from a JSONL file of annotated documents.

A line is ``{"text", "entities": [{"start", "end", "label"}]}``, as ``medspan annotations`` and
``medspan export --to jsonl`` write it, or ``{"text", "output"}``, an example as it stands in a
guideline. Errors name the line and quote nothing: the text is often a real note.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from actors.guideline.guideline import Guideline
from actors.guideline.value_types import Array, Json, Scalar, ValueType

_STRINGS = (Scalar("verbatim-string"), Scalar("string"))


def annotated_examples(lines: Iterable[str], guideline: Guideline) -> list[dict[str, Any]]:
    """The examples that the lines of a file hold, as they would stand in ``examples``.

    Entities are matched by a label's name or synonym; those of other labels are left out. A label
    of type ``[verbatim-string]`` or ``[string]`` has the words of all its entities, in the order of
    the text; a label of one such string, those of the first. Raises ValueError, which names the
    line, also where a label of another type cannot be filled from entities.
    """
    examples = []
    matched = False
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number}: not JSON, at column {error.colno}") from None
        if not isinstance(row, Mapping) or not isinstance(row.get("text"), str):
            raise ValueError(f"line {number}: expected an object with 'text' and 'entities'")
        if "output" in row:
            examples.append({"text": row["text"], "output": row["output"]})
            matched = True
            continue
        try:
            output = _output(row, guideline)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        matched = matched or bool(output)
        examples.append({"text": row["text"], "output": output})
    if not matched:
        raise ValueError("no entity in the file has a label of the guideline")
    return examples


def _output(row: Mapping[str, Any], guideline: Guideline) -> dict[str, Json]:
    if row.get("offsets", "code_points") != "code_points":
        raise ValueError("'offsets' must be code_points; `medspan annotations` converts others")
    text, entities = row["text"], row.get("entities")
    if not isinstance(entities, list):
        raise ValueError("'entities' must be a list ([] if there are none)")
    found: dict[str, list[tuple[int, int]]] = {}
    for at, entity in enumerate(entities):
        start, end, label = (
            (entity.get(key) for key in ("start", "end", "label"))
            if isinstance(entity, Mapping)
            else (None, None, None)
        )
        if not (isinstance(start, int) and isinstance(end, int) and isinstance(label, str)):
            raise ValueError(f"entity {at}: expected start, end and label")
        if not (0 <= start < end <= len(text) and text[start:end].strip()):
            raise ValueError(f"entity {at}: [{start}, {end}) is not a span of words of the text")
        if name := guideline.names.get(label.casefold()):
            found.setdefault(name, []).append((start, end))
    types = dict(guideline.types)
    for name, value_type in types.items():
        _check_fillable(name, value_type)
    output: dict[str, Json] = {}
    for name, places in found.items():
        words: list[Json] = [" ".join(text[start:end].split()) for start, end in sorted(places)]
        output[name] = words if isinstance(types[name], Array) else words[0]
    return output


def _check_fillable(name: str, value_type: ValueType) -> None:
    item = value_type.item if isinstance(value_type, Array) else value_type
    if item not in _STRINGS:
        raise ValueError(
            f"label {name}: entities cannot fill its type; write {{'text', 'output'}} instead"
        )
