"""CoNLL: a word a line with a BIO tag in the last column, and a blank line between lines of text.

Columns are separated by tabs: word, start, end, tag. Before each document stands
``-DOCSTART-``, its id as JSON, the unit of the offsets, and ``O``. The reader takes files of two
or more columns from elsewhere, too: tags in IOB1, BIO or BILOU (BIOES), columns separated by tabs
or blanks. Without offsets it joins words by blanks, and without ``-DOCSTART-`` each sentence is a
document.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, get_args

from pipelines.evaluate import GoldDocument, GoldError, GoldSpan
from pipelines.exchange.exporter import (
    ExportOptions,
    Lost,
    Offsets,
    OneWord,
    count_facts,
    count_unplaced,
    placed,
)
from pipelines.exchange.word_tokens import flat, tokens
from pipelines.offset_units import OffsetUnit, converted
from pipelines.runs.results import Result

_START = "-DOCSTART-"


class ConllExporter:
    """Writes a CoNLL file. Nested and crossing entities have no place: the longest is kept."""

    def __init__(self, file: IO[bytes], options: ExportOptions, lost: Lost) -> None:
        self._file, self._unit, self._lost = file, options.unit, lost
        self._word = OneWord(lambda c: not c.isspace(), lost)

    def write(self, result: Result, text: str) -> None:
        """Write the lines of a document."""
        count_unplaced(result, self._lost)
        count_facts(
            result, self._lost, "status", "codes", "sections", "relations", "scores", "attributes"
        )
        entities = flat(text, list(placed(result.entities)), self._lost)
        words = list(tokens(text, (edge for e in entities for edge in (e.start, e.end))))
        at = Offsets(text, (edge for word in words for edge in word), self._unit)
        lines = [f"{_START}\t{json.dumps(result.doc_id)}\t{self._unit}\tO\n\n"]
        begins = {_trimmed(text, e.start): e for e in entities}
        end, label, last = 0, "", 0
        for word in words:
            tag = "O"
            if one := begins.get(word[0]):
                end, label = one.end, self._word(one.label)
                tag = f"B-{label}"
            elif word[0] < end:
                tag = f"I-{label}"
            if tag[0] != "I" and "\n" in text[last : word[0]]:
                lines.append("\n")
            last = word[1]
            lines.append(f"{text[slice(*word)]}\t{at[word[0]]}\t{at[word[1]]}\t{tag}\n")
        self._file.write("".join([*lines, "\n"]).encode())

    def close(self) -> None:
        """Nothing follows the last document."""


def _trimmed(text: str, start: int) -> int:
    while text[start].isspace():
        start += 1
    return start


@dataclass
class _Block:
    """The lines of a document, or of a sentence in a file without ``-DOCSTART-``."""

    id: str
    unit: OffsetUnit | None = None
    lines: list[tuple[int, list[str]]] = field(default_factory=list)
    """Line numbers and columns; an empty list of columns for a blank line."""


def read_conll(content: bytes, name: str) -> Iterator[GoldDocument]:
    """Read a file, of which ``name`` tells errors and ids; raises GoldError."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise GoldError(f"{name}: not UTF-8, at byte {error.start}") from None
    stem = name.rpartition("/")[2].partition(".")[0]
    for block in _blocks(text, name, stem):
        if any(columns for _, columns in block.lines):
            yield _document(block, name)


def _blocks(text: str, name: str, stem: str) -> Iterator[_Block]:
    block, number, starts = _Block(f"{stem}:1"), 1, False
    for at, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        columns = line.split("\t") if "\t" in line else line.split()
        if columns and columns[0] == _START:
            starts = True
            yield block
            number += 1
            block = _started(columns, f"{name}, line {at}", f"{stem}:{number - 1}")
        elif columns or starts:
            if len(columns) == 1:
                raise GoldError(f"{name}, line {at}: expected a word and a tag")
            block.lines.append((at, columns))
        elif block.lines:
            yield block
            number += 1
            block = _Block(f"{stem}:{number}")
    yield block


def _started(columns: list[str], where: str, default: str) -> _Block:
    if len(columns) != 4 or columns[2] not in get_args(OffsetUnit):
        return _Block(default)
    try:
        id_ = json.loads(columns[1])
    except json.JSONDecodeError:
        raise GoldError(f"{where}: the second column must be an id as JSON") from None
    if not isinstance(id_, str) or not id_:
        raise GoldError(f"{where}: the id must be a non-empty string")
    return _Block(id_, columns[2])  # type: ignore[arg-type]


def _document(block: _Block, name: str) -> GoldDocument:
    text = ""
    spans: list[GoldSpan] = []
    inside: str | None = None  # the label of an entity that the next word may continue
    break_ = ""
    place = 0  # in the unit of the file
    for at, columns in block.lines:
        where = f"{name}, line {at}"
        if not columns:
            break_, inside = "\n", None
            continue
        gap = 1 if text else 0
        if block.unit is not None:
            start, end = _offsets(columns, block.unit, place, where)
            gap, place = start - place, end
        if gap:
            text += (break_ or " ") + " " * (gap - 1)
        break_ = ""
        first, text = len(text), text + columns[0]
        kind, _, label = columns[-1].partition("-")
        if kind not in ("O", "B", "I", "E", "L", "S", "U") or (kind == "O") == bool(label):
            raise GoldError(
                f"{where}: the last column must be O or a tag such as B-Drug (BIO, IOB1, BILOU)"
            )
        if kind in ("I", "E", "L") and inside == label:
            spans[-1] = GoldSpan(spans[-1].start, len(text), label)
        elif kind != "O":
            spans.append(GoldSpan(first, len(text), label))
        inside = label if kind in ("B", "I") else None
    return GoldDocument(block.id, text, tuple(spans))


def _offsets(columns: list[str], unit: OffsetUnit, place: int, where: str) -> tuple[int, int]:
    """The offsets of a word, at or after ``place``; raises GoldError where they cannot be."""
    try:
        start, end = int(columns[1]), int(columns[2])
    except (ValueError, IndexError):
        raise GoldError(f"{where}: expected word, start, end and tag") from None
    length = converted(columns[0], [len(columns[0])], unit)[len(columns[0])]
    if start < place or end - start != length:
        raise GoldError(
            f"{where}: [{start}, {end}) does not follow offset {place}, or is not as long as the "
            f"word, which has {length} (unit: {unit})"
        )
    return start, end
