"""A Delta table as a source: the files of its latest snapshot, from its log."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from actors.config import ConfigError
from pipelines.source.listing import IMMUTABLE, SourceFile
from pipelines.source.opening import filesystem
from pipelines.storage import NoTablesError, delta_options

# What a reader must know of beyond files: rows that files hold and the table does not, and columns
# that have other names there.
_UNREADABLE = {"deletionVectors": "deletion vectors", "columnMapping": "column mapping"}


def list_delta(path: str) -> tuple[int, list[SourceFile]]:
    """The latest version of the table, and its Parquet files.

    A file of a Delta table never changes: its version follows from its size and time. Raises
    ConfigError if there is no such table, or its files alone do not determine its rows.
    """
    fs, inner = filesystem(path)
    try:
        table = DeltaTable(fs.unstrip_protocol(inner), storage_options=delta_options(path))
    except NoTablesError as error:
        scheme = path.partition("://")[0]
        raise ConfigError(f"source.path: a Delta table cannot be read from {scheme}://") from error
    except TableNotFoundError as error:
        raise ConfigError(f"source.path: no Delta table is at {path}") from error
    except DeltaError as error:
        kind = type(error).__name__
        raise ConfigError(f"source.path: {path} cannot be read as a Delta table: {kind}") from error
    features = set(table.protocol().reader_features or ())
    if "delta.columnMapping.mode" in table.metadata().configuration:
        features.add("columnMapping")
    for feature, words in _UNREADABLE.items():
        if feature in features:
            raise ConfigError(
                f"source.path: {path} has {words}, which its files alone do not show; have them "
                "applied (REORG TABLE ... APPLY (PURGE)), or export a snapshot"
            )
    actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    return table.version(), [
        SourceFile(
            fs.unstrip_protocol(f"{inner.rstrip('/')}/{unquote(action['path'])}"),
            int(action["size_bytes"]),
            f"{IMMUTABLE}{action['size_bytes']}:{quote(str(action['modification_time']))}",
            "parquet",
        )
        for action in actions
    ]
