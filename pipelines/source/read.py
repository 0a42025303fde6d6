"""Reading units: from slices of files to tables of documents, where a bad row is a failed row.

Files are read forwards once for the units of one task, so a row group is decoded once, however
many units it holds. What follows the place where a file turns out to be damaged is one failed row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from actors.spans import Failure
from pipelines.config import Source
from pipelines.source.counting import count_documents
from pipelines.source.duplicates import DuplicateIdsError
from pipelines.source.extra_columns import SECTION, ExtraColumns
from pipelines.source.ids import column_ids, value_id
from pipelines.source.listing import IMMUTABLE, WHOLE, SourceFile, size_of, version_of
from pipelines.source.opening import content_errors, open_raw, open_source
from pipelines.source.partitions import partitions_of
from pipelines.source.records import Record, records
from pipelines.source.units import BAD, DUPLICATE, Slice, Unit
from pipelines.text.binary import has_control_characters
from pipelines.text.encoding import text_of
from pipelines.text.errors import BadFileError, BadMarkupError
from pipelines.text.markup.line_layout import Visible
from pipelines.text.markup.process import visible_text, word_text

_BATCH_ROWS = 1024
_MOST_BYTES_A_CHARACTER = 4  # of UTF-8, UTF-16 and UTF-32
_Content = TypeVar("_Content", str, bytes)

READ = pa.schema(
    [
        pa.field("doc_id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("source_version", pa.string()),
        pa.field("source_row", pa.int64()),
        pa.field("text", pa.string()),
        pa.field("original_hash", pa.string()),
        pa.field("sections", pa.list_(SECTION)),
        pa.field("problems", pa.list_(pa.string())),
        pa.field("image", pa.binary()),
        pa.field("prompt", pa.string()),
        pa.field("prior", pa.string()),
        pa.field("error_type", pa.string()),
        pa.field("error_message", pa.string()),
    ]
)
"""A unit between reading and writing; kept columns and one EXTRACTION a step follow. The pool
that reads pictures takes ``image`` away and adds ``reading`` (see readings) and ``step_ocr``."""


def read_units(units: Iterable[Unit], source: Source, keep: pa.Schema) -> Iterator[pa.Table]:
    """One table a unit, in order; the columns are those of READ and then those of ``keep``.

    A file that is gone, was changed since it was planned, or cannot be read to its end is a failed
    row (BadFile) in the place of the rows that it does not give. Raises DuplicateIdsError for an id
    that occurs twice where that is an error.
    """
    reader = _ForwardReader(source)
    try:
        for unit in units:
            rows: list[dict[str, Any]] = []
            extra = ExtraColumns(keep)
            for part in unit.slices:
                for chunk in reader.chunks(part):
                    rows += _documents(chunk, part, source)
                    chunk.add_to(extra, partitions_of(part.uri))
            _check_ids(rows, source.on_duplicate)
            table = pa.Table.from_pylist(rows, schema=READ)
            for field, column in extra.columns():
                table = table.append_column(field, column)
            yield table
    finally:
        reader.close()


def _check_ids(rows: Sequence[dict[str, Any]], policy: str) -> None:
    """Fail rows with the id of an earlier row of the unit, which planning misses in files that it
    cannot read ids of. Raises DuplicateIdsError if the policy is ``error``."""
    seen: set[str] = set()
    for row in rows:
        if row["doc_id"] in seen:
            if policy == "error":
                raise DuplicateIdsError.of([row["doc_id"]], row["source"])
            row |= _duplicate(row["source"], row["source_row"])
        seen.add(row["doc_id"])


def _duplicate(uri: str, number: int) -> dict[str, Any]:
    return {
        "doc_id": f"{uri}#{number}",
        "error_type": "DuplicateId",
        "error_message": "an earlier row of the source has the same id",
    }


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Neighbouring rows of a file: their values as Python has them, from row ``start`` on, and for
    Parquet their extra columns, which stay Arrow."""

    start: int
    rows: Sequence[Record]
    arrow: Mapping[str, pa.Array] | None = None

    def add_to(self, extra: ExtraColumns, path: Mapping[str, str | None]) -> None:
        if self.arrow is not None:
            extra.add_arrow(len(self.rows), self.arrow, path)
        else:
            extra.add_values(self.rows, path)


def _documents(chunk: _Chunk, part: Slice, source: Source) -> Iterator[dict[str, Any]]:
    for number, values in enumerate(chunk.rows, start=chunk.start):
        bad = isinstance(values, Failure) and values.type == "BadFile"
        # The file is the document; or it is what failed.
        whole = part.format in WHOLE or (bad and number == 0)
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
        if source.id is not None and not whole:
            identity = value_id(values.get(source.id), source.id)
            if isinstance(identity, Failure):
                failures.append(identity)
            else:
                row["doc_id"] = identity or derived
        if part.format == "docx":
            letter = _letter(values, source)
            if isinstance(letter, Failure):
                failures.append(letter)
            else:
                row |= letter
        elif source.image is not None or part.format == "image":
            image = _bytes(values, source.image or source.text, source.max_document_mb)
            if isinstance(image, Failure):
                failures.append(image)
            else:
                row["image"] = image
        else:
            visible = _visible(values, source)
            if isinstance(visible, Failure):
                failures.append(visible)
            else:
                row |= visible
        if source.prompt is not None and values.get(source.prompt) is not None:
            prompt = _text(values, source.prompt, source.max_document_mb)
            if isinstance(prompt, Failure):
                failures.append(prompt)
            else:
                row["prompt"] = prompt
        if part.format.startswith(DUPLICATE):
            row |= _duplicate(part.uri, number)
        elif failures:
            row |= {"error_type": failures[0].type, "error_message": failures[0].message}
        yield row


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
    text = _within(value, column, most_mb)
    if isinstance(text, str) and not _encodable(text):
        return Failure(
            "InvalidUTF8",
            f"{column}: contains lone surrogates or invalid UTF-8 (see source.encoding)",
        )
    return text


def _visible(values: Mapping[str, Any], source: Source) -> dict[str, Any] | Failure:
    """Return the visible text of a row, its stated sections and problems, and the hash of the
    stored text if it differs."""
    markup: str = source.markup
    content: str | Failure
    if markup in ("auto", "fhir") and _is_resource(values, source.text):
        # A line of a FHIR export; its own field "text", if it has one, is its narrative.
        markup = "fhir"
        content = _within(
            json.dumps(values, ensure_ascii=False), "resource", source.max_document_mb
        )
    else:
        content = _text(values, source.text, source.max_document_mb)
    if isinstance(content, Failure):
        return content
    try:
        visible = visible_text(content, markup, source.max_markup_s)
    except BadMarkupError as error:
        return Failure("BadMarkup", f"{source.text}: {error}")
    if visible.text == content:
        return {"text": content}
    return _of_original(content.encode("utf-8", "surrogatepass"), visible)


def _is_resource(values: Mapping[str, Any], column: str) -> bool:
    return isinstance(values.get("resourceType"), str) and not isinstance(values.get(column), str)


def _letter(values: Mapping[str, Any], source: Source) -> dict[str, Any] | Failure:
    """Return the visible text of a Word document."""
    content = _bytes(values, source.text, source.max_document_mb)
    if isinstance(content, Failure):
        return content
    try:
        visible = word_text(content, source.max_markup_s)
    except BadMarkupError as error:
        return Failure("BadMarkup", str(error))
    return _of_original(content, visible)


def _of_original(original: bytes, visible: Visible) -> dict[str, Any]:
    return {
        "text": visible.text,
        "original_hash": hashlib.blake2b(original, digest_size=16).hexdigest(),
        "sections": [asdict(section) for section in visible.sections],
        "problems": list(visible.problems),
    }


def _bytes(values: Mapping[str, Any], column: str, most_mb: float) -> bytes | Failure:
    value = values.get(column)
    if value is None:
        return Failure("MissingImage", f"{column}: is null or missing")
    if not isinstance(value, bytes):
        return Failure("WrongType", f"{column}: is a {type(value).__name__}, not bytes")
    return _within(value, column, most_mb)


def _within(value: _Content, column: str, most_mb: float) -> _Content | Failure:
    if len(value) <= most_mb * 1e6:
        return value
    return Failure(
        "TooLarge",
        f"{column}: {len(value) / 1e6:.1f} MB, more than source.max_document_mb = {most_mb:g}",
    )


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class _ForwardReader:
    """Rows of slices, one open file at a time, read forwards."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._uri = ""
        self._at = 0
        self._chunks: Iterator[_Chunk] = iter(())
        self._left: _Chunk | None = None
        self._stream: Any = None

    def chunks(self, part: Slice) -> Iterator[_Chunk]:
        """The rows of a slice. From where they cannot be read on, one row that is a Failure."""
        try:
            if self._uri != part.uri or self._at > part.start:
                self._open(part)
            while self._at < part.start + part.count:
                chunk = self._next(part)
                low = max(part.start - chunk.start, 0)
                high = min(part.start + part.count - chunk.start, len(chunk.rows))
                self._left = _cut(chunk, high, len(chunk.rows))
                self._at = chunk.start + high
                if low < high:
                    yield _cut(chunk, low, high) or chunk
        except BadFileError as error:
            at = max(self._at, part.start) if self._uri == part.uri else part.start
            self.close()
            yield _Chunk(at, [Failure("BadFile", str(error))])

    def _next(self, part: Slice) -> _Chunk:
        if self._left is not None:
            return self._left
        with content_errors(part.format):
            chunk = next(self._chunks, None)
        if chunk is None:
            raise BadFileError("the file has fewer rows than when the run was planned")
        return chunk

    def _open(self, part: Slice) -> None:
        self.close()
        source = self._source
        format_ = part.format.removeprefix(DUPLICATE).removeprefix(BAD)
        with content_errors(format_):
            if not part.version.startswith(IMMUTABLE) and version_of(part.uri) != part.version:
                raise BadFileError("the file was changed after the run was planned")
            if part.format.startswith(BAD):
                raise BadFileError(self._why_bad(part.uri, part.version, format_))
            if format_ in ("parquet", "image", "docx"):
                self._stream = open_raw(part.uri)
            else:
                self._stream = open_source(part.uri, int(source.max_inflated_mb * 1e6))
            self._uri, self._at = part.uri, 0
            if format_ == "parquet":
                self._chunks = self._parquet(part.start)
            elif format_ == "image":
                self._chunks = iter([_Chunk(0, [{source.text: self._stream.read()}])])
            elif format_ == "docx":
                most = int(source.max_document_mb * 1e6)
                self._chunks = iter([_Chunk(0, [{source.text: self._stream.read(most + 1)}])])
            elif format_ == "text":
                self._chunks = iter([_Chunk(0, [{source.text: self._whole()}])])
            else:
                self._chunks = _chunked(records(self._stream, format_, source))

    def _why_bad(self, uri: str, version: str, format_: str) -> str:
        """Why a file could not be read when the run was planned, found again."""
        file = SourceFile(uri, size_of(uri), version, format_)
        return (
            count_documents(file, self._source).bad
            or "the file could not be read when it was planned"
        )

    def _whole(self) -> str:
        """A text file. One too long is not held whole: what is over the limit is enough to see."""
        most = int(self._source.max_document_mb * 1e6) + 1
        text = text_of(self._stream.read(_MOST_BYTES_A_CHARACTER * most), self._source.encoding)
        if has_control_characters(text):
            raise BadFileError("it has control characters: it is no text, or in another encoding")
        return text

    def _parquet(self, start: int) -> Iterator[_Chunk]:
        file = pq.ParquetFile(self._stream)
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        first = at = 0
        while first < len(sizes) and at + sizes[first] <= start:
            at += sizes[first]  # a row group before the slice is not decoded at all
            first += 1
        self._at = at
        return self._parquet_chunks(file, list(range(first, len(sizes))), at)

    def _parquet_chunks(self, file: pq.ParquetFile, groups: list[int], at: int) -> Iterator[_Chunk]:
        source = self._source
        content = source.image or source.text
        there = set(file.schema_arrow.names)
        read = [content, *(column for column in (source.id, source.prompt) if column)]
        keep = [name for name in source.extra_columns if name in there]
        columns = list(dict.fromkeys([*read, *keep]))
        # Group by group: a batch over two of them would be lost with the second.
        for group in groups:
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=columns):
                values: dict[str, list[Any]] = {}
                for name in dict.fromkeys(read):
                    column = batch.column(name)
                    values[name] = (
                        column_ids(column, name)
                        if name == source.id
                        else _column(column, name in (source.text, source.prompt))
                    )
                rows = [
                    dict(zip(values, row, strict=True))
                    for row in zip(*values.values(), strict=True)
                ]
                yield _Chunk(at, rows, {name: batch.column(name) for name in keep})
                at += len(rows)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream, self._uri, self._left = None, "", None


def _cut(chunk: _Chunk, low: int, high: int) -> _Chunk | None:
    """Rows [low, high) of a chunk; None where these are none."""
    if low >= high:
        return None
    arrow = chunk.arrow
    if arrow is not None:
        arrow = {name: column.slice(low, high - low) for name, column in arrow.items()}
    return _Chunk(chunk.start + low, chunk.rows[low:high], arrow)


def _chunked(rows: Iterator[Record]) -> Iterator[_Chunk]:
    for number, row in enumerate(rows):
        yield _Chunk(number, [row])


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
