"""The type language of a guideline: NuExtract 2.0's, parsed into values for pattern matching.

    verbatim-string                 text copied from the document
    string integer number date-time
    [T]                             a list of T
    [yes, no, unknown]              an enum: one of these words
    [[A, B, C]]                     a multi-label: some of these words
    {key: T, ...}                   an object

A list of one element is an enum unless the element is a type name, an enum or an object. This is
NuExtract's own rule: ``[string]`` is a list of strings and ``[yes]`` an enum of one word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

ScalarName = Literal["verbatim-string", "string", "integer", "number", "date-time"]
SCALARS: tuple[str, ...] = get_args(ScalarName)

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value; ``null`` if the document has none."""

    name: ScalarName


@dataclass(frozen=True, slots=True)
class Enum:
    """One of several words; ``null`` if none applies."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MultiLabel:
    """A subset of several words, possibly empty."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Array:
    """A list, possibly empty."""

    item: ValueType


@dataclass(frozen=True, slots=True)
class Object:
    """Named values, in this order."""

    fields: tuple[tuple[str, ValueType], ...]


ValueType = Scalar | Enum | MultiLabel | Array | Object


def read_type(written: Json) -> ValueType:
    """Parse a type as written in YAML or JSON; raises ValueError that explains the problem."""
    if isinstance(written, str):
        return _scalar(written)
    if isinstance(written, Mapping):
        return Object(tuple((_key(key), read_type(value)) for key, value in written.items()))
    if isinstance(written, list):
        return _list(written)
    raise ValueError(f"a type is a name, a list or an object, not {type(written).__name__}")


def write_type(value_type: ValueType) -> Json:
    """Format a type as in NuExtract's JSON template."""
    match value_type:
        case Scalar(name):
            return name
        case Enum(values):
            return list(values)
        case MultiLabel(values):
            return [list(values)]
        case Array(item):
            return [write_type(item)]
        case Object(fields):
            return {key: write_type(field) for key, field in fields}


def empty_value(value_type: ValueType) -> Json:
    """Return the value of a type that the document lacks: ``null``, or an empty list."""
    match value_type:
        case Array() | MultiLabel():
            return []
        case Object(fields):
            return {key: empty_value(field) for key, field in fields}
        case _:
            return None


def _scalar(name: str) -> Scalar:
    if name not in SCALARS:
        raise ValueError(f"unknown type {name!r}; available: {', '.join(SCALARS)}")
    return Scalar(name)  # type: ignore[arg-type]


def _list(written: list[Json]) -> ValueType:
    if not written:
        raise ValueError("an empty list is not a type: write [type] or the words of an enum")
    if len(written) == 1:
        (item,) = written
        if isinstance(item, list) and not (len(item) == 1 and _is_type(item[0])):
            return MultiLabel(_words(item))
        if _is_type(item):
            return Array(read_type(item))
    return Enum(_words(written))


def _is_type(written: Json) -> bool:
    return written in SCALARS if isinstance(written, str) else isinstance(written, dict | list)


def _words(written: list[Json]) -> tuple[str, ...]:
    words = [word for word in written if isinstance(word, str) and word.strip()]
    if not words or len(words) != len(written):
        raise ValueError("the words of an enum must be non-empty strings (quote yes, no, numbers)")
    if len(set(words)) != len(words):
        raise ValueError("an enum contains a word twice")
    return tuple(words)


def _key(key: object) -> str:
    if not isinstance(key, str) or not key.strip() or not key.isprintable():
        raise ValueError("an object's keys must be printable strings")
    return key
