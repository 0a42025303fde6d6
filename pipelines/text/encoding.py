"""Bytes to text."""

from __future__ import annotations

import io
from typing import IO

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


def decoded(stream: IO[bytes], encoding: str) -> io.TextIOWrapper:
    """A file as text. A byte-order mark says its encoding and is not part of the text; without one
    ``encoding`` holds. Invalid UTF-8 survives as lone surrogates, so that a row fails alone."""
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)  # type: ignore[type-var]
    begin = buffered.peek(4)[:4]
    for mark, name in _BOMS:
        if begin.startswith(mark):
            buffered.read(len(mark))
            encoding = name
            break
    errors = (
        "surrogateescape" if not encoding.lower().startswith(("utf-16", "utf-32")) else "strict"
    )
    return io.TextIOWrapper(buffered, encoding=encoding, errors=errors, newline="")
