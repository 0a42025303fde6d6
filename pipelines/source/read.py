"""Reading units: from slices of files to tables of documents, where a bad row is a failed row.

Files are read forwards once for the units of one task, so a row group is decoded once, however
many units it holds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from actors.spans import Failure
from pipelines.config import Source
from pipelines.source.files import version_of
from pipelines.source.units import Slice, Unit, csv_rows

_BATCH_ROWS = 1024
_NAMED_IDS = 5

READ = pa.schema(
    [
        pa.field("doc_id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("source_version", pa.string()),
        pa.field("source_row", pa.int64()),
        pa.field("text", pa.string()),
        pa.field("image", pa.binary()),
        pa.field("prompt", pa.string()),
        pa.field("prior", pa.string()),
        pa.field("error_type", pa.string()),
        pa.field("error_message", pa.string()),
    ]
)
"""A unit between reading and writing; kept columns and one EXTRACTION a step follow. The pool
that reads pictures takes ``image`` away and adds ``reading`` (see readings) and ``step_ocr``."""


class DuplicateIdsError(ValueError):
    """Documents share an id; the message names the first few."""

    @classmethod
    def of(cls, ids: Sequence[str], where: str) -> DuplicateIdsError:
        """The error for these ids; no __init__, so that it survives pickling between workers."""
        named = ", ".join(ids[:_NAMED_IDS]) + (" …" if len(ids) > _NAMED_IDS else "")
        return cls(
            f"{where}: several documents have the id {named}. Ids must be unique: "
            "set source.id to a column that is, or leave it out to have ids derived."
        )


class SourceChangedError(RuntimeError):
    """A file no longer has the rows that were counted when the run was planned."""


def read_units(units: Iterable[Unit], source: Source, keep: pa.Schema) -> Iterator[pa.Table]:
    """One table a unit, in order; the columns are those of READ and then those of ``keep``.

    Raises DuplicateIdsError for an id that occurs twice in a unit, and SourceChangedError where a
    file has fewer rows than were counted.
    """
    reader = _ForwardReader(source)
    try:
        for unit in units:
            rows = [row for part in unit.slices for row in _documents(reader, part, source)]
            _check_ids([row["doc_id"] for row in rows], unit.slices[0].uri)
            schema = pa.schema([*READ, *keep])
            yield pa.Table.from_pylist(rows, schema=schema)
    finally:
        reader.close()


def _check_ids(ids: list[str], where: str) -> None:
    twice = sorted(id_ for id_, count in Counter(ids).items() if count > 1)
    if twice:
        raise DuplicateIdsError.of(twice, where)


def _documents(reader: _ForwardReader, part: Slice, source: Source) -> Iterator[dict[str, Any]]:
    for number, values in enumerate(reader.rows(part), start=part.start):
        whole = part.format in ("text", "image")  # the file is the document
        derived = part.uri if whole else f"{part.uri}#{number}"
        row: dict[str, Any] = {
            "doc_id": derived,
            "source": part.uri,
            "source_version": part.version,
            "source_row": number,
            "error_type": "",
            "error_message": "",
        }
        if isinstance(values, Failure):
            yield row | {"error_type": values.type, "error_message": values.message}
            continue
        failures = []
        if source.id is not None:
            identity = _identity(values.get(source.id), source.id)
            if isinstance(identity, Failure):
                failures.append(identity)
            else:
                row["doc_id"] = identity or derived
        if source.image is not None or part.format == "image":
            image = _image(values, source.image or source.text, source.max_document_mb)
            if isinstance(image, Failure):
                failures.append(image)
            else:
                row["image"] = image
        else:
            text = _text(values, source.text, source.max_document_mb)
            if isinstance(text, Failure):
                failures.append(text)
            else:
                row["text"] = text
        if source.prompt is not None and values.get(source.prompt) is not None:
            prompt = _text(values, source.prompt, source.max_document_mb)
            if isinstance(prompt, Failure):
                failures.append(prompt)
            else:
                row["prompt"] = prompt
        for name in source.keep:
            value = values.get(name)
            row[name] = value if part.format == "parquet" else _plain(value)
        if failures:
            row |= {"error_type": failures[0].type, "error_message": failures[0].message}
        yield row


def _identity(value: object, column: str) -> str | Failure | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="backslashreplace")
    if value is None or value == "":
        return None
    if isinstance(value, bool | float) or not isinstance(value, str | int):
        return Failure("WrongType", f"{column}: a {type(value).__name__} cannot be an id")
    text = str(value)
    return text if _encodable(text) else Failure("InvalidUTF8", f"{column}: is not valid UTF-8")


def _text(values: Mapping[str, Any], column: str, most_mb: float) -> str | Failure:
    value = values.get(column)
    if value is None:
        return Failure("MissingText", f"{column}: is null or missing")
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError as error:
            return Failure("InvalidUTF8", f"{column}: not valid UTF-8 at byte {error.start}")
    if not isinstance(value, str):
        return Failure("WrongType", f"{column}: is a {type(value).__name__}, not a string")
    if len(value) > most_mb * 1e6:
        return Failure(
            "TooLarge",
            f"{column}: {len(value) / 1e6:.1f} MB, more than source.max_document_mb = {most_mb:g}",
        )
    if not _encodable(value):
        return Failure("InvalidUTF8", f"{column}: holds lone surrogates or bytes that are no UTF-8")
    return value


def _image(values: Mapping[str, Any], column: str, most_mb: float) -> bytes | Failure:
    value = values.get(column)
    if value is None:
        return Failure("MissingImage", f"{column}: is null or missing")
    if not isinstance(value, bytes):
        return Failure("WrongType", f"{column}: is a {type(value).__name__}, not bytes")
    if len(value) > most_mb * 1e6:
        return Failure(
            "TooLarge",
            f"{column}: {len(value) / 1e6:.1f} MB, more than source.max_document_mb = {most_mb:g}",
        )
    return value


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: object) -> str | None:
    if value is None or (isinstance(value, str) and _encodable(value)):
        return value
    return json.dumps(value)


class _ForwardReader:
    """Rows of slices, one open file at a time, read forwards."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._uri = ""
        self._at = 0
        self._iterator: Iterator[dict[str, Any] | Failure] = iter(())
        self._stream: Any = None

    def rows(self, part: Slice) -> Iterator[dict[str, Any] | Failure]:
        """The ``part.count`` rows of a slice; a row that is none is a Failure."""
        if self._uri != part.uri or self._at > part.start:
            self._open(part)
        for _ in range(part.start - self._at):
            self._next(part)
        self._at = part.start
        for _ in range(part.count):
            yield self._next(part)
            self._at += 1

    def _next(self, part: Slice) -> dict[str, Any] | Failure:
        try:
            return next(self._iterator)
        except StopIteration:
            raise SourceChangedError(
                f"{part.uri}: has fewer rows than when the run was planned; start a new run"
            ) from None

    def _open(self, part: Slice) -> None:
        self.close()
        if version_of(part.uri) != part.version:
            raise SourceChangedError(
                f"{part.uri}: was changed after the run was planned; begin a new run"
            )
        self._stream = fsspec.open(part.uri, "rb").open()
        self._uri, self._at = part.uri, 0
        if part.format == "parquet":
            self._iterator = self._parquet(part.start)
        elif part.format == "csv":
            records = csv_rows(self._stream)
            header = next(records)
            self._iterator = (_record(header, record) for record in records)
        elif part.format in ("text", "image"):
            self._iterator = iter(({self._source.text: self._stream.read()},))
        else:
            self._iterator = (_json_row(line) for line in self._stream if line.strip())

    def _parquet(self, start: int) -> Iterator[dict[str, Any]]:
        file = pq.ParquetFile(self._stream)
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        first = 0
        while first < len(sizes) and self._at + sizes[first] <= start:
            self._at += sizes[first]  # a row group before the slice is not decoded at all
            first += 1
        return self._parquet_rows(file, list(range(first, len(sizes))))

    def _parquet_rows(self, file: pq.ParquetFile, groups: list[int]) -> Iterator[dict[str, Any]]:
        source = self._source
        content = source.image or source.text
        columns = [c for c in (source.id, content, source.prompt, *source.keep) if c]
        texts = {source.text, source.prompt, source.id}
        for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=columns):
            lists = {
                name: _column(batch.column(name), name in texts) for name in batch.schema.names
            }
            for values in zip(*lists.values(), strict=True):
                yield dict(zip(lists, values, strict=True))

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream, self._uri = None, ""


def _column(column: pa.Array, as_bytes: bool) -> list[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    # A Parquet string is not checked to be UTF-8 by its writer: take bytes, and judge row by row.
    if as_bytes and pa.types.is_string(column.type):
        column = column.cast(pa.binary())
    elif as_bytes and pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    return column.to_pylist()  # type: ignore[no-any-return]


def _record(header: list[str], record: list[str]) -> dict[str, Any] | Failure:
    if len(record) != len(header):
        return Failure("BadRow", f"{len(record)} fields, but the header has {len(header)}")
    return dict(zip(header, record, strict=True))


def _json_row(line: bytes) -> dict[str, Any] | Failure:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        # The decoder's own message quotes the line, which is a patient's.
        return Failure("BadRow", "the line is not JSON")
    if not isinstance(value, dict):
        return Failure("BadRow", "the line is JSON but no object")
    return value
