"""The tables of results as Iceberg tables: the same files, registered in a catalog.

A registration compares the live files of a Delta table with those of the Iceberg table, and adds
and removes the difference in one snapshot. So it can be done again at any time, and mends whatever
a run that died, or a compaction, left behind. The files stay Delta's: ``gc.enabled`` is off, so
that no engine removes them when it expires snapshots or drops the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from actors.extras import optional_imports
from pipelines.config import IcebergSink
from pipelines.storage import StoreError, iceberg_options
from pipelines.tables.folder import RunError
from pipelines.tables.schema import STATISTICS
from pipelines.tables.snapshot import Snapshot, TableName

with optional_imports("sink.iceberg"):
    from pyiceberg.catalog import Catalog, load_catalog
    from pyiceberg.exceptions import (
        CommitFailedException,
        NamespaceAlreadyExistsError,
        NoSuchTableError,
    )
    from pyiceberg.io.pyarrow import parquet_file_to_data_file
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table
    from pyiceberg.table.name_mapping import create_mapping_from_schema

_EMBEDDED = "_iceberg"
_TABLES: tuple[TableName, ...] = (
    *("documents", "entities", "relations"),
    *("deidentified/documents", "deidentified/entities", "deidentified/relations"),
)
"""Without ``reidentification``, the way back from a de-identified document to its original."""
_MAPPING = "schema.name-mapping.default"
_THREADS = 16
_ATTEMPTS = 5
RUN = "medspan.run"
"""Property of a snapshot: the run that it shows."""


class NotRegisteredError(StoreError):
    """The run counts, but the Iceberg tables do not show it yet."""


@contextmanager
def _catalog_errors(what: str) -> Iterator[None]:
    try:
        yield
    except (RunError, StoreError):
        raise
    except Exception as error:
        # Of a catalog's errors only the type: their messages may hold tokens or whole answers.
        raise NotRegisteredError(
            f"sink.iceberg: {what}: {type(error).__name__}; the Delta tables are complete. Fix "
            "it, then run `medspan runs register PIPELINE.yaml`"
        ) from error


def register(snapshot: Snapshot, settings: IcebergSink) -> dict[str, int]:
    """Make the Iceberg tables show a snapshot; the Iceberg snapshot of each table, by its name.

    The de-identified tables have a namespace of their own, since catalogs grant by namespace.
    Raises NotRegisteredError where the catalog or the store does not allow it.
    """
    with _catalog_errors("the catalog cannot be used"):
        catalog = _catalog(snapshot.folder.path, settings)
        names = {name: _full_name(name, settings) for name in _TABLES if name in snapshot.names}
        for namespace in dict.fromkeys(full.rpartition(".")[0] for full in names.values()):
            with suppress(NamespaceAlreadyExistsError):
                catalog.create_namespace(namespace)
    found: dict[str, int] = {}
    for name, full_name in names.items():
        with _catalog_errors(f"the table {full_name} cannot be changed"):
            found[name] = _registered(catalog, full_name, snapshot, name)
    return found


def _full_name(name: TableName, settings: IcebergSink) -> str:
    folder, _, table = name.rpartition("/")
    return f"{settings.namespace}{'_' * bool(folder)}{folder}.{table}"


def _registered(catalog: Catalog, full_name: str, snapshot: Snapshot, name: TableName) -> int:
    for attempt in range(_ATTEMPTS):
        try:
            table = _opened(catalog, full_name, snapshot.table(name).schema(), name)
            _show(table, snapshot, name)
            break
        except CommitFailedException:  # another run was registered meanwhile
            if attempt == _ATTEMPTS - 1:
                raise
    current = table.refresh().current_snapshot()
    return current.snapshot_id if current is not None else 0


def _catalog(sink: str, settings: IcebergSink) -> Catalog:
    properties = dict(settings.catalog.properties)
    if not properties and "://" not in sink:
        folder = Path(sink) / _EMBEDDED
        folder.mkdir(parents=True, exist_ok=True)
        properties = {
            "type": "sql",
            "uri": f"sqlite:///{folder}/catalog.db",
            "warehouse": folder.as_uri(),
        }
    return load_catalog(settings.catalog.name, **iceberg_options(sink), **properties)


def _opened(catalog: Catalog, name: str, schema: pa.Schema, kind: str) -> Table:
    """The table, made where it is not there, and with the columns that Delta's has."""
    try:
        table = catalog.load_table(name)
    except NoSuchTableError:
        # As in Delta's log, text of documents must not stand in the metadata: no bounds but these.
        metrics = {f"write.metadata.metrics.column.{c}": "truncate(16)" for c in STATISTICS[kind]}
        properties = {"write.metadata.metrics.default": "none", "gc.enabled": "false", **metrics}
        table = catalog.create_table(name, schema=_nullable(schema), properties=properties)
    if set(schema.names) - set(table.schema().column_names):
        with table.update_schema() as update:
            update.union_by_name(_nullable(schema))
    mapping = create_mapping_from_schema(table.schema()).model_dump_json()
    if table.properties.get(_MAPPING) != mapping:  # files are read by names: they have no field ids
        with table.transaction() as change:
            change.set_properties({_MAPPING: mapping})
    return table


def _nullable(schema: pa.Schema) -> pa.Schema:
    # A column that must not be null cannot be added to a table that has files.
    return pa.schema([field.with_nullable(True) for field in schema])


def _show(table: Table, snapshot: Snapshot, name: TableName) -> None:
    wanted = {_uri(path) for path in snapshot.files(name)}
    there: Mapping[str, DataFile] = {
        task.file.file_path: task.file for task in table.scan().plan_files()
    }
    new = sorted(wanted - there.keys())
    gone = [file for path, file in there.items() if path not in wanted]
    if not new and not gone:
        return
    with ThreadPoolExecutor(_THREADS) as pool:
        added = list(
            pool.map(lambda path: parquet_file_to_data_file(table.io, table.metadata, path), new)
        )
    properties = {RUN: snapshot.run_id, "medspan.delta-version": str(snapshot.table(name).version)}
    with (
        table.transaction() as change,
        change.update_snapshot(snapshot_properties=properties).overwrite() as files,
    ):
        for file in added:
            files.append_data_file(file)
        for file in gone:
            files.delete_data_file(file)


def _uri(path: str) -> str:
    return path if "://" in path else f"file://{path}"
