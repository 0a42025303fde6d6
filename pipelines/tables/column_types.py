"""Extra columns: which types and names of a source's columns the tables take, and as what.

| in the source | in the tables |
|---|---|
| dictionary | its values |
| nanoseconds, milliseconds, seconds | microseconds, what is finer is cut off; zones become UTC |
| duration | 64-bit integer of microseconds |
| time of day | text, ``HH:MM:SS.ffffff`` |
| unsigned 8, 16, 32, 64 bits | 16, 32, 64 bits, decimal(20, 0) |
| half float | float |
| null | text |
| fixed-size list or binary | list, binary |

Everything else that Delta lacks (intervals, unions, decimals of more than 38 digits) is refused.
"""

from __future__ import annotations

import re

import pyarrow as pa

from actors.config import ConfigError
from pipelines.deidentification import Deidentification
from pipelines.tables.schema import DATA

_PLAIN = (
    pa.types.is_boolean,
    pa.types.is_signed_integer,
    pa.types.is_float32,
    pa.types.is_float64,
    pa.types.is_date32,
)
_BAD_NAME = re.compile(r"[ ,;{}()\n\t=]")


def extra_columns(keep: pa.Schema) -> pa.Schema:
    """The columns of ``source.extra_columns`` as the tables hold them, all nullable.

    Raises ConfigError for a type or a name that a table cannot have, naming the column.
    """
    ours = {name.lower() for name in DATA["documents"].names}
    taken = sorted(name for name in keep.names if name.lower() in ours)
    if taken:
        raise ConfigError(
            f"source.extra_columns: {', '.join(taken)} would collide with a column of "
            "the documents table"
        )
    fields = []
    for field in keep:
        if _BAD_NAME.search(field.name):
            raise ConfigError(
                f"source.extra_columns: a Delta table takes no column named {field.name!r} "
                "(no spaces and none of ,;{}()=); "
                "rename it in the source, or set sink.format to parquet"
            )
        try:
            type_ = _table_type(field.type)
            pa.array([], field.type).cast(type_)
        except (TypeError, pa.ArrowException):
            raise ConfigError(
                f"source.extra_columns: {field.name} has the type {field.type}, which a Delta "
                "table cannot hold; leave it out, or set sink.format to parquet"
            ) from None
        fields.append(pa.field(field.name, type_))
    return pa.schema(fields)


def released_columns(columns: pa.Schema, section: Deidentification) -> pa.Schema:
    """Those of the extra columns that the de-identified documents have too, as text where they are
    hashed.

    Raises ConfigError for a name that a column of the table has.
    """
    ours = {name.lower() for name in DATA["deidentified/documents"].names}
    taken = sorted(name for name in section.extra_columns if name.lower() in ours)
    if taken:
        raise ConfigError(
            f"deidentify.extra_columns: {', '.join(taken)} would collide with a column of "
            "deidentified/documents"
        )
    return pa.schema(
        [
            columns.field(name) if how == "keep" else pa.field(name, pa.string())
            for name, how in section.extra_columns.items()
            if name in columns.names
        ]
    )


def as_column(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    """A kept column in the type that ``extra_columns`` gave it."""
    if column.type.equals(type_):
        return column
    if pa.types.is_duration(column.type):
        column = column.cast(pa.duration("us"), safe=False)
    return column.cast(type_, safe=False)


def _table_type(type_: pa.DataType) -> pa.DataType:
    """The type of a column of the table; raises TypeError where there is none."""
    found = _scalar(type_)
    if found is not None:
        return found
    if isinstance(type_, pa.BaseExtensionType):
        return _table_type(type_.storage_type)
    if pa.types.is_dictionary(type_):
        return _table_type(type_.value_type)
    if pa.types.is_map(type_):
        return pa.map_(_table_type(type_.key_type), _table_type(type_.item_type))
    if (
        pa.types.is_list(type_)
        or pa.types.is_large_list(type_)
        or pa.types.is_fixed_size_list(type_)
    ):
        return pa.list_(_table_type(type_.value_type))
    if pa.types.is_struct(type_):
        return pa.struct([pa.field(f.name, _table_type(f.type)) for f in type_])
    raise TypeError


def _scalar(type_: pa.DataType) -> pa.DataType | None:
    is_ = pa.types
    if any(test(type_) for test in _PLAIN):
        return type_
    if (
        is_.is_string(type_)
        or is_.is_large_string(type_)
        or is_.is_string_view(type_)
        or is_.is_null(type_)
        or is_.is_time(type_)
    ):
        return pa.string()
    if is_.is_binary(type_) or is_.is_large_binary(type_) or is_.is_fixed_size_binary(type_):
        return pa.binary()
    if is_.is_timestamp(type_):
        return pa.timestamp("us", "UTC" if type_.tz else None)
    if is_.is_date64(type_):
        return pa.date32()
    if is_.is_duration(type_):
        return pa.int64()
    if is_.is_float16(type_):
        return pa.float32()
    if is_.is_decimal(type_) and type_.precision <= 38 and type_.scale >= 0:
        return pa.decimal128(type_.precision, type_.scale)
    wider = {8: pa.int16(), 16: pa.int32(), 32: pa.int64(), 64: pa.decimal128(20, 0)}
    if is_.is_unsigned_integer(type_):
        return wider[type_.bit_width]
    return None
