"""Counting the documents of a file before the work, and judging whether it can be read at all."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from actors.config import ConfigError
from actors.spans import Failure
from pipelines.config import Source
from pipelines.source.duplicates import Digests, digests
from pipelines.source.ids import Id, column_ids, may_be_ids, value_id
from pipelines.source.listing import WHOLE, SourceFile
from pipelines.source.opening import content_errors, open_raw, open_source
from pipelines.source.partitions import partitions_of
from pipelines.source.records import Record, by_header, csv_rows, records
from pipelines.storage import StoreError, reason, store_errors
from pipelines.text.errors import BadFileError

log = logging.getLogger(__name__)
_BATCH_ROWS = 65_536
_COLUMN_NAME = re.compile(r"[^\W\d][\w .:/()%-]{0,63}")


@dataclass(frozen=True, slots=True)
class Counted:
    """Documents in a file, the types of its columns, and why it cannot be read, if so."""

    rows: int
    columns: Mapping[str, pa.DataType] = field(default_factory=dict)
    bad: str = ""
    ids: Digests = field(default_factory=lambda: digests(()))


def count_documents(file: SourceFile, source: Source) -> Counted:
    """Count a file. One that cannot be read, or lacks a column that the pipeline reads, is one row,
    which fails; of one that is damaged further on, the row where it is counts as one that fails.
    """
    path = dict.fromkeys(partitions_of(file.uri), pa.string())
    try:
        if file.size == 0:
            raise BadFileError("the file is empty")
        if file.format in WHOLE:
            return Counted(1, path)
        with store_errors(), content_errors(file.format):
            if file.format == "parquet":
                return _count_parquet(file.uri, source, path)
            with open_source(file.uri, int(source.max_inflated_mb * 1e6)) as stream:
                return _count_records(stream, file, source, path)
    except BadFileError as error:
        return Counted(1, bad=str(error))
    except StoreError:
        raise
    except OSError as error:
        raise ConfigError(f"{file.uri}: cannot be opened: {reason(error)}") from error


def _count_parquet(uri: str, source: Source, path: Mapping[str, pa.DataType]) -> Counted:
    with open_raw(uri) as stream:
        reader = pq.ParquetFile(stream)
        schema = reader.schema_arrow
        _check_columns(schema.names, source)
        if source.image is None:
            _check_text(schema.field(source.text).type)
        else:
            _check_image(schema.field(source.image).type)
        if source.id is not None and not may_be_ids(schema.field(source.id).type):
            raise BadFileError(
                f"source.id: {source.id} has the type {schema.field(source.id).type}, which "
                "cannot be an id; choose another column, or remove source.id to derive ids"
            )
        own = {column.name: column.type for column in schema if column.name in source.extra_columns}
        rows = int(reader.metadata.num_rows)
        return Counted(rows, {**path, **own}, ids=_parquet_ids(reader, rows, source.id))


def _parquet_ids(reader: pq.ParquetFile, rows: int, name: str | None) -> Digests:
    if name is None:
        return digests(())
    found: list[Id] = []
    with suppress(BadFileError), content_errors("parquet"):  # reading finds it again, row by row
        for batch in reader.iter_batches(_BATCH_ROWS, columns=[name]):
            found += column_ids(batch.column(name), name)
    return digests([*found, *([None] * (rows - len(found)))])


def _count_records(
    stream: IO[bytes], file: SourceFile, source: Source, path: Mapping[str, pa.DataType]
) -> Counted:
    if file.format not in ("csv", "tsv"):
        own = dict.fromkeys(source.extra_columns, pa.string())  # which a line may have or lack
        rows: Iterable[Record] = records(stream, file.format, source)
    else:
        lines = csv_rows(stream, file.format, source)
        header = next(lines, [])
        if isinstance(header, Failure) or not header:
            raise BadFileError("the file has no header")
        twice = sorted({name for name in header if name and header.count(name) > 1})
        if twice:
            raise BadFileError(f"the header has {_names(twice)} more than once")
        _check_columns(header, source)
        own = dict.fromkeys(set(source.extra_columns) & set(header), pa.string())
        rows = _warned(by_header(header, lines), file.uri)
    number, ids = _record_ids(rows, file, source.id)
    return Counted(number, {**path, **own}, ids=ids)


def _record_ids(rows: Iterable[Record], file: SourceFile, name: str | None) -> tuple[int, Digests]:
    """Count the rows and digest their ids. If the file is damaged after some of them, the rest is
    one more row, which has no id and fails when it is read."""
    number = 0
    ids: list[Id] = []
    try:
        with content_errors(file.format):
            for row in rows:
                number += 1
                if name is not None:
                    ids.append(None if isinstance(row, Failure) else value_id(row.get(name), name))
    except BadFileError as error:
        if not number:
            raise
        log.warning("%s: after row %d: %s (BadFile)", file.uri, number - 1, error)
        number += 1
        ids += [None] * (name is not None)
    return number, digests(ids)


def _warned(rows: Iterable[Record], uri: str) -> Iterator[Record]:
    """The rows; one whose quote is never closed is logged, since others are lost in it."""
    for row in rows:
        if isinstance(row, Failure) and "quote" in row.message:
            log.warning("%s: %s", uri, row.message)
        yield row


def _check_columns(names: Sequence[str], source: Source) -> None:
    wanted = [
        source.image or source.text,
        *(column for column in (source.id, source.prompt) if column),
    ]
    missing = [column for column in wanted if column not in names]
    if missing:
        raise BadFileError(f"no column {', '.join(missing)}; the file has {_names(names)}")


def _names(names: Sequence[str]) -> str:
    """Columns by name; not those that can hardly be names: without a header, the first line of a
    CSV file is a patient's."""
    if not names:
        return "none"
    if all(_COLUMN_NAME.fullmatch(name) for name in names):
        return ", ".join(names)
    if len(names) == 1:
        return "one, with a name that looks like data; see source.csv.delimiter"
    return f"{len(names):,} with names that look like data, not like a header"


def _check_image(type_: pa.DataType) -> None:
    if not (
        pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_null(type_)
    ):
        raise BadFileError(f"the image column has the type {type_}, not binary")


def _check_text(type_: pa.DataType) -> None:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    if not (
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
        or pa.types.is_binary(type_)
        or pa.types.is_large_binary(type_)
        or pa.types.is_binary_view(type_)
        or pa.types.is_null(type_)
    ):
        raise BadFileError(f"the text column has the type {type_}, not a string")
