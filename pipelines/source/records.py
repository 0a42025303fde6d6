"""Records of text files: JSON lines, JSON arrays, CSV. Counting and reading are the same walk."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

import ijson

from actors.spans import Failure
from pipelines.config import Source
from pipelines.text.encoding import decoded
from pipelines.text.errors import BadFileError

Record = Mapping[str, Any] | Failure
_ROOM = 1_000_000  # characters of a record beside its text


def records(stream: IO[bytes], format_: str, source: Source) -> Iterator[Record]:
    """The records of a file of one of the formats jsonl, json, csv and tsv.

    Raises BadFileError, or an error that ``content_errors`` knows, where the file ends as one.
    """
    most = int(source.max_document_mb * 1e6) + _ROOM
    if format_ in ("csv", "tsv"):
        rows = csv_rows(stream, format_, source)
        header = next(rows, None)
        if header is None or isinstance(header, Failure):
            raise BadFileError("the file has no header")
        return by_header(header, rows)
    if format_ == "json":
        return _json(stream, source, most)
    return (_json_row(line) for line in _lines(decoded(stream, source.encoding), most))


def csv_rows(stream: IO[bytes], format_: str, source: Source) -> Iterator[list[str] | Failure]:
    """Yield the rows of a CSV file, the header first. A row with an unclosed quote, or above the
    maximum size of a document, is a Failure that names the line where it begins."""
    most = int(source.max_document_mb * 1e6) + _ROOM
    csv.field_size_limit(most)
    options = source.csv
    with decoded(stream, source.encoding) as text:
        lines = _Lines(text)
        reader = csv.reader(
            lines,
            delimiter=options.delimiter or ("\t" if format_ == "tsv" else ","),
            quotechar=options.quote,
            escapechar=options.escape,
        )
        while True:
            first = reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error:
                yield Failure("BadRow", f"line {first}: a field is longer than a document may be")
                continue
            if lines.ended:  # the reader asked for more, so it was inside a quoted field
                yield Failure("BadRow", f"line {first}: an opening quote is never closed")
                return
            if row:
                yield row


class _Lines:
    """Lines of a file, which remembers whether more were asked for than there are."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self.ended = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline()
        if not line:
            self.ended = True
            raise StopIteration
        return line


def by_header(header: list[str], rows: Iterable[list[str] | Failure]) -> Iterator[Record]:
    """Rows of a CSV file by the names of their columns; a ragged one is a Failure."""
    for row in rows:
        if isinstance(row, Failure):
            yield row
        elif len(row) != len(header):
            yield Failure("BadRow", f"{len(row)} fields, but the header has {len(header)}")
        else:
            yield dict(zip(header, row, strict=True))


def _lines(text: io.TextIOWrapper, most: int) -> Iterator[str | Failure]:
    """Lines that are not blank; of one longer than ``most`` no more than that is held. Closes the
    text at its end."""
    with text:
        while line := text.readline(most):
            if len(line) == most and not line.endswith("\n"):
                while (rest := text.readline(most)) and not rest.endswith("\n"):
                    pass
                yield Failure("TooLarge", "the line is longer than source.max_document_mb allows")
            elif line.strip():
                yield line


def _json(stream: IO[bytes], source: Source, most: int) -> Iterator[Record]:
    """A file that is one array of objects, one object, or an object a line."""
    with decoded(stream, source.encoding) as text:
        begin = ""
        while not begin.strip():
            begin = text.readline(most)
            if not begin:
                return
        if begin.lstrip().startswith("["):
            reader = _Utf8(begin, text)
            for one in ijson.items(reader, "item", use_float=True, map_type=_Object):
                yield Failure("BadRow", _TWICE) if _is_twice(one) else _json_object(one)
            return
        first = _json_row(begin)
        if not isinstance(first, Failure):  # an object a line
            yield first
            yield from (_json_row(line) for line in _lines(text, most))
            return
        content = begin + text.read(most)
        if text.read(1):
            yield Failure("TooLarge", "the file is longer than source.max_document_mb allows")
        else:
            yield _json_row(content)


class _Utf8:
    """A text stream, already read in part, as UTF-8 for a parser of bytes."""

    def __init__(self, begin: str, text: io.TextIOWrapper) -> None:
        self._begin, self._text = begin, text

    def read(self, size: int) -> bytes:
        """About so many bytes; none at the end, and where none are asked for."""
        if not size:
            return b""
        found, self._begin = self._begin or self._text.read(size), ""
        return found.encode("utf-8", "surrogateescape")


def _json_row(line: str | Failure) -> Record:
    if isinstance(line, Failure):
        return line
    try:
        value = json.loads(line, object_pairs_hook=_once)
    except _TwiceError:
        return Failure("BadRow", _TWICE)
    except RecursionError:
        return Failure("BadRow", "the line is JSON that is nested too deeply")
    except ValueError:
        # The decoder's own message quotes the line, which is a patient's.
        return Failure("BadRow", "the line is not JSON")
    return _json_object(value)


_TWICE = "an object has the same key more than once: one of its values would be lost"


class _TwiceError(Exception):
    """An object has the same key more than once."""


class _Object(dict[str, Any]):
    """An object of a JSON array, which knows whether a key came more than once."""

    twice = False

    def __setitem__(self, key: str, value: object) -> None:
        self.twice |= key in self
        super().__setitem__(key, value)


def _is_twice(value: object) -> bool:
    """True if a key came more than once in an object or in those within it."""
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, _Object):
            if one.twice:
                return True
            stack.extend(one.values())
        elif isinstance(one, list):
            stack.extend(one)
    return False


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _TwiceError
    return found


def _json_object(value: object) -> Record:
    if not isinstance(value, dict):
        return Failure("BadRow", "the line is not a JSON object")
    return value
