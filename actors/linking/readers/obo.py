"""Ontologies as OBO text or OBO Graphs JSON, such as HPO, Mondo and the Disease Ontology.

Exact, related and narrow synonyms are names; broad ones are not. Parents outside of the file are
another ontology's and are left out, and so are obsolete terms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.linking.readers.delimited import lines, opened
from actors.linking.vocabulary import Name, VocabularyError

_SYNONYM = re.compile(r'"((?:[^"\\]|\\.)*)"\s+([A-Z]+)')
_ESCAPED = re.compile(r"\\(.)")
_NO_NAMES = frozenset({"BROAD", "hasBroadSynonym"})


@dataclass(slots=True)
class _Term:
    row: int
    code: str = ""
    name: str = ""
    synonyms: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    types: tuple[str, ...] = ()
    obsolete: bool = False


def read_obo(path: Path) -> Iterator[Name]:
    """The names of an OBO file; types are namespaces."""
    terms: list[_Term] = []
    current: _Term | None = None
    for number, line in lines(path):
        if line.startswith("["):
            current = _Term(number) if line.strip() == "[Term]" else None
            if current is not None:
                terms.append(current)
        elif current is not None:
            _tag(current, line, path, number)
    return _names(path, terms)


def _tag(term: _Term, line: str, path: Path, number: int) -> None:
    tag, _, value = line.partition(": ")
    value = value.strip()
    if tag == "id":
        term.code, term.row = value, number
    elif tag == "name":
        term.name = _ESCAPED.sub(r"\1", value)
    elif tag == "namespace":
        term.types = (value,)
    elif tag == "is_a":
        # The rest of the line is modifiers and the parent's name as a comment.
        term.parents.append(value.split(" ")[0])
    elif tag == "is_obsolete":
        term.obsolete = value == "true"
    elif tag == "synonym":
        match = _SYNONYM.match(value)
        if match is None:
            raise VocabularyError(f"{path}: row {number}: not a synonym in quotes with its scope")
        if match[2] not in _NO_NAMES:
            term.synonyms.append(_ESCAPED.sub(r"\1", match[1]))


def read_obo_json(path: Path) -> Iterator[Name]:
    """The names of an OBO Graphs file; a row is the place of a node in its graph, from 1."""
    try:
        with opened(path) as stream:
            graphs = json.load(stream)["graphs"]
    except (ValueError, KeyError, TypeError) as error:
        raise VocabularyError(f"{path}: not OBO Graphs JSON: {error}") from error
    terms = []
    for graph in graphs:
        parents: dict[str, list[str]] = {}
        for edge in graph.get("edges", ()):
            if edge.get("pred") == "is_a":
                parents.setdefault(edge["sub"], []).append(_curie(edge["obj"]))
        for number, node in enumerate(graph.get("nodes", ()), start=1):
            if node.get("type") == "CLASS" and node.get("lbl"):
                terms.append(_node(number, node, parents.get(node["id"], [])))
    return _names(path, terms)


def _node(number: int, node: dict[str, Any], parents: list[str]) -> _Term:
    meta = node.get("meta", {})
    synonyms = [one["val"] for one in meta.get("synonyms", ()) if one.get("pred") not in _NO_NAMES]
    types = tuple(
        one["val"]
        for one in meta.get("basicPropertyValues", ())
        if one.get("pred", "").endswith("hasOBONamespace")
    )
    obsolete = bool(meta.get("deprecated"))
    return _Term(number, _curie(node["id"]), node["lbl"], synonyms, parents, types, obsolete)


def _curie(iri: str) -> str:
    """HP:0000001 of http://purl.obolibrary.org/obo/HP_0000001."""
    prefix, underscore, local = iri.rpartition("/")[2].partition("_")
    return f"{prefix}:{local}" if underscore else iri


def _names(path: Path, terms: list[_Term]) -> Iterator[Name]:
    live = [term for term in terms if not term.obsolete]
    known = {term.code for term in live}
    for term in live:
        parents = tuple(code for code in term.parents if code in known)
        yield Name(term.code, term.name, str(path), term.row, True, term.types, parents)
        for synonym in term.synonyms:
            yield Name(term.code, synonym, str(path), term.row, False, term.types, parents)
