"""Extra columns: one type over all files, and values that stay Arrow from file to table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from actors.config import ConfigError
from actors.spans import Failure

SECTION = pa.struct(
    [
        pa.field("name", pa.string()),
        *(pa.field(name, pa.int64()) for name in ("start", "end", "heading_end")),
        pa.field("loinc", pa.string()),
    ]
)
"""A Section, between reading and writing and in the documents table."""
_SIGNED = (pa.int8(), pa.int16(), pa.int32(), pa.int64())
_UNSIGNED = (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
_FLOATS = (pa.float16(), pa.float32(), pa.float64())


def unified(
    files: Iterable[tuple[str, Mapping[str, pa.DataType]]], keep: Sequence[str]
) -> pa.Schema:
    """The types of the extra columns over all files: null gives way to any type, widths of
    integers and floats to the widest, and all forms of strings are one. A column that a file lacks
    is null there.

    Raises ConfigError for types that truly differ, naming both files, and for a column that no
    file has.
    """
    types: dict[str, pa.DataType] = {}
    where: dict[str, str] = {}
    for uri, columns in files:
        for name in keep:
            if name not in columns:
                continue
            new = plain_type(columns[name])
            old = types.get(name, pa.null())
            both = _common(old, new)
            if both is None:
                raise ConfigError(
                    f"source.extra_columns: {name} is {new} in {uri} and {old} in {where[name]}"
                )
            if not both.equals(old) or name not in where:
                types[name], where[name] = both, uri
    missing = [name for name in keep if name not in types]
    if missing:
        raise ConfigError(f"source.extra_columns: no file has a column {', '.join(missing)}")
    return pa.schema([pa.field(name, types[name]) for name in keep])


def plain_type(type_: pa.DataType) -> pa.DataType:
    """A type without its encoding: values of a dictionary, views as what they view."""
    if pa.types.is_dictionary(type_):
        return plain_type(type_.value_type)
    if pa.types.is_string_view(type_):
        return pa.string()
    if pa.types.is_binary_view(type_):
        return pa.binary()
    return type_


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if one.equals(other) or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    for short, large in ((pa.string(), pa.large_string()), (pa.binary(), pa.large_binary())):
        if {one, other} == {short, large}:
            return short
    for family in (_SIGNED, _UNSIGNED, _FLOATS):
        if one in family and other in family:
            return max(one, other, key=family.index)
    for signed, unsigned in ((one, other), (other, one)):
        if signed in _SIGNED and unsigned in _UNSIGNED[:-1]:
            # The next wider signed type holds every value of an unsigned one.
            return max(signed, _SIGNED[_UNSIGNED.index(unsigned) + 1], key=_SIGNED.index)
    return None


def as_type(column: pa.Array, type_: pa.DataType) -> pa.Array:
    """A column of a file as the type of the whole source; its values are not touched."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.type.equals(type_):
        return column
    for text, raw in ((pa.string(), pa.binary()), (pa.large_string(), pa.large_binary())):
        if type_.equals(text) and not pa.types.is_null(column.type):
            # By way of bytes: a cast between kinds of strings would check that they are UTF-8.
            if pa.types.is_string_view(column.type):
                column = column.cast(pa.binary_view())
            elif pa.types.is_string(column.type):
                column = column.view(pa.binary())
            elif pa.types.is_large_string(column.type):
                column = column.view(pa.large_binary())
            return column.cast(raw).view(text)
    return column.cast(type_)


class ExtraColumns:
    """The extra columns of one unit, as its rows come."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._parts: dict[str, list[pa.Array]] = {name: [] for name in schema.names}

    def add_arrow(
        self, rows: int, columns: Mapping[str, pa.Array], path: Mapping[str, str | None]
    ) -> None:
        """Rows of a file that has Arrow columns; ``path``: columns that stand in its path."""
        for field in self._schema:
            if field.name in columns:
                part = as_type(columns[field.name], field.type)
            else:
                part = _constant(path.get(field.name), rows, field.type)
            self._parts[field.name].append(part)

    def add_values(
        self, rows: Sequence[Mapping[str, Any] | Failure], path: Mapping[str, str | None]
    ) -> None:
        """Add rows with values that are strings or become JSON; a failed row has nulls."""
        for field in self._schema:
            default = path.get(field.name)
            values = [
                None if isinstance(row, Failure) else _text(row.get(field.name, default))
                for row in rows
            ]
            self._parts[field.name].append(pa.array(values, pa.string()).cast(field.type))

    def columns(self) -> list[tuple[pa.Field, pa.ChunkedArray]]:
        """All of them, each with its field."""
        return [
            (field, pa.chunked_array(self._parts[field.name], field.type)) for field in self._schema
        ]


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return json.dumps(value)  # lone surrogates, which no column can hold
        return value
    return json.dumps(value)


def _constant(value: str | None, rows: int, type_: pa.DataType) -> pa.Array:
    if value is None:
        return pa.nulls(rows, type_)
    return pa.repeat(pa.scalar(value, pa.string()), rows).cast(type_)
