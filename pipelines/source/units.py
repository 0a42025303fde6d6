"""Planning: from files to units of work, each with an id that follows from what it is.

A unit is one slice of a large file or a handful of small files; its output has a name that follows
from its id, so it is done when its file is there, and doing it twice is the same as once.
"""

from __future__ import annotations

import csv
import hashlib
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from actors.config import ConfigError
from pipelines.config import Source
from pipelines.source.files import SourceFile, list_files
from pipelines.storage import StoreError, store_errors

_LISTING_THREADS = 16


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows [start, start + count) of one version of one file."""

    uri: str
    version: str
    format: str
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class Unit:
    """The work that is done or lost as one."""

    slices: tuple[Slice, ...]

    @property
    def rows(self) -> int:
        """Documents in this unit."""
        return sum(part.count for part in self.slices)

    @property
    def id(self) -> str:
        """20 hex digits that follow from paths, versions and row ranges alone."""
        facts = "\n".join(f"{s.uri}\t{s.version}\t{s.start}\t{s.count}" for s in self.slices)
        return hashlib.sha256(facts.encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """What a source holds: its files, its units in the order of the files, and the types of the
    columns that are carried through."""

    files: tuple[SourceFile, ...]
    units: tuple[Unit, ...]
    keep: pa.Schema

    @property
    def rows(self) -> int:
        """Documents in the source."""
        return sum(unit.rows for unit in self.units)

    @property
    def empty(self) -> tuple[Slice, ...]:
        """The files without a document."""
        used = {part.uri for unit in self.units for part in unit.slices}
        return tuple(
            Slice(file.uri, file.version, file.format, 0, 0)
            for file in self.files
            if file.uri not in used
        )


def source_files(source: Source) -> list[SourceFile]:
    """The files of a source now; raises what ``list_files`` raises."""
    paths = (source.path,) if isinstance(source.path, str) else source.path
    return list_files(paths, source.format)


def plan_source(
    source: Source, files: Sequence[SourceFile] | None = None, mix: bool = True
) -> SourcePlan:
    """List and count a source, or count these files of it. ``mix``: small files share units.

    Raises ConfigError for a file that cannot be opened or lacks a column, naming both.
    """
    if files is None:
        files = source_files(source)
    with ThreadPoolExecutor(_LISTING_THREADS) as pool:
        counted = list(pool.map(lambda file: _count(file, source), files))
    rows = [count for count, _ in counted]
    keep = _unify(files, [schema for _, schema in counted], source)
    units = tuple(_pack(zip(files, rows, strict=True), source, mix))
    return SourcePlan(tuple(files), units, keep)


def _unify(
    files: Sequence[SourceFile], schemas: Sequence[pa.Schema | None], source: Source
) -> pa.Schema:
    first: tuple[str, pa.Schema] | None = None
    for file, schema in zip(files, schemas, strict=True):
        if schema is None:
            schema = pa.schema([pa.field(name, pa.string()) for name in source.keep])
        if first is None:
            first = (file.uri, schema)
        elif not schema.equals(first[1]):
            raise ConfigError(
                f"source.keep: the columns have other types in {file.uri} than in {first[0]}"
            )
    return first[1] if first else pa.schema([])


def _pack(
    counted: Iterable[tuple[SourceFile, int]], source: Source, mix: bool = True
) -> Iterator[Unit]:
    most_bytes = source.unit_mb * 1e6
    images = source.image is not None
    small: list[Slice] = []
    small_bytes = 0
    for file, rows in counted:
        per_row = file.size / max(rows, 1)
        most_rows = source.unit_images if images or file.format == "image" else source.unit_rows
        step = max(1, min(most_rows, int(most_bytes / max(per_row, 1))))
        whole = Slice(file.uri, file.version, file.format, 0, rows)
        fits = (
            mix
            and sum(s.count for s in small) + rows <= most_rows
            and small_bytes + file.size <= most_bytes
        )
        if small and not fits:
            yield Unit(tuple(small))
            small, small_bytes = [], 0
        if rows > step:
            for start in range(0, rows, step):
                part = Slice(file.uri, file.version, file.format, start, min(step, rows - start))
                yield Unit((part,))
        elif rows:
            small.append(whole)
            small_bytes += file.size
    if small:
        yield Unit(tuple(small))


def _count(file: SourceFile, source: Source) -> tuple[int, pa.Schema | None]:
    """Documents in a file, and for Parquet the schema of the columns to keep."""
    if file.format in ("text", "image"):
        return 1, None
    try:
        with store_errors(), fsspec.open(file.uri, "rb") as stream:
            if file.format == "parquet":
                reader = pq.ParquetFile(stream)
                _check_columns(file.uri, reader.schema_arrow.names, source)
                if source.image is None:
                    _check_text(file.uri, reader.schema_arrow.field(source.text).type)
                else:
                    _check_image(file.uri, reader.schema_arrow.field(source.image).type)
                keep = [pa.field(c, reader.schema_arrow.field(c).type) for c in source.keep]
                return int(reader.metadata.num_rows), pa.schema(keep)
            if file.format == "csv":
                rows = csv_rows(stream)
                _check_columns(file.uri, next(rows, []), source)
                return sum(1 for _ in rows), None
            return sum(1 for line in stream if line.strip()), None
    except (pa.ArrowException, csv.Error, EOFError) as error:
        raise ConfigError(f"{file.uri}: cannot be read as {file.format}") from error
    except StoreError:
        raise
    except OSError as error:
        raise ConfigError(f"{file.uri}: cannot be opened: {type(error).__name__}") from error


def csv_rows(stream: IO[bytes]) -> Iterator[list[str]]:
    """Records of a CSV stream, the header first. Invalid UTF-8 survives as lone surrogates, so
    that the row that holds it can fail alone."""
    csv.field_size_limit(sys.maxsize)
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    return (row for row in csv.reader(text) if row)


def _check_columns(uri: str, names: list[str], source: Source) -> None:
    wanted = [
        source.image or source.text,
        *(c for c in (source.id, source.prompt) if c),
        *source.keep,
    ]
    missing = [column for column in wanted if column not in names]
    if missing:
        raise ConfigError(
            f"{uri}: no column {', '.join(missing)}; the file has {', '.join(names) or 'none'}"
        )


def _check_image(uri: str, type_: pa.DataType) -> None:
    if not (
        pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_null(type_)
    ):
        raise ConfigError(f"{uri}: the image column has the type {type_}, not binary")


def _check_text(uri: str, type_: pa.DataType) -> None:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    if not (
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
        or pa.types.is_binary(type_)
        or pa.types.is_large_binary(type_)
        or pa.types.is_null(type_)
    ):
        raise ConfigError(f"{uri}: the text column has the type {type_}, not a string")
