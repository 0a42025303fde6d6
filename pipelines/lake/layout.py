"""The layout of a sink: where a run's files are, and what makes them count.

    documents/run_id=<run>/<unit>.parquet   one row per document
    entities/run_id=<run>/<unit>.parquet    one row per entity
    tombstones/run_id=<run>/part.parquet    documents that hold no longer since that run
    _runs/<run>/plan.parquet                the run's units, written first
    _runs/<run>/state.parquet               the units that hold after it (see ``state``)
    _order/<number>.<run>                   its place among the commits; counts with the marker
    _runs/<run>.json                        the marker, written last: the commit

A unit's documents file is written after its entities file: a unit is done when the documents file
stands. A reader takes the runs that have a marker; a plain glob sees unfinished runs too.
"""

from __future__ import annotations

import io
import json
import os
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.lake.plan import Plan
from pipelines.storage import StoreError, store_errors

_T = TypeVar("_T")
_R = TypeVar("_R")
_FACTS = b"medspan"
# Files read at a time: an object store answers many as fast as one.
_AHEAD = 32
TABLES = ("documents", "entities", "tombstones")


class RunError(RuntimeError):
    """A run that is not there, or not in the state that was asked for; the message says which."""


def new_run_id() -> str:
    """An id that sorts by time and begins with a letter: no reader takes it for a number."""
    return f"r{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def ahead(read: Callable[[_T], _R], items: Sequence[_T]) -> Iterator[_R]:
    """``read`` of each item, in order, up to 32 of them under way at a time."""
    if len(items) == 1:
        yield read(items[0])
        return
    with ThreadPoolExecutor(_AHEAD) as pool:
        waiting: deque[Future[_R]] = deque()
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) >= _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Sink:
    """A folder that holds runs, on any fsspec filesystem."""

    def __init__(self, path: str) -> None:
        self.path = path.rstrip("/")
        self._fs, self._root = fsspec.core.url_to_fs(self.path)
        self._local = "file" in (
            self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,)
        )

    def committed(self) -> list[str]:
        """Ids of the runs that have a marker, in the order of their commits."""
        names = self.names("_runs")
        done = [n.removesuffix(".json") for n in names if n.endswith(".json") and n[0] != "."]
        place = {run: number for number, run in self._order()}
        return sorted(done, key=lambda run: (place.get(run, 0), run))

    def latest(self) -> str:
        """The id of the latest committed run; raises RunError where there is none."""
        runs = self.committed()
        if not runs:
            raise RunError(f"{self.path} has no committed run")
        return runs[-1]

    def _order(self) -> list[tuple[int, str]]:
        pairs = (name.partition(".") for name in self.names("_order"))
        return sorted((int(number), run) for number, _, run in pairs if number.isdigit())

    def check_writable(self) -> None:
        """Write a small object and remove it; raises RunError where that is refused."""
        probe = f"_runs/.probe-{secrets.token_hex(4)}"
        try:
            self.write(probe, b"")
            self._fs.rm(self._at(probe))
        except OSError as error:
            why = str(error) if isinstance(error, StoreError) else type(error).__name__
            raise RunError(f"sink.path: cannot write to {self.path}: {why}") from error

    def open_runs(self) -> list[str]:
        """Ids of the runs that were begun and have no marker, oldest first."""
        done = set(self.committed())
        names = self.names("_runs")
        begun = (n for n in names if not n.endswith(".json") and not n.startswith("."))
        return [name for name in begun if name not in done]

    def begin(self, run_id: str, plan: Plan) -> None:
        """Write the plan of a run, before any of its work."""
        self.write_table(f"_runs/{run_id}/plan.parquet", plan.as_table())

    def plan(self, run_id: str) -> Plan:
        """The plan of a run; raises RunError where there is no such run."""
        content = self.read(f"_runs/{run_id}/plan.parquet")
        if content is None:
            known = ", ".join([*self.open_runs(), *self.committed()][-5:]) or "none"
            raise RunError(f"{self.path} has no run {run_id}; the latest: {known}")
        return Plan.from_table(pq.read_table(io.BytesIO(content)))

    def done_units(self, run_id: str) -> set[str]:
        """Ids of the units whose documents file stands."""
        names = self.names(f"documents/run_id={run_id}")
        return {name.removesuffix(".parquet") for name in names if name.endswith(".parquet")}

    def write_unit(
        self, run_id: str, unit: str, entities: pa.Table, documents: pa.Table, facts: str = "{}"
    ) -> None:
        """Write a unit's two files; the documents file, which makes it done, last. ``facts`` are
        kept in its footer, where a resumed run finds them without reading a row."""
        metadata = {**(documents.schema.metadata or {}), _FACTS: facts.encode()}
        documents = documents.replace_schema_metadata(metadata)
        self.write_table(f"entities/run_id={run_id}/{unit}.parquet", entities)
        self.write_table(f"documents/run_id={run_id}/{unit}.parquet", documents)

    def commit(self, run_id: str, marker: dict[str, Any]) -> None:
        """Write the marker: from now on readers see the run."""
        number = max((number for number, _ in self._order()), default=0) + 1
        self.write(f"_order/{number:010d}.{run_id}", b"")
        self.write(f"_runs/{run_id}.json", json.dumps(marker, indent=1, sort_keys=True).encode())

    def marker(self, run_id: str) -> dict[str, Any]:
        """The marker of a committed run; raises RunError where there is none."""
        content = self.read(f"_runs/{run_id}.json")
        if content is None:
            raise RunError(f"{self.path}: the run {run_id} is not committed")
        return json.loads(content)  # type: ignore[no-any-return]

    def discard(self, run_id: str) -> None:
        """Remove an uncommitted run and its files; raises RunError for a committed one."""
        if run_id in self.committed():
            raise RunError(f"{self.path}: the run {run_id} is committed and is not discarded")
        if run_id not in self.open_runs():
            raise RunError(f"{self.path} has no run {run_id}")
        # The plan goes last: a discard that was cut short can be done again.
        for folder in TABLES:
            self.remove(f"{folder}/run_id={run_id}")
        self.remove(f"_runs/{run_id}")

    def tables(
        self, run_id: str, table: str, units: Sequence[str], columns: list[str] | None = None
    ) -> Iterator[pa.Table]:
        """The units of a table (``documents`` or ``entities``), in order."""

        @store_errors()
        def read(unit: str) -> pa.Table:
            with self._fs.open(self._at(f"{table}/run_id={run_id}/{unit}.parquet"), "rb") as file:
                # partitioning=None: the run is in the path, and not twice.
                return pq.read_table(file, columns=columns, partitioning=None)

        return ahead(read, units)

    def facts(self, run_id: str, units: Sequence[str]) -> Iterator[tuple[str, str]]:
        """The units, each with the facts that it was written with."""

        @store_errors()
        def read(unit: str) -> tuple[str, str]:
            with self._fs.open(self._at(f"documents/run_id={run_id}/{unit}.parquet"), "rb") as file:
                return unit, pq.read_schema(file).metadata[_FACTS].decode()

        return ahead(read, units)

    @store_errors()
    def size(self, run_id: str, table: str, unit: str) -> int:
        """The bytes of a unit's file before compression."""
        with self._fs.open(self._at(f"{table}/run_id={run_id}/{unit}.parquet"), "rb") as file:
            found = pq.read_metadata(file)
            return sum(found.row_group(i).total_byte_size for i in range(found.num_row_groups))

    def file(self, run_id: str, table: str, unit: str) -> str:
        """The URI or path of a unit's file."""
        return f"{self.path}/{table}/run_id={run_id}/{unit}.parquet"

    def write_text(self, inner: str, content: str) -> str:
        """Write a text file below the sink; its path."""
        self.write(inner, content.encode())
        return f"{self.path}/{inner}"

    def _at(self, inner: str) -> str:
        return f"{self._root}/{inner}"

    @store_errors()
    def names(self, inner: str) -> list[str]:
        """The names in a folder below the sink, sorted; none where there is no such folder."""
        self._fs.invalidate_cache()
        try:
            entries = self._fs.ls(self._at(inner), detail=False)
        except FileNotFoundError:
            return []
        return sorted(PurePosixPath(entry).name for entry in entries)

    @store_errors()
    def remove(self, inner: str) -> None:
        """Remove a file or a folder below the sink, if it is there."""
        with suppress(FileNotFoundError):  # another process may remove the same
            if self._fs.exists(self._at(inner)):
                self._fs.rm(self._at(inner), recursive=True)

    @store_errors()
    def read(self, inner: str) -> bytes | None:
        """The content of a file below the sink, if it is there."""
        try:
            return self._fs.cat_file(self._at(inner))  # type: ignore[no-any-return]
        except FileNotFoundError:
            return None

    @store_errors()
    def create(self, inner: str, content: bytes) -> bool:
        """Write a file below the sink that is not there yet; False where it is."""
        target = self._at(inner)
        if not self._local:
            try:
                self._fs.pipe_file(target, content, mode="create")
            except FileExistsError:
                return False
            return True
        beside = Path(target).with_name(f".{secrets.token_hex(8)}")
        beside.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(content)
            os.link(beside, target)  # fails where the target is; a rename would not
        except FileExistsError:
            return False
        finally:
            beside.unlink(missing_ok=True)
        return True

    def write_table(self, inner: str, table: pa.Table) -> None:
        """Write a Parquet file below the sink, whole or not at all."""
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", row_group_size=65_536)
        self.write(inner, buffer.getvalue())

    @store_errors()
    def write(self, inner: str, content: bytes) -> None:
        """Write a file below the sink, whole or not at all."""
        # A reader must never see half a file. An object store's put is atomic; a local file is
        # written beside its place, where no listing takes it for done, and then renamed.
        target = self._at(inner)
        if self._local:
            path = Path(target)
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            try:
                beside.write_bytes(content)
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)
        else:
            self._fs.pipe_file(target, content)
