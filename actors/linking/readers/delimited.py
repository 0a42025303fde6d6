"""Lines and delimited rows of vocabulary files, plain or gzipped, with errors that name the row."""

from __future__ import annotations

import csv
import gzip
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from actors.linking.vocabulary import VocabularyError

NumberedRow = tuple[int, list[str]]
"""The line a row ends on, from 1, and its fields."""


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """A file's bytes, unpacked where the name ends in .gz."""
    with path.open("rb") as stored:
        yield gzip.GzipFile(fileobj=stored) if path.suffix == ".gz" else stored


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends; raises VocabularyError at the first that is no UTF-8."""
    with opened(path) as stream:
        number = 0
        try:
            for number, line in enumerate(stream, start=1):
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                yield number, line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise VocabularyError(
                f"{path}: row {number}: not UTF-8 at byte {error.start} of the row; convert the "
                "file, for example with iconv"
            ) from error
        except (OSError, EOFError) as error:
            raise VocabularyError(f"{path}: after row {number}: {error}") from error


def delimited(path: Path, delimiter: str, *, quoted: bool = True) -> Iterator[NumberedRow]:
    """The rows of a CSV or TSV file, the header too."""
    csv.field_size_limit(min(sys.maxsize, 1 << 24))
    # The csv module asks for line ends: a quoted field may hold them.
    reader = csv.reader(
        (line + "\n" for _, line in lines(path)),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise VocabularyError(f"{path}: row {reader.line_num}: {error}") from error


def with_header(
    path: Path, rows: Iterator[NumberedRow], required: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows as mappings from the header's columns.

    Raises VocabularyError for a missing column, and for a row of another length.
    """
    first = next(rows, None)
    if first is None:
        raise VocabularyError(f"{path}: empty")
    header = [column.strip() for column in first[1]]
    check_columns(path, header, required)
    for number, row in rows:
        if len(row) != len(header):
            raise VocabularyError(
                f"{path}: row {number}: {len(row)} fields, but the header has {len(header)}"
            )
        yield number, dict(zip(header, row, strict=True))


def check_columns(path: Path, header: list[str], required: tuple[str, ...]) -> None:
    """Raises VocabularyError where a required column is missing."""
    missing = [column for column in required if column not in header]
    if missing:
        raise VocabularyError(
            f"{path}: row 1: no column {', '.join(missing)}; there are: {', '.join(header)}"
        )
