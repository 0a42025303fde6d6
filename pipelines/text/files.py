"""The text of one file: inflated, decoded, and of markup what a reader sees."""

from __future__ import annotations

import gzip
import io
import lzma
import zlib

from actors.extras import optional_imports
from actors.pages import page_format
from pipelines.text.binary import WORD, binary_kind, has_control_characters
from pipelines.text.compression import inflated
from pipelines.text.encoding import text_of
from pipelines.text.errors import BadFileError
from pipelines.text.markup.detect import markup_kind
from pipelines.text.markup.line_layout import Visible

_INSTEAD = "which is not read; save it as PDF, Word (.docx), or plain text in UTF-8"


def read_file(content: bytes, most_bytes: int, limit: str) -> Visible:
    """The text of a file, which may be compressed (gzip, bzip2, xz, zstd) and may be markup or a
    Word document.

    Text is UTF-8, UTF-16 or UTF-32 with a byte-order mark, or in the encoding that XML, HTML or RTF
    declare.
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
    kind = binary_kind(whole)
    if kind == WORD:
        with optional_imports("a Word document"):
            from pipelines.text.markup.process import word_text
        return word_text(whole)
    if kind is not None:
        raise BadFileError(f"it is {kind}, {_INSTEAD}")
    text = _text(whole)
    if has_control_characters(text):
        raise BadFileError("not an image, a PDF or a text: it has control characters")
    if markup_kind(text) is None:
        return Visible(text)
    with optional_imports("a file of HTML, RTF, C-CDA, FHIR or HL7"):
        from pipelines.text.markup.process import visible_text
    return visible_text(text)


def _text(content: bytes) -> str:
    try:
        text = text_of(content)
    except UnicodeDecodeError as error:
        tried = error.encoding.upper()
        raise BadFileError(f"not an image, a PDF or a text (invalid as {tried})") from None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        at = len(text[: error.start].encode())
        raise BadFileError(
            f"not an image, a PDF or a text in UTF-8 (invalid at byte {at})"
        ) from None
    return text
