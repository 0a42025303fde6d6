"""The text of one file: inflated, decoded, and of markup what a reader sees."""

from __future__ import annotations

import gzip
import io
import lzma
import re
import zipfile
import zlib

from actors.extras import optional_imports
from actors.pages import page_format
from pipelines.text.compression import inflated
from pipelines.text.encoding import decoded
from pipelines.text.errors import BadFileError
from pipelines.text.markup.detect import markup_kind
from pipelines.text.markup.line_layout import Visible

_INSTEAD = "which is not read; save it as PDF, Word (.docx), or plain text in UTF-8"
_WORD = "a Word document (.docx)"
_IN_ZIP = (
    ("word/", _WORD),
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
_XML_ENCODING = re.compile(rb"\s*<\?xml\b[^>]{0,200}?\bencoding=[\"']([\w.:-]+)")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a]")
_BEGINNING = 1_000  # characters in which control characters tell a binary file


def read_file(content: bytes, most_bytes: int, limit: str) -> Visible:
    """The text of a file, which may be compressed (gzip, bzip2, xz, zstd) and may be markup or a
    Word document.

    Text is UTF-8, UTF-16 or UTF-32 with a byte-order mark, or in the encoding that XML declares.
    Raises BadFileError for what is not text, naming what it is, and where it inflates to more than
    ``most_bytes``, which is called ``limit``; BadMarkupError for markup that cannot be read.
    """
    try:
        with inflated(io.BytesIO(content), most_bytes, limit) as stream:
            whole = stream.read()
    except (EOFError, OSError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise BadFileError(f"the compressed file is damaged: {type(error).__name__}") from None
    if whole != content and page_format(whole) is not None:
        raise BadFileError("a compressed image or PDF; send it uncompressed")
    kind = _binary_kind(whole)
    if kind == _WORD:
        with optional_imports("a Word document"):
            from pipelines.text.markup.process import word_text
        return word_text(whole)
    if kind is not None:
        raise BadFileError(f"it is {kind}, {_INSTEAD}")
    text = _text(whole)
    if _CONTROL.search(text[:_BEGINNING]):
        raise BadFileError("not an image, a PDF or a text: it has control characters")
    if markup_kind(text) is None:
        return Visible(text)
    with optional_imports("a file of HTML, RTF, C-CDA, FHIR or HL7"):
        from pipelines.text.markup.process import visible_text
    return visible_text(text)


def _text(content: bytes) -> str:
    declared = _XML_ENCODING.match(content)
    try:
        if declared is not None:
            return content.decode(declared[1].decode())
    except (LookupError, UnicodeDecodeError):
        pass  # a declaration that was not changed with the encoding
    try:
        text = decoded(io.BytesIO(content), "utf-8").read()
    except UnicodeDecodeError as error:
        raise BadFileError(f"not an image, a PDF or text in {error.encoding.upper()}") from None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        at = len(text[: error.start].encode())
        raise BadFileError(f"not an image, a PDF or UTF-8 text (invalid at byte {at})") from None
    return text


def _binary_kind(content: bytes) -> str | None:
    if content.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            names = []
        names.append("")
        return next(words for begin, words in _IN_ZIP if any(n.startswith(begin) for n in names))
    return next((words for magic, words in _BINARY if content.startswith(magic)), None)
