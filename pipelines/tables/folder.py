"""The folder of a sink: files below it, on any fsspec filesystem."""

from __future__ import annotations

import io
import os
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TypeVar

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.storage import StoreError, store_errors

_T = TypeVar("_T")
_R = TypeVar("_R")
# Files read at a time: an object store answers many as fast as one.
_AHEAD = 32


class RunError(RuntimeError):
    """A run or a sink that is not in the state that was asked for; the message says which."""


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


class SinkFolder:
    """Files below a path or URL. Raises StoreError where the store is away."""

    def __init__(self, path: str) -> None:
        self.path = path.rstrip("/")
        self._fs, self._root = fsspec.core.url_to_fs(self.path)
        protocol = self._fs.protocol
        self.local = "file" in (protocol if isinstance(protocol, tuple) else (protocol,))

    def uri(self, inner: str) -> str:
        """The path or URI of a file below the folder."""
        return f"{self.path}/{inner}"

    def check_writable(self) -> None:
        """Write a small object and remove it; raises RunError where that is refused."""
        probe = f"_runs/.probe-{secrets.token_hex(4)}"
        try:
            self.write(probe, b"")
            self._fs.rm(self._at(probe))
        except OSError as error:
            raise RunError(f"sink.path: cannot write to {self.path}: {_reason(error)}") from error

    def has_conditional_put(self) -> bool:
        """True if the store refuses to create an object that is there, tried with a small one;
        raises RunError where it cannot be written to."""
        probe = f"_runs/.probe-{secrets.token_hex(4)}"
        try:
            self.create(probe, b"1")
            return not self.create(probe, b"2")
        except OSError as error:
            raise RunError(f"sink.path: cannot write to {self.path}: {_reason(error)}") from error
        finally:
            with suppress(OSError):
                self.remove(probe)

    @store_errors()
    def names(self, inner: str) -> list[str]:
        """The names in a folder, sorted; none where there is no such folder."""
        return sorted(self.sizes(inner))

    @store_errors()
    def sizes(self, inner: str) -> dict[str, int]:
        """The names in a folder, with their sizes in bytes; of folders 0."""
        self._fs.invalidate_cache()
        try:
            entries = self._fs.ls(self._at(inner), detail=True)
        except FileNotFoundError:
            return {}
        return {PurePosixPath(one["name"]).name: int(one["size"] or 0) for one in entries}

    @store_errors()
    def times(self, inner: str) -> dict[str, float]:
        """The files in a folder and in all below it, by path below it: when each was last written,
        in seconds since 1970."""
        self._fs.invalidate_cache()
        root = self._at(inner)
        try:
            found = self._fs.find(root, detail=True)
        except FileNotFoundError:
            return {}
        return {str(name).rpartition(f"{root}/")[2]: _time(info) for name, info in found.items()}

    @store_errors()
    def remove(self, inner: str) -> None:
        """Remove a file or a folder, if it is there."""
        with suppress(FileNotFoundError):  # another process may remove the same
            if self._fs.exists(self._at(inner)):
                self._fs.rm(self._at(inner), recursive=True)

    @store_errors()
    def read(self, inner: str) -> bytes | None:
        """The content of a file, if it is there."""
        try:
            return self._fs.cat_file(self._at(inner))  # type: ignore[no-any-return]
        except FileNotFoundError:
            return None

    @store_errors()
    def create(self, inner: str, content: bytes) -> bool:
        """Write a file that is not there yet; False where it is."""
        target = self._at(inner)
        if not self.local:
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

    @store_errors()
    def write(self, inner: str, content: bytes) -> None:
        """Write a file, whole or not at all."""
        # A reader must never see half a file. An object store's put is atomic; a local file is
        # written beside its place, where no listing takes it for done, and then renamed.
        target = self._at(inner)
        if self.local:
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

    def write_table(self, inner: str, table: pa.Table) -> int:
        """Write a Parquet file, whole or not at all; its size in bytes."""
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", row_group_size=65_536)
        self.write(inner, buffer.getvalue())
        return buffer.tell()

    @store_errors()
    def read_table(
        self,
        inner: str,
        columns: list[str] | None = None,
        where: pc.Expression | None = None,
    ) -> pa.Table:
        """A Parquet file, or the rows of it for which ``where``, of these columns, is true."""
        with self._fs.open(self._at(inner), "rb") as file:
            # Not pq.read_table: threads of Arrow's scanner that read from a Python file may still
            # be there when the process ends, and abort it.
            table = pq.ParquetFile(file).read(columns=columns)
        return table if where is None else table.filter(where)

    @store_errors()
    def read_schema(self, inner: str) -> pa.Schema:
        """The schema of a Parquet file, with its metadata; no row is read."""
        with self._fs.open(self._at(inner), "rb") as file:
            return pq.read_schema(file)

    def _at(self, inner: str) -> str:
        return f"{self._root}/{inner}"


def _reason(error: OSError) -> str:
    return str(error) if isinstance(error, StoreError) else type(error).__name__


def _time(info: dict[str, object]) -> float:
    for key in ("mtime", "LastModified", "last_modified", "updated"):
        value = info.get(key)
        if hasattr(value, "timestamp"):
            return float(value.timestamp())
        if isinstance(value, int | float):
            return float(value)
    return 0.0
