"""Output of an export: a file or folder, local or in an object store, written atomically."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.exchange.exporter import ExportError
from pipelines.storage import store_errors


class ExportFiles:
    """Open files of an export; a context manager.

    Raises ExportError if something stands at ``path`` already. An export that ends with an
    exception leaves nothing there.
    """

    def __init__(self, path: str) -> None:
        self.path = path.rstrip("/")
        self._fs, root = fsspec.core.url_to_fs(self.path)
        self._root = root.rstrip("/")
        protocol = self._fs.protocol
        self._local = "file" in (protocol if isinstance(protocol, tuple) else (protocol,))
        with store_errors():
            if self._fs.exists(self._root):
                raise ExportError(f"{path} exists; remove it, or name another --out")
        self._at = self._root
        if self._local:  # an object appears when it is complete; a local file as it is written
            path_ = Path(self._root)
            path_.parent.mkdir(parents=True, exist_ok=True)
            self._at = str(path_.with_name(f".{path_.name}.{secrets.token_hex(4)}"))
        self._files = ExitStack()

    def __enter__(self) -> ExportFiles:
        return self

    def file(self, name: str = "") -> IO[bytes]:
        """Open a file of a folder, or without a name the only file. It is closed with the rest."""
        opened: IO[bytes] = self._files.enter_context(self.part(name))
        return opened

    def parquet(self, schema: pa.Schema, name: str = "") -> pq.ParquetWriter:
        """Open a Parquet file. It is closed with the rest."""
        return self._files.enter_context(
            pq.ParquetWriter(self.file(name), schema, compression="zstd")
        )

    @store_errors()
    def part(self, name: str) -> IO[bytes]:
        """Open a file that the caller closes, for formats with a file per document."""
        at = f"{self._at}/{name}" if name else self._at
        if self._local:
            Path(at).parent.mkdir(parents=True, exist_ok=True)
        opened: IO[bytes] = self._fs.open(at, "wb")
        return opened

    @store_errors()
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        complete = False
        try:
            self._files.close()
            complete = kind is None
        finally:
            if not complete:
                with suppress(FileNotFoundError):
                    self._fs.rm(self._at, recursive=True)
        if complete and self._local and Path(self._at).exists():
            Path(self._at).rename(self._root)
