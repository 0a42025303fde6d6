"""Planning: from files to units of work, each with an id that follows from what it is.

A unit is one slice of a large file or a handful of small files; its output has a name that follows
from its id, so it is done when its file is there, and doing it twice is the same as once.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actors.config import ConfigError
from pipelines.config import Source
from pipelines.source.counting import count_documents
from pipelines.source.duplicates import (
    DuplicateIdsError,
    TakenIds,
    no_ids_taken,
    repeated,
    stretches,
)
from pipelines.source.extra_columns import unified
from pipelines.source.listing import Listing, SourceFile, list_source

log = logging.getLogger(__name__)
_LISTING_THREADS = 16
_NAMED = 8
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

    A file that cannot be read, or lacks a column, is planned as one row, which fails. Raises
    ConfigError where no file of the source can be read, naming one and why.
    """
    listing = list_source(source) if files is None else Listing(list(files))
    with ThreadPoolExecutor(_LISTING_THREADS) as pool:
        counted = list(pool.map(lambda file: count_documents(file, source), listing.files))
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
