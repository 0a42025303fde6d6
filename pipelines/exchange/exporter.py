"""The protocol of all exporters, their options, and counts of what a format has no place for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from actors.spans import Entity
from pipelines.offset_units import OffsetUnit, converted

if TYPE_CHECKING:
    from pipelines.runs.results import Result

Lost = Counter[str]
"""Counts of what a format cannot express, by description."""


class ExportError(ValueError):
    """An export that cannot be written; the message holds no text of documents."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Options of exporters."""

    unit: OffsetUnit = "code_points"
    """The unit of offsets."""
    system: str = "medspan"
    """Name and version of the software."""
    patient: str | None = None
    """The column of the documents table that names a document's patient."""
    date: str | None = None
    """The column that holds a document's date."""
    parquet: bool = False
    """Write OMOP tables as Parquet, not CSV."""
    section_concepts: Mapping[str, int] = field(default_factory=dict)
    """OMOP concept ids by section name."""
    resources: Mapping[str, str] = field(default_factory=dict)
    """FHIR resource types by label."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of ``patient`` and ``date``, where given."""
        return tuple(dict.fromkeys(name for name in (self.patient, self.date) if name))


class Exporter(Protocol):
    """Writes documents in one format, one after the other."""

    def write(self, result: Result, text: str) -> None:
        """Write a document; ``text`` is its text. What has no place in the format is counted."""

    def close(self) -> None:
        """Write what follows the last document."""


class Offsets:
    """The offsets of one document in the unit of an export, by code point."""

    def __init__(self, text: str, places: Iterable[int | None], unit: OffsetUnit) -> None:
        self._found = converted(text, (p for p in places if p is not None), unit)

    def __getitem__(self, place: int) -> int:
        return self._found[place]

    def of(self, place: int | None) -> int | None:
        """The offset of a place; None for None."""
        return None if place is None else self._found[place]


@dataclass(frozen=True, slots=True)
class Placed:
    """An entity with a place in the text, and its index in the document's list."""

    index: int
    entity: Entity
    start: int
    end: int

    @property
    def label(self) -> str:
        """The label of the entity."""
        return self.entity.label


def placed(entities: Iterable[Entity]) -> Iterator[Placed]:
    """The entities that have a place in the text."""
    for index, entity in enumerate(entities):
        if entity.start is not None and entity.end is not None:
            yield Placed(index, entity, entity.start, entity.end)


def count_unplaced(result: Result, lost: Lost) -> None:
    """Count the ungrounded entities of a document, for formats that know places only."""
    count = sum(entity.start is None for entity in result.entities)
    if count:
        lost["ungrounded entities"] += count


def count_facts(result: Result, lost: Lost, *facts: str) -> None:
    """Count the facts of a document that a format has no place for: ``status``, ``codes``,
    ``sections``, ``relations``, ``scores``, ``attributes``, ``boxes``."""
    counts: dict[str, int] = {
        "status": sum(entity.assertion is not None for entity in result.entities),
        "codes": sum(len(entity.codes) for entity in result.entities),
        "sections": len(result.sections),
        "relations": len(result.relations),
        "scores": sum(entity.score is not None for entity in result.entities),
        "attributes": sum(len(entity.attributes) for entity in result.entities),
        "boxes": sum(len(entity.boxes) for entity in result.entities),
    }
    for fact in facts:
        if counts[fact]:
            lost[_WORDS[fact]] += counts[fact]


_WORDS = {
    "status": "status of entities",
    "codes": "codes",
    "sections": "sections",
    "relations": "relations",
    "scores": "scores",
    "attributes": "attributes of entities",
    "boxes": "places on pages",
}


class OneWord:
    """Labels as one word each, for formats that separate by white space or know letters only."""

    def __init__(self, allowed: Callable[[str], bool], lost: Lost) -> None:
        self._allowed, self._lost = allowed, lost
        self.labels: dict[str, str] = {}
        """Label by word."""

    def __call__(self, label: str) -> str:
        """The word of a label; raises ExportError where another label has it."""
        word = "".join(c if self._allowed(c) else "_" for c in label)
        if self.labels.setdefault(word, label) != label:
            raise ExportError(
                f"the labels {self.labels[word]!r} and {label!r} would both be written as "
                f"{word!r}; export them one after the other with --label"
            )
        if word != label:
            self._lost[f"label {label!r}, written as {word!r}"] += 1
        return word
