"""Ids of documents: strings, from what columns of ids hold."""

from __future__ import annotations

import math
import unicodedata
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from actors.spans import Failure

_UUID_BYTES = 16
Id = str | Failure | None
"""None: the row has none, and one is derived."""


def may_be_ids(type_: pa.DataType) -> bool:
    """True if ids can be made of an Arrow column of this type."""
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    return any(
        test(type_)
        for test in (
            _is_uuid,
            _is_text,
            _is_bytes,
            pa.types.is_integer,
            pa.types.is_floating,
            pa.types.is_decimal,
            pa.types.is_date,
            pa.types.is_null,
        )
    )


def column_ids(column: pa.Array, name: str) -> list[Id]:
    """Return an id for each row of an Arrow column of a type that ``may_be_ids``."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    type_ = column.type
    if _is_uuid(type_):
        return [None if raw is None else str(uuid.UUID(bytes=raw)) for raw in _raw(column)]
    if pa.types.is_fixed_size_binary(type_) and type_.byte_width == _UUID_BYTES:
        return [None if raw is None else str(uuid.UUID(bytes=raw)) for raw in column.to_pylist()]
    if _is_text(type_):
        # A Parquet string is not checked to be UTF-8 by its writer: judged row by row.
        large = column.cast(pa.large_string()).cast(pa.large_binary())
        return [value_id(raw, name, text=True) for raw in large.to_pylist()]
    if pa.types.is_date(type_):
        # As Arrow prints them: Python knows no year beyond 9999.
        return list(pc.cast(column, pa.string()).to_pylist())
    return [value_id(value, name) for value in column.to_pylist()]


def value_id(value: Any, name: str, text: bool = False) -> Id:
    """The id of a value. Bytes are UTF-8, else 16 of them a UUID, else hexadecimal; with ``text``
    they are UTF-8 or a failure. Whole numbers are written without a fraction."""
    if isinstance(value, bytes):
        return _of_bytes(value, name, text)
    if value is None or value == "" or isinstance(value, Failure):
        return value or None
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return Failure("InvalidUTF8", f"{name}: is not valid UTF-8")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return Failure("WrongType", f"{name}: a {type(value).__name__} cannot be an id")
    if isinstance(value, float) and math.isnan(value):
        return None  # how a column of integers with nulls comes from pandas
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value) or value != int(value):
        return Failure("WrongType", f"{name}: a number with a fraction cannot be an id")
    return str(int(value))


def _of_bytes(value: bytes, name: str, text: bool) -> Id:
    if not value:
        return None
    try:
        decoded = value.decode()
    except UnicodeDecodeError:
        if text:
            return Failure("InvalidUTF8", f"{name}: is not valid UTF-8")
    else:
        if text or not any(unicodedata.category(c) == "Cc" for c in decoded):
            return decoded
    return str(uuid.UUID(bytes=value)) if len(value) == _UUID_BYTES else value.hex()


def _raw(column: pa.Array) -> list[bytes | None]:
    storage = column.storage if isinstance(column, pa.ExtensionArray) else column
    return list(storage.to_pylist())


def _is_uuid(type_: pa.DataType) -> bool:
    return isinstance(type_, pa.BaseExtensionType) and type_.extension_name == "arrow.uuid"


def _is_text(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
    )


def _is_bytes(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(type_)
        or pa.types.is_large_binary(type_)
        or pa.types.is_binary_view(type_)
        or pa.types.is_fixed_size_binary(type_)
    )
