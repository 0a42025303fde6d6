"""One scan of a text: sentences, and the cues in each, in reading order.

Clinical notes are not cleanly punctuated. A line break ends a sentence if a bullet, a blank line or
a new statement follows, but not if a long line was wrapped or the next one starts in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from actors.context.lexicon import Lexicon
from actors.context.phrases import lowered
from actors.context.scan import CueMatch

WRAPPED = 45
"""A line of at least so many characters may have been wrapped, so its end is no sentence's."""

MOST_MARKS = 100
"""Cues of one sentence; where there are more, as in text without any stop, it is cut."""

LONGEST_NUMBER = 8
"""Characters of the number of an item with the space before it."""

SHORTEST_CLAUSE = 2
"""Words of the shortest clause."""

_MAY_END = re.compile(r"[.!?;\n\t|)]")
_ITEM_NUMBER = re.compile(r"(?<=\s)\d{1,2}\)(?=\s)")
_NEXT_LINE = re.compile(r"\n[ \t\r]*(\n|[-*\u2022\u2013\u25cf\u25aa>+][ \t]|\d{1,2}[.)][ \t]|\Z)?")
_FIRST_WORD = re.compile(r"[\s\"'(*\u2022-]*([^\W\d_]+)\s")
_PROSE = re.compile(r"[^\W\d_A-Z]{4}\Z")
_WORD_BEFORE = re.compile(r"[^\W\d_](?:[^\W\d_]|\.)*\Z")


@dataclass(slots=True)
class Sentence:
    """[start, end) of the text and the marks in it.

    ``item``: it is a line of a list. ``marks`` may begin with one that stands before it, as in
    ``Denies:`` above a list: its scope covers each line of the list. ``main``: where the main
    clause begins after a clause before it, as in ``although ..., he coughed``; else ``start``.
    """

    start: int
    end: int
    marks: list[CueMatch]
    item: bool = False
    main: int = 0


def sentences(text: str, lexicon: Lexicon, edges: Iterable[int] = ()) -> list[Sentence]:
    """The sentences of a text, in order; they cover it.

    ``edges``: places, ascending, at which a sentence ends in any case, such as a section's.
    """
    found: list[Sentence] = []
    marks = lexicon.scanner(lowered(text))
    for acronym in lexicon.acronyms:
        if f"({acronym})" in text:
            marks = [mark for mark in marks if text[mark.start : mark.end] != acronym]
    at, start, item = 0, 0, False
    carried: list[CueMatch] = []
    for end, listed in _breaks(text, lexicon, edges):
        upto = at
        while upto < len(marks) and marks[upto].start < end:
            upto += 1
        while upto - at > MOST_MARKS:
            cut = marks[at + MOST_MARKS].start
            found.append(Sentence(start, cut, carried + marks[at : at + MOST_MARKS], item, start))
            at, start, carried = at + MOST_MARKS, cut, []
        if found and text[start - 1] in ".!?" and text[start:end].isspace():
            # The line break after a full stop: the list goes on.
            found[-1].end = end
            carried = _carried(text, found[-1], end) if listed else []
            start, item = end, listed
            continue
        main = _main(text, start, end, lexicon) if upto > at else start
        found.append(Sentence(start, end, carried + marks[at:upto], item, main))
        carried = _carried(text, found[-1], end) if listed else []
        at, start, item = upto, end, listed
    return found


def _main(text: str, start: int, end: int, lexicon: Lexicon) -> int:
    """Where the main clause of a sentence begins: at the first comma after an opener that no item
    of an enumeration follows."""
    first = _FIRST_WORD.match(text, start, end)
    if first is None or first.group(1).lower() not in lexicon.openers:
        return start
    comma = text.find(",", first.end(), end)
    while comma >= 0:
        after = text.find(",", comma + 1, end)
        rest = text[comma + 1 : end if after < 0 else after]
        if after < 0 and len(rest.split()) < SHORTEST_CLAUSE:
            break
        if after < 0 or not lexicon.is_item(rest):
            return comma
        comma = after
    return start


def _breaks(text: str, lexicon: Lexicon, edges: Iterable[int]) -> Iterator[tuple[int, bool]]:
    """Yield the ends of sentences, ascending, and whether a list item follows. The last is the end
    of the text."""
    start = 0
    more = iter(edges)
    edge = next(more, len(text))
    for match in _MAY_END.finditer(text):
        at, end = match.span()
        if text[at] == ")":
            number = _ITEM_NUMBER.search(text, max(0, at - 2), end + 1)
            if number is None or text.rfind("(", start, at) > text.rfind(")", start, at):
                continue
            at = number.start()
            if not text[start:at].strip():
                continue  # the first thing in its line
        while edge <= at:
            if edge > start:
                yield edge, False
                start = edge
            edge = next(more, len(text))
        ends, listed = _ends(text, at, start, lexicon)
        if ends and end < len(text):
            yield end, listed
            start = end
    while edge < len(text):
        if edge > start:
            yield edge, False
            start = edge
        edge = next(more, len(text))
    yield len(text), False


def _ends(text: str, at: int, start: int, lexicon: Lexicon) -> tuple[bool, bool]:
    """Return whether the sentence ends at the character ``at``, and whether a list item follows.

    A digit there is the number of an item in a run-on list: ``1) polyp  2) ulcer``.
    """
    char = text[at]
    if char == "\n":
        return _line_ends(text, at, start)
    if char == "?" and (at == start or text[at - 1] in " \n(,;:/"):
        return False, False  # of what follows: "?stroke", "poss ? fracture"
    if char in ";\t|!?" or char.isdigit():
        return True, False
    after = text[at + 1 : at + 2]
    if after and not after.isspace() and after not in "\"')]\u201d\u2019":
        return after.isupper() and _PROSE.match(text, max(start, at - 4), at) is not None, False
    before = _WORD_BEFORE.search(text, max(start, at - 12), at)
    if before is None:
        # "2." at the beginning of a line is the number of an item.
        return not (at - start <= LONGEST_NUMBER and text[start:at].strip().isdigit()), False
    word = before.group().lower()
    if word in lexicon.titles:
        return False, False
    if len(word) == 1 or "." in word or word in lexicon.abbreviations:
        # An initial, p.o. or neg.: a sentence ends there only if a new one visibly begins.
        following = text[at + 1 : at + 4].strip()[:1]
        return not following.islower(), False
    return True, False


def _line_ends(text: str, at: int, start: int) -> tuple[bool, bool]:
    match = _NEXT_LINE.match(text, at)
    assert match is not None  # it matches wherever a line break is
    sign = match.group(1)
    if sign is not None:
        return True, sign[:1] not in "\n"
    following = text[match.end()]
    if following.islower() or following in "(,":
        return False, False
    begins = max(start, text.rfind("\n", start, at) + 1)
    before = text[max(begins, at - 4) : at].rstrip(" \r")
    return not (at - begins >= WRAPPED and before[-1:] not in ".:!?"), False


def _carried(text: str, before: Sentence, end: int) -> list[CueMatch]:
    """The marks of the sentence before that a list's line stands under."""
    if before.item:
        return [mark for mark in before.marks if mark.end <= before.start]
    last = before.marks[-1:] if before.marks else []
    return [m for m in last if text[m.end : end].strip() == ":" and any(r.forward for r in m.rules)]
