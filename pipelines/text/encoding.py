"""Bytes to text."""

from __future__ import annotations

import codecs
import io
import re
from contextlib import suppress
from typing import IO

from pipelines.text.errors import BadFileError

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_DECLARED = re.compile(
    rb"\s*(?:<\?xml\b[^>]{0,200}?\bencoding=[\"']([\w.:-]+)"
    rb"|<(?=[!?a-z]).{0,1000}?<meta\b[^>]{0,200}?\bcharset=[\"']?([\w.:-]+)"
    rb"|\{\\rtf.{0,100}?\\ansicpg(\d+))",
    re.IGNORECASE | re.DOTALL,
)
"""Encoding declarations at the beginning of XML, HTML and RTF."""
_ASCII_ESCAPES = ("iso2022", "hz", "utf-7")
"""Encodings that look like ASCII."""


def declared_encoding(begin: bytes) -> str | None:
    """The encoding that markup states at its beginning, if it is one that Python knows."""
    found = _DECLARED.match(begin)
    if found is None:
        return None
    xml, html, rtf = found.groups()
    name = f"cp{int(rtf)}" if rtf else (xml or html).decode()
    try:
        return codecs.lookup(name).name
    except LookupError:
        return None


def text_of(content: bytes, encoding: str = "utf-8") -> str:
    """A text file as ``decoded`` has it. Where it is no UTF-8, the encoding that markup states
    holds: many state one that they had before they were converted."""
    declared = declared_encoding(content)
    if declared is not None:
        for name in (declared,) if declared.startswith(_ASCII_ESCAPES) else ("utf-8-sig", declared):
            with suppress(UnicodeDecodeError):
                return content.decode(name)
    with decoded(io.BytesIO(content), encoding) as text:
        return text.read()


def decoded(stream: IO[bytes], encoding: str) -> io.TextIOWrapper:
    """A file as text. A byte-order mark says its encoding and is not part of the text; without one
    ``encoding`` holds. Invalid UTF-8 survives as lone surrogates, so that a row fails alone.

    Raises BadFileError where it looks like UTF-16 or UTF-32 and nothing says so.
    """
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)  # type: ignore[type-var]
    begin = buffered.peek(4)[:4]
    for mark, name in _BOMS:
        if begin.startswith(mark):
            buffered.read(len(mark))
            encoding = name
            break
    wide = codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))
    if not wide and b"\0" in begin[:2]:
        buffered.close()
        raise BadFileError(
            "not an image, a PDF or a text in UTF-8; if it is text in UTF-16 or UTF-32 without a "
            "byte-order mark, state its encoding or save it as UTF-8"
        )
    errors = "strict" if wide else "surrogateescape"
    return io.TextIOWrapper(buffered, encoding=encoding, errors=errors, newline="")
