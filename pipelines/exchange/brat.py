"""BRAT standoff: a ``.txt`` and a ``.ann`` file per document, and the configuration of brat.

https://brat.nlplab.org/standoff.html. Offsets are code points. An entity that runs over several
lines becomes one fragment per line, as brat itself writes it. Status is attributes, relations are
relations, codes are normalizations, section and score stand in a note.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from urllib.parse import quote

import regex

from actors.spans import Entity
from pipelines.exchange.export_files import ExportFiles
from pipelines.exchange.exporter import Lost, OneWord, Placed, count_facts, count_unplaced, placed
from pipelines.markup.status_words import WORDS, status_words
from pipelines.runs.results import Result

ATTRIBUTES = {word: word.capitalize() for word in WORDS if word not in ("family", "other")}
"""Attributes of brat by word of the status. The experiencer has values: family, other."""
EXPERIENCER = "Experiencer"
_LINE = regex.compile(r"[^\r\n]+")
_NAME_BYTES = 200


class BratExporter:
    """Writes a folder that brat opens as a collection."""

    def __init__(self, output: ExportFiles, lost: Lost) -> None:
        self._output, self._lost = output, lost
        self._entity = OneWord(_is_name, lost)
        self._relation = OneWord(_is_name, lost)

    def write(self, result: Result, text: str) -> None:
        """Write the two files of a document."""
        count_unplaced(result, self._lost)
        count_facts(result, self._lost, "sections", "attributes", "boxes")
        name = file_name(result.doc_id)
        if len(name) > _NAME_BYTES:
            self._lost["ids that are too long for a file name, cut and hashed"] += 1
        entities = list(placed(result.entities))
        lines = [*self._entities(text, entities), *self._relations(result)]
        for file, content in ((f"{name}.txt", text), (f"{name}.ann", "".join(lines))):
            with self._output.part(file) as part:
                part.write(content.encode())

    def _entities(self, text: str, entities: Sequence[Placed]) -> Iterator[str]:
        attributes = codes = 0
        for one in entities:
            t = f"T{one.index + 1}"
            fragments = [match.span() for match in _LINE.finditer(text, one.start, one.end)]
            if not fragments:
                self._lost["entities of white space only"] += 1
                continue
            places = ";".join(f"{start} {end}" for start, end in fragments)
            words = " ".join(text[start:end] for start, end in fragments)
            yield f"{t}\t{self._entity(one.label)} {places}\t{words}\n"
            for word in status_words(one.entity):
                attributes += 1
                attribute = ATTRIBUTES.get(word)
                rest = f"{attribute} {t}" if attribute else f"{EXPERIENCER} {t} {word}"
                yield f"A{attributes}\t{rest}\n"
            for code in one.entity.codes:
                codes += 1
                term = " ".join(code.term.split())
                yield f"N{codes}\tReference {t} {_id(code.system)}:{_id(code.code)}\t{term}\n"
            if note := _note(one.entity):
                yield f"#{one.index + 1}\tAnnotatorNotes {t}\t{note}\n"

    def _relations(self, result: Result) -> Iterator[str]:
        number = 0
        for one in result.relations:
            if result.entities[one.head].start is None or result.entities[one.tail].start is None:
                self._lost["relations of ungrounded entities"] += 1
                continue
            number += 1
            type_ = self._relation(one.type)
            yield f"R{number}\t{type_} Arg1:T{one.head + 1} Arg2:T{one.tail + 1}\n"

    def close(self) -> None:
        """Write ``annotation.conf``, without which brat shows nothing, and ``visual.conf``."""
        arguments = "Arg1:<ENTITY>, Arg2:<ENTITY>"
        annotation = [
            "[entities]",
            *sorted(self._entity.labels),
            "",
            "[relations]",
            *(f"{name}\t{arguments}" for name in sorted(self._relation.labels)),
            "<OVERLAP>\tArg1:<ENTITY>, Arg2:<ENTITY>, <OVL-TYPE>:<ANY>",
            "",
            "[events]",
            "",
            "[attributes]",
            *(f"{name}\tArg:<ENTITY>" for name in ATTRIBUTES.values()),
            f"{EXPERIENCER}\tArg:<ENTITY>, Value:family|other",
        ]
        labels = {**self._entity.labels, **self._relation.labels}
        visual = [
            "[labels]",
            *(f"{name} | {label}" for name, label in sorted(labels.items()) if name != label),
            "",
            "[drawing]",
        ]
        for file, lines in (("annotation.conf", annotation), ("visual.conf", visual)):
            with self._output.part(file) as part:
                part.write(("\n".join(lines) + "\n").encode())


def file_name(doc_id: str) -> str:
    """A file name for a document: its id, with what paths cannot hold as in URLs. Of a long id a
    part, and its hash."""
    name = quote(doc_id, safe=" ").replace("%", "=")
    if name.startswith("."):
        name = f"=2E{name[1:]}"
    if len(name) <= _NAME_BYTES:
        return name
    return f"{name[:_NAME_BYTES]}-{blake2b(doc_id.encode(), digest_size=8).hexdigest()}"


def _is_name(character: str) -> bool:
    return character.isalnum() or character in "_-"


def _id(value: str) -> str:
    return "_".join(value.split())


def _note(entity: Entity) -> str:
    notes = []
    if entity.score is not None:
        notes.append(f"score {entity.score:.3f}")
    if entity.section is not None:
        notes.append(f"section {entity.section}")
    return ", ".join(notes)
