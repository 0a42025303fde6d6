"""Find the copy of a text that the offsets of an annotation tool refer to.

Tools that store offsets beside a text often store the marked words, too. They tell whether the tool
counted CR LF as one character, dropped a byte order mark, or counted UTF-16 code units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.offset_units import OffsetUnit, code_points

Fragment = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Quoted:
    """A span of one or several fragments, and its words as the tool wrote them down."""

    fragments: tuple[Fragment, ...]
    words: str | None


@dataclass(frozen=True, slots=True)
class Anchored:
    """The copy of the text, and the fragments of each span in code points of it."""

    text: str
    spans: tuple[tuple[Fragment, ...], ...]


def anchored(
    text: str, spans: Sequence[Quoted], units: Sequence[OffsetUnit] = ("code_points",)
) -> Anchored | None:
    """The first copy of ``text`` in which every span has its words, but for white space; None if
    there is none. The text as it is comes first, in the first of ``units``."""
    for unit in units:
        for copy in _copies(text):
            found = tuple(_placed(copy, span, unit) for span in spans)
            if all(found):
                return Anchored(copy, tuple(one for one in found if one is not None))
    return None


def _copies(text: str) -> Iterator[str]:
    yield text
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    if lines != text:
        yield lines
    for copy in (text, lines) if text.startswith("\ufeff") else ():
        yield copy[1:]


def _placed(text: str, span: Quoted, unit: OffsetUnit) -> tuple[Fragment, ...] | None:
    try:
        at = code_points(text, (p for fragment in span.fragments for p in fragment), unit)
    except ValueError:
        return None
    found = tuple((at[start], at[end]) for start, end in span.fragments)
    if not found or any(start >= end for start, end in found):
        return None
    words = " ".join(text[start:end] for start, end in found)  # as tools join fragments
    if span.words is not None and _letters(words) != _letters(span.words):
        return None
    return found


def _letters(words: str) -> str:
    # Label Studio writes a line end as a backslash and an n.
    return "".join(words.replace("\\n", " ").split())
