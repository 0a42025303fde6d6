"""Words of a text for formats that label words."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import regex

from pipelines.exchange.exporter import Lost, Placed

# Letters and digits with their marks, or one other character as readers perceive it.
_TOKEN = regex.compile(r"[\w\p{M}\u200d]+|(?!\s)\X")


def tokens(text: str, edges: Iterable[int] = ()) -> Iterator[tuple[int, int]]:
    """The spans of the words of a text, in order. No word crosses one of ``edges``; all that lies
    between words is white space."""
    cuts = sorted(set(edges))
    at = 0
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        while at < len(cuts) and cuts[at] <= start:
            at += 1
        inside = [start]
        while at < len(cuts) and cuts[at] < end:
            inside.append(cuts[at])
            at += 1
        yield from pairwise([*inside, end])


def flat(text: str, entities: Sequence[Placed], lost: Lost) -> list[Placed]:
    """The entities that labels of words can express, in order of the text.

    Of overlapping entities the longest is kept, of equally long ones the first. What is left out
    is counted in ``lost``, and so are entities that begin or end with white space: no word does.
    """
    kept: list[Placed] = []
    starts: list[int] = []
    for one in sorted(entities, key=lambda e: (e.start - e.end, e.start, e.index)):
        at = bisect(starts, one.start)
        if not text[one.start : one.end].strip():
            lost["entities of white space only"] += 1
        elif (at > 0 and kept[at - 1].end > one.start) or (
            at < len(starts) and starts[at] < one.end
        ):
            lost["entities that overlap a longer one"] += 1
        else:
            if text[one.start].isspace() or text[one.end - 1].isspace():
                lost["white space at the edge of an entity"] += 1
            kept.insert(at, one)
            starts.insert(at, one.start)
    return kept
