"""Reading BRAT standoff as gold: entities, status, relations.

Fragments of an entity that only white space separates are one span. Of other discontinuous
entities the span from the first to the last fragment is taken, and counted. Events,
normalizations, notes and equivalences are not read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from urllib.parse import unquote

from pipelines.evaluate import GoldDocument, GoldError, GoldSpan
from pipelines.evaluate.statements import GoldRelation, GoldStatus, Statements
from pipelines.exchange.anchoring import Fragment, Quoted, anchored
from pipelines.exchange.brat import ATTRIBUTES, EXPERIENCER

_ENTITY = re.compile(r"(\S+) (\d+ \d+(?:;\d+ \d+)*)")
_RELATION = re.compile(r"(\S+) \S+?:(T\S+) \S+?:(T\S+)\s*")
_ATTRIBUTE = re.compile(r"(\S+) (\S+)(?: (\S+))?\s*")
_WORDS = {name.casefold(): word for word, name in ATTRIBUTES.items()}
_ESCAPED = re.compile(r"=([0-9A-F]{2})")
_IGNORED = "EN#*"


@dataclass
class _Annotations:
    """The lines of an ``.ann`` file that are read, by id of the entity."""

    labels: dict[str, str] = field(default_factory=dict)
    quoted: dict[str, Quoted] = field(default_factory=dict)
    attributes: dict[str, set[str]] = field(default_factory=dict)
    relations: list[tuple[str, str, str]] = field(default_factory=list)


def read_brat(files: Mapping[str, bytes], notes: Counter[str]) -> Iterator[GoldDocument]:
    """Read a collection: the content of its files by path below the folder.

    What cannot be read as it stands is counted in ``notes``. Raises GoldError.
    """
    names = _names(files.get("visual.conf", b"").decode("utf-8", "replace"))
    documents, status, related = [], False, False
    for path in sorted(files):
        stem, dot, ending = path.rpartition(".")
        if dot and ending == "txt" and f"{stem}.ann" not in files:
            notes["texts without an .ann file, not read"] += 1
        if not dot or ending != "ann":
            continue
        if f"{stem}.txt" not in files:
            raise GoldError(f"{path}: {stem}.txt, the text that it annotates, is missing")
        read = _annotations(_decoded(files[path], path), path, names, notes)
        text = _decoded(files[f"{stem}.txt"], f"{stem}.txt")
        documents.append(_document(stem, text, read, path, notes))
        status = status or bool(read.attributes)
        related = related or bool(read.relations)
    for document in documents:
        # Where no file has an attribute, status was not annotated; and so for relations.
        statements = document.statements
        statements = Statements(
            statements.status if status else None, statements.relations if related else None
        )
        yield replace(document, statements=statements)


def doc_id(stem: str) -> str:
    """The id of a document by the name of its files: the reverse of ``brat.file_name``."""
    return unquote(_ESCAPED.sub(r"%\1", stem.replace("%", "%25")))


def _document(
    stem: str, text: str, read: _Annotations, path: str, notes: Counter[str]
) -> GoldDocument:
    found = anchored(text, list(read.quoted.values()))
    if found is None:
        raise GoldError(
            f"{path}: the marked words differ from the text at their offsets, which are code "
            "points in brat (not bytes, not UTF-16)"
        )
    places = {
        id_: _covering(found.text, fragments, notes)
        for id_, fragments in zip(read.quoted, found.spans, strict=True)
    }
    entities = tuple(GoldSpan(*places[id_], label) for id_, label in read.labels.items())
    status = tuple(
        GoldStatus(*places[id_], label, frozenset(read.attributes.get(id_, ())))
        for id_, label in read.labels.items()
    )
    relations = tuple(
        GoldRelation(type_, places[head], places[tail])
        for type_, head, tail in read.relations
        if head in places and tail in places
    )
    return GoldDocument(doc_id(stem), found.text, entities, Statements(status, relations))


def _covering(text: str, fragments: tuple[Fragment, ...], notes: Counter[str]) -> Fragment:
    ordered = sorted(fragments)
    if any(text[end:start].strip() for (_, end), (start, _) in pairwise(ordered)):
        notes["discontinuous entities, read as the span that covers them"] += 1
    return ordered[0][0], ordered[-1][1]


def _annotations(
    content: str, path: str, names: Mapping[str, str], notes: Counter[str]
) -> _Annotations:
    read = _Annotations()
    for number, line in enumerate(content.split("\n"), start=1):
        line = line.removesuffix("\r")
        if not line.strip() or line[0] in _IGNORED:
            continue
        id_, _, rest = line.partition("\t")
        where = f"{path}, line {number}"
        if line[0] == "T":
            facts, _, words = rest.partition("\t")
            match = _ENTITY.fullmatch(facts)
            if match is None or id_ in read.labels:
                raise GoldError(
                    f"{where}: expected a new id, a label and offsets, such as 'Drug 0 9'"
                )
            places = (place.split(" ") for place in match[2].split(";"))
            read.quoted[id_] = Quoted(tuple((int(a), int(b)) for a, b in places), words)
            read.labels[id_] = names.get(match[1], match[1])
        elif line[0] == "R":
            if (match := _RELATION.fullmatch(rest)) is None:
                raise GoldError(f"{where}: expected a type and two arguments, Arg1:T1 Arg2:T2")
            read.relations.append((names.get(match[1], match[1]), match[2], match[3]))
        elif line[0] in "AM":
            if (match := _ATTRIBUTE.fullmatch(rest)) is None:
                raise GoldError(f"{where}: expected an attribute and an id, such as 'Negated T1'")
            word = match[3] if match[1] == EXPERIENCER else _WORDS.get(match[1].casefold())
            if word is None:
                notes[f"attributes {match[1]}, not read"] += 1
            elif word != "patient":
                read.attributes.setdefault(match[2], set()).add(word)
        else:
            raise GoldError(f"{where}: not a line of brat's standoff format")
    return read


def _names(visual: str) -> dict[str, str]:
    """The labels that ``visual.conf`` shows in place of types of one word."""
    _, _, labels = visual.partition("[labels]")
    lines = (line.split(" | ") for line in labels.partition("\n[")[0].splitlines())
    return {parts[0].strip(): parts[1].strip() for parts in lines if len(parts) > 1}


def _decoded(content: bytes, path: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise GoldError(f"{path}: not UTF-8, at byte {error.start}") from None
