"""The guideline model of a configuration file, validated on load."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

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
)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_DEFAULT_TYPE: JsonValue = ["verbatim-string"]


def _checked(written: Json) -> Json:
    read_type(written)
    return written


class Label(_Strict):
    """One kind of information to extract."""

    definition: str = Field(default="", description="Definition, as printed in the prompt.")
    type: Annotated[JsonValue, BeforeValidator(_checked)] = Field(
        default=_DEFAULT_TYPE,
        description="A type of NuExtract's type language: a name (verbatim-string, string, "
        "integer, number, date-time), [type], an enum [a, b], a multi-label [[a, b]], or an "
        "object.",
    )
    synonyms: tuple[str, ...] = Field(
        default=(), description="Alternative names that a model may print for this label."
    )

    only_in: tuple[str, ...] = Field(
        default=(),
        description="Sections that entities of this label are kept in, and dropped elsewhere, in a "
        "pipeline with `context`.",
    )
    never_in: tuple[str, ...] = Field(
        default=(),
        description="Sections in which entities of this label are dropped, in a pipeline with "
        "`context`.",
    )

    @property
    def value_type(self) -> ValueType:
        """The parsed type."""
        return read_type(self.type)


class Example(_Strict):
    """A text and its expected output; omitted labels have no value."""

    text: str = Field(min_length=1)
    output: dict[str, JsonValue] = Field(description="Maps labels to values of their types.")


def _expand_labels(labels: Any) -> Any:
    """Expand ``LABEL: definition`` and a bare ``LABEL:`` to a mapping with that definition."""
    if not isinstance(labels, Mapping):
        return labels
    return {name: _as_mapping(label) for name, label in labels.items()}


def _as_mapping(label: object) -> object:
    if label is None:
        return {}
    return {"definition": label} if isinstance(label, str) else label


class Guideline(_Strict):
    """Definition of the information to extract from every document."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    language: str = Field(default="en", description="BCP 47 tag of the document language.")
    description: str = Field(default="", description="For readers; never printed in a prompt.")
    labels: Annotated[
        dict[str, Label],
        BeforeValidator(_expand_labels, json_schema_input_type=dict[str, Label | str | None]),
    ] = Field(
        min_length=1, description="Maps labels to definition, type and synonyms, in prompt order."
    )
    examples: tuple[Example, ...] = Field(
        default=(),
        description="Examples for the prompt, if its format supports them. In a file: also the "
        "path of a JSONL file of annotated documents, as `medspan annotations` writes it.",
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> Guideline:
        seen: dict[str, str] = {}
        for name, label in self.labels.items():
            if not name.strip() or not name.isprintable():
                raise ValueError("a label's name must be printable")
            for word in (name, *label.synonyms):
                if seen.setdefault(word.casefold(), name) != name:
                    raise ValueError(
                        f"{word!r} is used for two labels: {seen[word.casefold()]}, {name}"
                    )
        return self

    @model_validator(mode="after")
    def _examples_match(self) -> Guideline:
        problems = [
            f"examples[{index}].{problem}"
            for index, example in enumerate(self.examples)
            for problem in self._problems(example)
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems(self, example: Example) -> Iterator[str]:
        # No value is quoted: an example's text is often a real note.
        for name, value in example.output.items():
            if name not in self.labels:
                yield f"output.{name}: unknown label"
            else:
                yield from _mismatches(
                    f"output.{name}", value, self.labels[name].value_type, _flat(example.text)
                )

    def filled(self, example: Example) -> dict[str, Json]:
        """Return an example's output with every label, in order."""
        return {name: example.output.get(name, empty_value(kind)) for name, kind in self.types}

    @property
    def types(self) -> tuple[tuple[str, ValueType], ...]:
        """Every label with its type, in order."""
        return tuple((name, label.value_type) for name, label in self.labels.items())

    @property
    def names(self) -> Mapping[str, str]:
        """Maps each case-folded label or synonym to its label."""
        return {
            word.casefold(): name
            for name, label in self.labels.items()
            for word in (name, *label.synonyms)
        }


def _flat(text: str) -> str:
    """Normalise whitespace: NuExtract does so in verbatim strings, so examples may too."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _mismatches(path: str, value: JsonValue, expected_type: ValueType, text: str) -> Iterator[str]:
    if value is None and not isinstance(expected_type, Array | MultiLabel | Object):
        return
    match expected_type:
        case Array(item):
            if not isinstance(value, list):
                yield f"{path}: must be a list"
                return
            for index, one in enumerate(value):
                yield from _mismatches(f"{path}[{index}]", one, item, text)
        case Object(fields):
            if not isinstance(value, dict):
                yield f"{path}: must be an object"
                return
            types = dict(fields)
            for key, one in value.items():
                if key in types:
                    yield from _mismatches(f"{path}.{key}", one, types[key], text)
                else:
                    yield f"{path}.{key}: unknown key"
        case MultiLabel(values):
            if not isinstance(value, list) or any(one not in values for one in value):
                yield f"{path}: must be a list of words from {', '.join(values)}"
        case Enum(values):
            if value not in values:
                yield f"{path}: must be one of {', '.join(values)}"
        case Scalar(name):
            yield from _scalar_mismatches(path, value, name, text)


def _scalar_mismatches(path: str, value: JsonValue, name: str, text: str) -> Iterator[str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name == "integer" and not (number and float(value) == int(value)):  # type: ignore[arg-type]
        yield f"{path}: must be an integer"
    elif name == "number" and not number:
        yield f"{path}: must be a number"
    elif name in {"string", "verbatim-string", "date-time"} and not isinstance(value, str):
        yield f"{path}: must be a string (quote it in YAML)"
    elif name == "verbatim-string" and isinstance(value, str):
        words = _flat(value)
        if not words or words not in text:
            yield f"{path}: does not occur in the example's text"
