"""Opening a file of a source: its path as it is written, decompressed, within limits.

What the content of a file is at fault for is a BadFileError, which fails the file alone; what a
store or a network is at fault for stays what it is, and ends the run, which can be resumed.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import fsspec
import ijson
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from pipelines.storage import StoreError

_LOCAL = "file://"
_MAGIC = (
    ("gzip", b"\x1f\x8b\x08"),
    ("bzip2", b"BZh"),
    ("xz", b"\xfd7zXZ\x00"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
)
COMPRESSED = frozenset({".gz", ".bz2", ".xz", ".zst", ".zstd"})
"""Suffixes after which a file's format is that of the suffix before."""
_CONTENT_ERRORS = (
    pa.ArrowException,
    csv.Error,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    ijson.JSONError,
    UnicodeError,
)


class BadFileError(Exception):
    """A file that cannot be read, or no longer is what was planned; the message quotes nothing."""


def filesystem(path: str) -> tuple[Any, str]:
    """The filesystem of a path or URL, and the path within it.

    Local paths are taken as they are: ``::`` and ``#`` mean nothing in them.
    """
    if path.startswith(_LOCAL):
        return LocalFileSystem(), path.removeprefix(_LOCAL)
    if "://" not in path:
        return LocalFileSystem(), LocalFileSystem._strip_protocol(path)
    scheme = path.split("://", 1)[0]
    if "::" in path and "::" not in scheme:  # a key that holds it, not a chain of filesystems
        system = fsspec.filesystem(scheme)
        return system, system._strip_protocol(path)
    return fsspec.core.url_to_fs(path)  # type: ignore[no-any-return]


@contextmanager
def content_errors(format_: str) -> Iterator[None]:
    """Raise BadFileError for what goes wrong inside because of a file's content or absence."""
    try:
        yield
    except FileNotFoundError:
        raise BadFileError("the file is gone") from None
    except PermissionError:
        raise BadFileError("reading the file is not permitted") from None
    except _CONTENT_ERRORS as error:
        kind = type(error).__name__
        raise BadFileError(f"the file cannot be read as {format_}: {kind}") from None
    except OSError as error:
        # Decoders of Arrow and bz2 raise a bare OSError; those of systems have a number.
        if type(error) is not OSError or error.errno is not None or isinstance(error, StoreError):
            raise
        raise BadFileError(f"the file cannot be read as {format_}: damaged data") from None


def open_raw(uri: str) -> IO[bytes]:
    """The bytes of a file as they are stored."""
    system, inner = filesystem(uri)
    return system.open(inner, "rb")  # type: ignore[no-any-return]


def open_source(uri: str, most_bytes: int) -> IO[bytes]:
    """The bytes of a file, decompressed where their beginning says so (gzip, bzip2, xz, zstd).

    Reading raises BadFileError where they are more than ``most_bytes`` decompressed.
    """
    raw = io.BufferedReader(open_raw(uri))  # type: ignore[type-var]
    begin = raw.peek(6)[:6]
    kind = next((name for name, magic in _MAGIC if begin.startswith(magic)), None)
    if kind is None:
        return raw
    stream: Any
    if kind == "gzip":
        stream = gzip.GzipFile(fileobj=raw)
    elif kind == "bzip2":
        stream = bz2.BZ2File(raw)
    elif kind == "xz":
        stream = lzma.LZMAFile(raw)  # noqa: SIM115  closed with the stream around it
    else:
        stream = pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd")
    return io.BufferedReader(_Bounded(stream, raw, most_bytes))


class _Bounded(io.RawIOBase):
    """A decompressed stream that ends with an error where it inflates to more than its bound."""

    def __init__(self, stream: Any, raw: IO[bytes], most_bytes: int) -> None:
        self._stream, self._raw = stream, raw
        self._most = self._left = most_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._stream.read(len(buffer))
        self._left -= len(content)
        if self._left < 0:
            raise BadFileError(
                f"the file inflates to more than source.max_inflated_mb = {self._most / 1e6:g}"
            )
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            self._raw.close()
        super().close()
