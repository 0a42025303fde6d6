"""Files that are no text, by their beginning."""

from __future__ import annotations

import io
import re
import zipfile

from actors.pages import page_format
from pipelines.text.errors import BadFileError

WORD = "a Word document (.docx)"
_ZIP = b"PK\x03\x04"
_IN_ZIP = (
    ("word/", WORD),
    ("xl/", "an Excel workbook (.xlsx)"),
    ("ppt/", "a PowerPoint presentation (.pptx)"),
    ("mimetype", "an OpenDocument file (.odt)"),
    ("", "a ZIP archive"),
)
_BINARY = (
    (b"\xd0\xcf\x11\xe0", "an Office file of an older kind (.doc, .xls), or with a password"),
    (b"PAR1", "a Parquet file"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3\x00", "a SQLite database"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a]")
_BEGINNING = 1_000  # characters in which control characters tell a binary file
PEEKED = 2_000
"""Bytes of a file's beginning that tell its kind."""


def binary_kind(content: bytes) -> str | None:
    """Identify a file that is neither text nor image from its content; None for all others."""
    if content.startswith(_ZIP):
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            names = []
        names.append("")
        return next(words for begin, words in _IN_ZIP if any(n.startswith(begin) for n in names))
    return next((words for magic, words in _BINARY if content.startswith(magic)), None)


def refuse_binary(begin: bytes) -> None:
    """Raise BadFileError where a file that should be text begins like one of another format."""
    if begin.startswith(_ZIP):
        raise BadFileError("the file is a ZIP archive or an Office document, not text")
    kind = binary_kind(begin)
    if kind is None and (page := page_format(begin)) is not None:
        kind = f"an image or PDF ({page})"
    if kind is not None:
        raise BadFileError(f"the file is {kind}, not text")


def has_control_characters(text: str) -> bool:
    """True if a text begins like a binary file, or like text in another encoding."""
    return _CONTROL.search(text[:_BEGINNING]) is not None
