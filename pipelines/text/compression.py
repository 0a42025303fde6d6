"""Compressed content, inflated within a limit. What it is compressed with follows from its
beginning."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from typing import IO, Any

from actors.extras import optional_imports
from pipelines.text.errors import BadFileError

_MAGIC = (
    ("gzip", b"\x1f\x8b\x08"),
    ("bzip2", b"BZh"),
    ("xz", b"\xfd7zXZ\x00"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
)
COMPRESSED = frozenset({".gz", ".bz2", ".xz", ".zst", ".zstd"})
"""Suffixes after which a file's format is that of the suffix before."""


def inflated(raw: IO[bytes], most_bytes: int, limit: str) -> io.BufferedReader:
    """The bytes of a stream, inflated where it is compressed (gzip, bzip2, xz, zstd).

    Reading raises BadFileError where they are more than ``most_bytes`` inflated; ``limit`` names
    that limit. Damaged content raises what its decoder raises.
    """
    buffered = io.BufferedReader(raw)  # type: ignore[type-var]
    begin = buffered.peek(6)[:6]
    kind = next((name for name, magic in _MAGIC if begin.startswith(magic)), None)
    if kind is None:
        return buffered  # type: ignore[return-value]
    stream: Any
    if kind == "gzip":
        stream = gzip.GzipFile(fileobj=buffered)
    elif kind == "bzip2":
        stream = bz2.BZ2File(buffered)
    elif kind == "xz":
        stream = lzma.LZMAFile(buffered)  # noqa: SIM115  closed with the stream around it
    else:
        with optional_imports("a file compressed with zstd"):
            import pyarrow as pa
        stream = pa.CompressedInputStream(pa.PythonFile(buffered, "r"), "zstd")
    return io.BufferedReader(_Bounded(stream, buffered, most_bytes, limit))


class _Bounded(io.RawIOBase):
    """An inflated stream that ends with an error where it is longer than its bound."""

    def __init__(self, stream: Any, raw: IO[bytes], most_bytes: int, limit: str) -> None:
        self._stream, self._raw = stream, raw
        self._read = getattr(stream, "read1", stream.read)
        self._left, self._limit = most_bytes, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # At most one read of the decoder: what it gave before damaged data is not lost with it.
        content = self._read(len(buffer))
        self._left -= len(content)
        if self._left < 0:
            raise BadFileError(f"the file decompresses to more than {self._limit}")
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            self._raw.close()
        super().close()
