"""Planning: from files to units of work, each with an id that follows from what it is.

A unit is one slice of a large file or a handful of small files; its output has a name that follows
from its id, so it is done when its file is there, and doing it twice is the same as once.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from actors.config import ConfigError
from actors.spans import Failure
from pipelines.config import Source
from pipelines.source.duplicates import (
    Digests,
    DuplicateIdsError,
    TakenIds,
    digests,
    no_ids_taken,
    repeated,
    stretches,
)
from pipelines.source.extra_columns import unified
from pipelines.source.ids import Id, column_ids, may_be_ids, value_id
from pipelines.source.listing import WHOLE, Listing, SourceFile, list_source
from pipelines.source.opening import content_errors, open_raw, open_source
from pipelines.source.partitions import partitions_of
from pipelines.source.records import Record, by_header, csv_rows, records
from pipelines.storage import StoreError, reason, store_errors
from pipelines.text.errors import BadFileError

log = logging.getLogger(__name__)
_LISTING_THREADS = 16
_NAMED = 8
_BATCH_ROWS = 65_536
DUPLICATE = "duplicate:"
"""Format prefix of rows with the id of an earlier row: each is a failed row."""
BAD = "bad:"
"""Before the format of a file that could not be read when it was planned: one row, which fails."""


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
    """The plan of a source: its files, its units in the order of the files, and the types of the
    extra columns."""

    files: tuple[SourceFile, ...]
    units: tuple[Unit, ...]
    keep: pa.Schema
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Files that were passed over, by suffix."""
    thinned: frozenset[str] = frozenset()
    """URIs of the files of which ``keep_first`` left out rows."""
    snapshots: Mapping[str, int] = field(default_factory=dict)
    """Of tables the snapshot that was listed, by path."""

    @property
    def rows(self) -> int:
        """Documents in the source."""
        return sum(unit.rows for unit in self.units)

    @property
    def empty(self) -> tuple[Slice, ...]:
        """The files without a document, and those of which rows were left out (``keep_first``)."""
        used = {part.uri for unit in self.units for part in unit.slices}
        return tuple(
            Slice(file.uri, file.version, self._state(file) + file.format, 0, 0)
            for file in self.files
            if file.uri not in used or file.uri in self.thinned
        )

    def _state(self, file: SourceFile) -> str:
        return DUPLICATE if file.uri in self.thinned else ""


def plan_source(
    source: Source,
    files: Sequence[SourceFile] | None = None,
    mix: bool = True,
    taken: TakenIds = no_ids_taken,
) -> SourcePlan:
    """List and count a source, or count these files of it. ``mix``: small files share units;
    ``taken``: ids that the rows of these files must not have.

    A file that cannot be read is planned as one row, which fails. Raises ConfigError for a file
    that lacks a column, naming both, and where no file of the source can be read.
    """
    listing = list_source(source) if files is None else Listing(list(files))
    with ThreadPoolExecutor(_LISTING_THREADS) as pool:
        counted = list(pool.map(lambda file: _count(file, source), listing.files))
    bad = [(f, c.bad) for f, c in zip(listing.files, counted, strict=True) if c.bad]
    if files is None and bad and len(bad) == len(counted):
        file, why = bad[0]
        raise ConfigError(f"source.path: no file can be read, such as {file.uri}: {why}")
    for file, why in bad[:_NAMED]:
        log.warning("%s: %s; it becomes a failed row (BadFile)", file.uri, why)
    if len(bad) > _NAMED:
        log.warning("and %d more files that cannot be read", len(bad) - _NAMED)
    good = [(f.uri, c.columns) for f, c in zip(listing.files, counted, strict=True) if not c.bad]
    keep = unified(good, source.extra_columns) if good else pa.schema([])
    planned = [
        replace(file, format=BAD + file.format) if found.bad else file
        for file, found in zip(listing.files, counted, strict=True)
    ]
    rows = zip(planned, (found.rows for found in counted), strict=True)
    units = tuple(_pack(rows, source, mix))
    thinned: frozenset[str] = frozenset()
    if source.id is not None:
        rows_again = repeated([found.ids for found in counted], taken)
        units, thinned = _apart(units, planned, rows_again, source)
    return SourcePlan(
        tuple(planned), units, keep, dict(listing.skipped), thinned, listing.snapshots
    )


def _apart(
    units: Sequence[Unit],
    files: Sequence[SourceFile],
    rows: Sequence[npt.NDArray[np.int64]],
    source: Source,
) -> tuple[tuple[Unit, ...], frozenset[str]]:
    """The units with rows of repeated ids in slices of their own, or without them; and the files
    that were left without them."""
    by_file = {file.uri: found for file, found in zip(files, rows, strict=True) if len(found)}
    if not by_file:
        return tuple(units), frozenset()
    total = sum(len(found) for found in by_file.values())
    repeated = "1 row has" if total == 1 else f"{total:,} rows have"
    words = (
        f"source.id: {repeated} the id of an earlier row or of a live document, first in "
        f"{next(iter(by_file))}"
    )
    if source.on_duplicate == "error":
        raise DuplicateIdsError(f"{words}; set source.on_duplicate, or choose another column")
    log.warning("%s (source.on_duplicate: %s)", words, source.on_duplicate)
    apart: list[Unit] = []
    for unit in units:
        slices: list[Slice] = []
        for part in unit.slices:
            if part.uri not in by_file:
                slices.append(part)
                continue
            for start, count, again in stretches(part.start, part.count, by_file[part.uri]):
                if again and source.on_duplicate == "keep_first":
                    continue
                format_ = DUPLICATE + part.format if again else part.format
                slices.append(replace(part, format=format_, start=start, count=count))
        if slices:
            apart.append(Unit(tuple(slices)))
    thinned = by_file if source.on_duplicate == "keep_first" else ()
    return tuple(apart), frozenset(thinned)


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


@dataclass(frozen=True, slots=True)
class _Counted:
    """Documents in a file, the types of its columns, and why it cannot be read, if so."""

    rows: int
    columns: Mapping[str, pa.DataType] = field(default_factory=dict)
    bad: str = ""
    ids: Digests = field(default_factory=lambda: digests(()))


def _count(file: SourceFile, source: Source) -> _Counted:
    path = dict.fromkeys(partitions_of(file.uri), pa.string())
    try:
        if file.size == 0:
            raise BadFileError("the file is empty")
        if file.format in WHOLE:
            return _Counted(1, path)
        with store_errors(), content_errors(file.format):
            if file.format == "parquet":
                return _count_parquet(file.uri, source, path)
            with open_source(file.uri, int(source.max_inflated_mb * 1e6)) as stream:
                return _count_records(stream, file, source, path)
    except BadFileError as error:
        return _Counted(1, bad=str(error))
    except StoreError:
        raise
    except OSError as error:
        raise ConfigError(f"{file.uri}: cannot be opened: {reason(error)}") from error


def _count_parquet(uri: str, source: Source, path: Mapping[str, pa.DataType]) -> _Counted:
    with open_raw(uri) as stream:
        reader = pq.ParquetFile(stream)
        schema = reader.schema_arrow
        _check_columns(uri, schema.names, source)
        if source.image is None:
            _check_text(uri, schema.field(source.text).type)
        else:
            _check_image(uri, schema.field(source.image).type)
        if source.id is not None and not may_be_ids(schema.field(source.id).type):
            raise ConfigError(
                f"{uri}: source.id: {source.id} has the type {schema.field(source.id).type}, which "
                "cannot be an id; choose another column, or remove source.id to derive ids"
            )
        own = {column.name: column.type for column in schema if column.name in source.extra_columns}
        rows = int(reader.metadata.num_rows)
        return _Counted(rows, {**path, **own}, ids=_parquet_ids(reader, rows, source.id))


def _parquet_ids(reader: pq.ParquetFile, rows: int, name: str | None) -> Digests:
    if name is None:
        return digests(())
    found: list[Id] = []
    with suppress(BadFileError), content_errors("parquet"):  # reading finds it again, row by row
        for batch in reader.iter_batches(_BATCH_ROWS, columns=[name]):
            found += column_ids(batch.column(name), name)
    return digests([*found, *([None] * (rows - len(found)))])


def _record_ids(rows: Iterable[Record], name: str | None) -> tuple[int, Digests]:
    """Return the number of rows and the digests of their ids."""
    if name is None:
        return sum(1 for _ in rows), digests(())
    ids = [None if isinstance(r, Failure) else value_id(r.get(name), name) for r in rows]
    return len(ids), digests(ids)


def _count_records(
    stream: IO[bytes], file: SourceFile, source: Source, path: Mapping[str, pa.DataType]
) -> _Counted:
    if file.format not in ("csv", "tsv"):
        own = dict.fromkeys(source.extra_columns, pa.string())  # which a line may have or lack
        count, ids = _record_ids(records(stream, file.format, source), source.id)
        return _Counted(count, {**path, **own}, ids=ids)
    rows = csv_rows(stream, file.format, source)
    header = next(rows, [])
    if isinstance(header, Failure):
        raise BadFileError("the file has no header")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ConfigError(f"{file.uri}: the header has {', '.join(twice)} more than once")
    _check_columns(file.uri, header, source)
    own = dict.fromkeys(set(source.extra_columns) & set(header), pa.string())
    count, ids = _record_ids(_warned(by_header(header, rows), file.uri), source.id)
    return _Counted(count, {**path, **own}, ids=ids)


def _warned(rows: Iterable[Record], uri: str) -> Iterator[Record]:
    """Yield the rows; log one with an unclosed quote, since it swallows others."""
    for row in rows:
        if isinstance(row, Failure) and "quote" in row.message:
            log.warning("%s: %s", uri, row.message)
        yield row


def _check_columns(uri: str, names: list[str], source: Source) -> None:
    wanted = [
        source.image or source.text,
        *(column for column in (source.id, source.prompt) if column),
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
