"""Checks that a Delta table is one that medspan made, and can read and commit to."""

from __future__ import annotations

import pyarrow as pa
from deltalake import DeltaTable, Field

from pipelines.tables.folder import RunError

# Of the features that a table can have, those under which files may be read and committed as they
# are. With deletion vectors, for one, a file's rows are not all live.
_FEATURES = frozenset(
    {
        *("appendOnly", "changeDataFeed", "checkConstraints", "generatedColumns", "invariants"),
        *("timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"),
    }
)


def check_features(delta: DeltaTable, name: str, sink: str) -> None:
    """Raise RunError if another engine gave the table a feature that its files do not show."""
    protocol = delta.protocol()
    found = {*(protocol.reader_features or ()), *(protocol.writer_features or ())} - _FEATURES
    if found:
        raise RunError(
            f"{sink}: the table {name} has the Delta feature {', '.join(sorted(found))}, which "
            "medspan does not support; drop it (ALTER TABLE ... DROP FEATURE), or give the sink "
            "another path"
        )


def missing_columns(there: pa.Schema, name: str, sink: str, ours: pa.Schema) -> list[pa.Field]:
    """The columns of medspan's that a table of an earlier version does not have yet.

    Raises RunError if the table is not medspan's.
    """
    for field in ours:
        found = there.field(field.name) if field.name in there.names else None
        if not (field.nullable if found is None else same_type(found.type, field.type)):
            raise RunError(
                f"{sink}: the table {name} there is not medspan's, or of another version of it: "
                f"its column {field.name} is {'missing' if found is None else found.type}; give "
                "the sink another path"
            )
    return [field for field in ours if field.name not in there.names]


def missing_extra_columns(
    there: pa.Schema, name: str, sink: str, extra: pa.Schema
) -> list[pa.Field]:
    """The extra columns that a table does not have yet.

    Raises RunError for one that it has in another type or spelling.
    """
    known = {column.lower(): there.field(column) for column in there.names}
    missing = []
    for field in extra:
        found = known.get(field.name.lower())
        if found is None:
            missing.append(field)
        elif found.name != field.name or not same_type(found.type, field.type):
            raise RunError(
                f"{sink}: the column {found.name} of {name} has the type {found.type}, and the "
                f"source has {field.name} as {field.type}; give the sink another path, or leave it "
                "out of source.extra_columns"
            )
    return missing


def same_type(one: pa.DataType, other: pa.DataType) -> bool:
    """True if both are the same type in a Delta table: names inside lists do not matter."""
    left, right = (pa.schema([pa.field("x", type_)]) for type_ in (one, other))
    return Field.from_arrow(left.field(0)).type == Field.from_arrow(right.field(0)).type
