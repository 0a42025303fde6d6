"""Place gold annotations on another copy of their text.

Annotation tools change texts: CR LF becomes LF, blank lines go, letters are composed (NFC). Two
texts count as copies if they are equal after white space and a byte order mark are removed and each
grapheme cluster is in NFC. Then every span has exactly one place in the other copy.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import replace

import regex

from pipelines.evaluate.gold import GoldDocument, GoldSpan
from pipelines.evaluate.statements import GoldRelation, GoldStatus, MentionSpan, Statements

_CLUSTER = regex.compile(r"\X")
_MARK = "\ufeff"


class _Folded:
    """The visible characters of a text, each with the place of its grapheme cluster."""

    def __init__(self, text: str) -> None:
        characters: list[str] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        for match in _CLUSTER.finditer(text):
            for character in unicodedata.normalize("NFC", match.group()):
                if not character.isspace() and character != _MARK:
                    characters.append(character)
                    self.starts.append(match.start())
                    self.ends.append(match.end())
        self.text = "".join(characters)

    def inside(self, start: int, end: int) -> tuple[int, int] | None:
        """The visible characters of [start, end), as indices; None if it has none."""
        first, last = bisect_right(self.ends, start), bisect_left(self.starts, end)
        return (first, last) if first < last else None


def realigned(document: GoldDocument, text: str) -> GoldDocument | None:
    """The document with ``text`` in place of its own, and all spans where they are there.

    None if the texts are no copies of each other, or if a span has no visible character.
    """
    ours, theirs = _Folded(document.text), _Folded(text)
    if ours.text != theirs.text:
        return None
    places: dict[MentionSpan, MentionSpan] = {}
    for place in _places(document):
        found = ours.inside(*place)
        if found is None:
            return None
        places[place] = theirs.starts[found[0]], theirs.ends[found[1] - 1]
    return _moved(document, text, places)


def _places(document: GoldDocument) -> Iterable[MentionSpan]:
    for spans in (document.entities, *document.annotators.values()):
        yield from ((one.start, one.end) for one in spans)
    yield from ((one.start, one.end) for one in document.statements.status or ())
    for one in document.statements.relations or ():
        yield from (one.head, one.tail)


def _moved(
    document: GoldDocument, text: str, places: dict[MentionSpan, MentionSpan]
) -> GoldDocument:
    def spans(of: Iterable[GoldSpan]) -> tuple[GoldSpan, ...]:
        return tuple(GoldSpan(*places[one.start, one.end], one.label) for one in of)

    status, relations = document.statements.status, document.statements.relations
    statements = Statements(
        None
        if status is None
        else tuple(
            GoldStatus(*places[one.start, one.end], one.label, one.attributes) for one in status
        ),
        None
        if relations is None
        else tuple(GoldRelation(one.type, places[one.head], places[one.tail]) for one in relations),
    )
    annotators = {name: spans(marked) for name, marked in document.annotators.items()}
    return replace(
        document,
        text=text,
        entities=spans(document.entities),
        statements=statements,
        annotators=annotators,
    )
