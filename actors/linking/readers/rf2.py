"""SNOMED CT as Release Format 2: the description file of a snapshot, with its neighbours.

The fully specified name gives the preferred name, and the tag at its end ("disorder") the type.
Inactive concepts and the parents (IS A) come from the concept and relationship files where they
are beside it under their published names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from actors.linking.readers.delimited import delimited, with_header
from actors.linking.vocabulary import Name

_FULLY_SPECIFIED = "900000000000003001"
_IS_A = "116680003"


def read_rf2(path: Path, language: str) -> Iterator[Name]:
    """The active names of a description file in a language."""
    active = _active_concepts(path)
    parents = _parents(path, active)
    required = ("active", "conceptId", "languageCode", "typeId", "term")
    rows = with_header(path, delimited(path, "\t", quoted=False), required)
    for number, row in rows:
        code = row["conceptId"]
        # Fully specified names are English in every edition that has no translation of them.
        wanted = row["languageCode"] in (
            language,
            "en" if row["typeId"] == _FULLY_SPECIFIED else "",
        )
        if row["active"] != "1" or not wanted or (active is not None and code not in active):
            continue
        term, preferred = row["term"], False
        types: tuple[str, ...] = ()
        if row["typeId"] == _FULLY_SPECIFIED:
            term, types = _without_tag(term)
            preferred = True
        yield Name(code, term, str(path), number, preferred, types, parents.get(code, ()))


def _without_tag(term: str) -> tuple[str, tuple[str, ...]]:
    name, bracket, tag = term.rpartition(" (")
    if bracket and tag.endswith(")"):
        return name, (tag[:-1],)
    return term, ()


def _active_concepts(descriptions: Path) -> frozenset[str] | None:
    path = _beside(descriptions, "Concept")
    if path is None:
        return None
    rows = with_header(path, delimited(path, "\t", quoted=False), ("id", "active"))
    return frozenset(row["id"] for _, row in rows if row["active"] == "1")


def _parents(descriptions: Path, active: frozenset[str] | None) -> dict[str, tuple[str, ...]]:
    path = _beside(descriptions, "Relationship")
    found: dict[str, tuple[str, ...]] = {}
    if path is None or active is None:
        return found
    required = ("active", "sourceId", "destinationId", "typeId")
    for _, row in with_header(path, delimited(path, "\t", quoted=False), required):
        source, target = row["sourceId"], row["destinationId"]
        if row["active"] == "1" and row["typeId"] == _IS_A and {source, target} <= active:
            found[source] = (*found.get(source, ()), target)
    return found


def _beside(descriptions: Path, kind: str) -> Path | None:
    """The file of another kind in the same release: names differ in the kind and the language."""
    found = sorted(descriptions.parent.glob(f"sct2_{kind}_Snapshot*.txt"))
    return found[0] if found else None
