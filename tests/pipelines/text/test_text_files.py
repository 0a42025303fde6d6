"""Uploads and files of the command line: what they are follows from their bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable

import pyarrow as pa
import pytest

from pipelines.text.errors import BadFileError, BadMarkupError
from pipelines.text.files import read_file

NOTE = "Thuốc: metformin 500 mg\r\n"
LIMIT = "limits.body_mb"
XML = "<?xml version='1.0' encoding='{0}'?><ClinicalDocument><title>{1}</title></ClinicalDocument>"


def _zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress, _zstd])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_comes_as_it_was_written(compress: Callable[[bytes], bytes], encoding: str) -> None:
    assert read_file(compress(NOTE.encode(encoding)), 10_000, LIMIT).text == NOTE


def test_markup_is_what_a_reader_sees_with_its_sections() -> None:
    markup = (
        "<ClinicalDocument><section><code code='10160-0'/><title>Meds</title>"
        "<text>aspirin</text></section></ClinicalDocument>"
    )
    seen = read_file(gzip.compress(markup.encode()), 10_000, LIMIT)
    assert seen.text == "Meds\naspirin"
    assert [section.loinc for section in seen.sections] == ["10160-0"]


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("ISO-8859-1", "latin-1"),
        ("ISO-8859-1", "utf-8"),
        ("utf-8", "utf-8"),
        ("none-such", "utf-8"),
    ],
)
def test_xml_is_utf8_or_in_the_encoding_that_it_declares(declared: str, encoding: str) -> None:
    content = XML.format(declared, "café").encode(encoding)
    seen = read_file(content, 10_000, LIMIT).text
    assert seen == "café"


def _zip(name: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(name, "secret")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (_zip("xl/workbook.xml"), "an Excel workbook"),
        (_zip("notes.txt"), "a ZIP archive"),
        (b"PK\x03\x04 secret", "a ZIP archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 secret", "an Office file of an older kind"),
        (b"PAR1 secret PAR1", "a Parquet file"),
        (b"secret\x00\x01", "control characters"),
        (b"na\xefve secret", "invalid at byte 2"),
        (b"\xff\xfes\xd8", "invalid as UTF-16"),
        (gzip.compress(b"secret " * 10_000), "decompresses to more than limits.body_mb"),
        (gzip.compress(b"secret")[:-4], "damaged"),
        (gzip.compress(b"%PDF-1.7"), "a compressed image or PDF"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_binary_file_error_quotes_no_content(content: bytes, words: str) -> None:
    with pytest.raises(BadFileError, match=words) as raised:
        read_file(content, 10_000, LIMIT)
    assert "secret" not in str(raised.value)


def test_unreadable_markup_is_an_error() -> None:
    with pytest.raises(BadMarkupError, match="not well-formed"):
        read_file(b"<ClinicalDocument>", 10_000, LIMIT)
