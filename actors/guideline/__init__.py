"""A guideline defines what to extract: labels with definitions, types, synonyms, and examples.

This package is independent of prompts; ``actors.prompts`` prints a guideline in the form that a
model was trained on.
"""

from __future__ import annotations

from actors.guideline.annotated import annotated_examples
from actors.guideline.guideline import Example, Guideline, Label
from actors.guideline.value_types import (
    Array,
    Enum,
    Json,
    MultiLabel,
    Object,
    Scalar,
    ValueType,
    empty_value,
    read_type,
    write_type,
)

__all__ = [
    "Array",
    "Enum",
    "Example",
    "Guideline",
    "Json",
    "Label",
    "MultiLabel",
    "Object",
    "Scalar",
    "ValueType",
    "annotated_examples",
    "empty_value",
    "read_type",
    "write_type",
]
