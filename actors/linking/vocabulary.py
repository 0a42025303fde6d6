"""A vocabulary as it was read: concepts with their names, checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from actors.config import ConfigError


class VocabularyError(ConfigError):
    """A vocabulary file that cannot be used; the message names the file and the row."""


@dataclass(frozen=True, slots=True)
class Name:
    """One name of a concept as one row of a file gives it.

    ``row`` is the line, counted from 1, or the record's place where a file has no lines.
    ``types`` are semantic types or term types of the concept, ``parents`` codes of broader ones.
    """

    code: str
    term: str
    file: str
    row: int
    preferred: bool = False
    types: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()


@dataclass(slots=True)
class Concept:
    """A concept: its code and its names, the preferred one first."""

    code: str
    file: str
    row: int
    terms: list[str]
    has_preferred: bool
    types: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()


@dataclass(slots=True)
class Vocabulary:
    """Concepts in the order of their codes, every parent among them."""

    name: str
    version: str
    concepts: list[Concept] = field(default_factory=list)

    @property
    def terms(self) -> int:
        """Number of names of all concepts."""
        return sum(len(concept.terms) for concept in self.concepts)


def gather(
    name: str, version: str, names: Iterable[Name], synonyms: Iterable[Name] = ()
) -> Vocabulary:
    """The names of all files as one vocabulary.

    Rows of one code are names of one concept. ``synonyms``: further names of these concepts, such
    as those of another language; they keep their preferred names, types and parents. Raises
    VocabularyError for an empty code or term, two preferred names of one code, a synonym of a code
    that no name has, a parent that no row defines, and a cycle of parents.
    """
    concepts: dict[str, Concept] = {}
    for one in _whole(names):
        concept = concepts.get(one.code)
        if concept is None:
            concepts[one.code] = Concept(
                one.code, one.file, one.row, [one.term], one.preferred, one.types, one.parents
            )
            continue
        _add(concept, one)
    if not concepts:
        raise VocabularyError(f"vocabulary {name}: the files define no concept")
    for one in _whole(synonyms):
        if one.code not in concepts:
            raise VocabularyError(
                f"{one.file}: row {one.row}: a name of the code {one.code!r}, which the vocabulary "
                f"does not have; its codes look like {min(concepts)!r}"
            )
        _add(concepts[one.code], Name(one.code, one.term, one.file, one.row))
    _check_parents(concepts)
    ordered = [concepts[code] for code in sorted(concepts)]
    return Vocabulary(name, version, ordered)


def _whole(names: Iterable[Name]) -> Iterator[Name]:
    for one in names:
        if not one.code or not one.term:
            missing = "code" if not one.code else "term"
            raise VocabularyError(f"{one.file}: row {one.row}: no {missing}")
        yield one


def _add(concept: Concept, one: Name) -> None:
    if one.preferred and concept.has_preferred:
        raise VocabularyError(
            f"{one.file}: row {one.row}: duplicate code {one.code!r}: it has its preferred term in "
            f"{concept.file}, row {concept.row}"
        )
    if one.preferred:
        concept.has_preferred, concept.row, concept.file = True, one.row, one.file
        concept.terms = [one.term, *(term for term in concept.terms if term != one.term)]
    elif one.term not in concept.terms:
        concept.terms.append(one.term)
    if one.types != concept.types:
        concept.types = tuple(dict.fromkeys((*concept.types, *one.types)))
    if one.parents != concept.parents:
        concept.parents = tuple(dict.fromkeys((*concept.parents, *one.parents)))


def _check_parents(concepts: dict[str, Concept]) -> None:
    done: set[str] = set()
    for start in concepts.values():
        path: dict[str, Iterator[str]] = {}
        code: str | None = start.code
        while code is not None:
            if code not in path and code not in done:
                path[code] = iter(concepts[code].parents)
            following = next(path[code], None) if code in path else None
            if following is None:
                done.add(code)
                path.pop(code, None)
                code = next(reversed(path), None)
            elif following in path:
                at = concepts[code]
                raise VocabularyError(
                    f"{at.file}: row {at.row}: parent cycle: {following!r} is above {code!r} "
                    "and below it"
                )
            elif following not in concepts:
                at = concepts[code]
                raise VocabularyError(
                    f"{at.file}: row {at.row}: code {code!r} has the parent {following!r}, which "
                    "no row defines"
                )
            elif following not in done:
                code = following
