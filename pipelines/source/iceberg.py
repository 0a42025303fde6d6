"""An Iceberg table as a source: the data files of its current snapshot."""

from __future__ import annotations

import re
from urllib.parse import quote

from actors.config import ConfigError
from actors.extras import optional_imports
from pipelines.config import IcebergCatalog, Source
from pipelines.source.listing import IMMUTABLE, SourceFile
from pipelines.source.opening import filesystem
from pipelines.storage import iceberg_options

with optional_imports("source.format: iceberg"):
    from pyiceberg.catalog import load_catalog
    from pyiceberg.exceptions import NoSuchTableError
    from pyiceberg.manifest import FileFormat
    from pyiceberg.table import StaticTable, Table

_METADATA = re.compile(r"v?(\d+)(-[\w-]+)?(\.gz)?\.metadata\.json")


def list_iceberg(path: str, source: Source) -> tuple[int, list[SourceFile]]:
    """The id of the current snapshot, and its Parquet files.

    ``path``: with ``source.catalog`` the name of a table; else its folder, or one of its metadata
    files. A file of an Iceberg table never changes: its version follows from its size. Raises
    ConfigError where there is no such table, or its files alone do not say what is in it.
    """
    table = _opened(path, source.catalog)
    _check_names(table, path, source)
    snapshot = table.current_snapshot()
    if snapshot is None:
        raise ConfigError(f"source.path: {path} has no snapshot: nothing was written to it yet")
    files = []
    for task in table.scan().plan_files():
        if task.delete_files:
            raise ConfigError(
                f"source.path: {path} has row-level deletes, which its files alone do not show; "
                "rewrite its data files (CALL system.rewrite_data_files), or export a snapshot"
            )
        if task.file.file_format != FileFormat.PARQUET:
            kind = task.file.file_format.name
            raise ConfigError(f"source.path: {path} has {kind} files; only Parquet is read")
        fs, inner = filesystem(_plain(task.file.file_path))
        size = task.file.file_size_in_bytes
        version = f"{IMMUTABLE}{size}:{quote(task.file.file_path.rpartition('/')[2])}"
        files.append(SourceFile(fs.unstrip_protocol(inner), size, version, "parquet"))
    return snapshot.snapshot_id, files


def _opened(path: str, catalog: IcebergCatalog | None) -> Table:
    try:
        if catalog is not None:
            opened = load_catalog(catalog.name, **iceberg_options(path), **catalog.properties)
            return opened.load_table(path)
        metadata = path if path.endswith(".metadata.json") else _newest_metadata(path)
        return StaticTable.from_metadata(metadata, iceberg_options(path))
    except NoSuchTableError as error:
        raise ConfigError(f"source.path: the catalog has no table {path}") from error
    except ConfigError:
        raise
    except FileNotFoundError as error:
        raise ConfigError(f"source.path: no Iceberg table is at {path}") from error
    except Exception as error:
        # Of a catalog's errors only the type: their messages may hold tokens or whole answers.
        kind = type(error).__name__
        raise ConfigError(
            f"source.path: {path} cannot be read as an Iceberg table: {kind}"
        ) from error


def _newest_metadata(path: str) -> str:
    """The metadata file of the highest version in a table's folder."""
    fs, inner = filesystem(path)
    try:
        names = [str(one) for one in fs.ls(f"{inner.rstrip('/')}/metadata", detail=False)]
    except FileNotFoundError:
        names = []
    numbered = [(int(m[1]), n) for n in names if (m := _METADATA.fullmatch(n.rpartition("/")[2]))]
    if not numbered:
        raise ConfigError(f"source.path: no Iceberg table is at {path}")
    return str(fs.unstrip_protocol(max(numbered)[1]))


def _check_names(table: Table, path: str, source: Source) -> None:
    """Raise ConfigError where a column that is read was renamed, or replaced by another of its
    name: files written before have it under its old name."""
    wanted = {source.text, source.image, source.id, source.prompt, *source.extra_columns}
    by_id: dict[int, set[str]] = {}
    by_name: dict[str, set[int]] = {}
    for schema in table.schemas().values():
        for field in schema.fields:
            by_id.setdefault(field.field_id, set()).add(field.name)
            by_name.setdefault(field.name, set()).add(field.field_id)
    for name in sorted(one for one in wanted if one is not None and one in by_name):
        ids = by_name[name]
        if len(ids) > 1 or any(len(by_id[one]) > 1 for one in ids):
            raise ConfigError(
                f"source.path: the column {name} of {path} was renamed or replaced, which its "
                "files alone do not show; rewrite its data files into a new table"
            )


def _plain(path: str) -> str:
    # Hadoop's way to write a local file.
    return "file://" + path.removeprefix("file:") if re.match(r"file:/(?!/)", path) else path
