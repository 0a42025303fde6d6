"""Opening a file of a source: its path as it is written, inflated, within limits.

What the content of a file is at fault for is a BadFileError, which fails the file alone; what a
store or a network is at fault for stays what it is, and ends the run, which can be resumed.
"""

from __future__ import annotations

import csv
import gzip
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
from pipelines.text.binary import PEEKED, refuse_binary
from pipelines.text.compression import inflated
from pipelines.text.errors import BadFileError

_LOCAL = "file://"
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
    """The bytes of a file of text, inflated where it is compressed (gzip, bzip2, xz, zstd).

    Raises BadFileError where they are those of another format; reading does where they are more
    than ``most_bytes`` inflated.
    """
    limit = f"source.max_inflated_mb = {most_bytes / 1e6:g}"
    stream = inflated(open_raw(uri), most_bytes, limit)
    try:
        refuse_binary(stream.peek(PEEKED)[:PEEKED])
    except BaseException:
        stream.close()
        raise
    return stream
