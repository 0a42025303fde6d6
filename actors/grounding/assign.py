"""Assign each mention to one of its occurrences, in reading order if possible."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actors.spans import Grounding, Mention

_END = 1 << 60


@dataclass(frozen=True, slots=True)
class CandidateSpan:
    """A candidate span of a mention, and how it was found."""

    start: int
    end: int
    grounding: Grounding


class Cover:
    """The characters covered by entities of one label."""

    def __init__(self, length: int) -> None:
        self._flags = bytearray(length)

    def is_free(self, place: CandidateSpan) -> bool:
        """Return True if no character of the place is covered."""
        return self._flags.find(1, place.start, place.end) < 0

    def mark(self, start: int, end: int) -> None:
        """Mark the characters [start, end) as covered."""
        self._flags[start:end] = b"\1" * (end - start)


def assign(
    mentions: Sequence[Mention],
    places: Sequence[Sequence[CandidateSpan]],
    length: int,
    in_order: bool,
) -> list[CandidateSpan | None]:
    """Return the place of each mention in a text of ``length`` characters, or None if it has none.

    ``places``: candidates per mention, best first. ``in_order``: all mentions are in the order of
    the text; otherwise only mentions of one label are.
    """
    labels = [None if in_order else mention.label for mention in mentions]
    groups: dict[str | None, list[int]] = {}
    for i, label in enumerate(labels):
        if places[i]:
            groups.setdefault(label, []).append(i)
    placed: dict[int, CandidateSpan] = {}
    for group in groups.values():
        placed |= _in_order(mentions, places, group) or _near(mentions, places, group, length)
    return [placed.get(i) for i in range(len(mentions))]


def _in_order(
    mentions: Sequence[Mention], places: Sequence[Sequence[CandidateSpan]], group: Sequence[int]
) -> Mapping[int, CandidateSpan] | None:
    """Find places in reading order, without overlaps between mentions of one label; None if
    impossible.

    A mention that repeats more often than the text contains it starts over, and is exempt from the
    order.
    """
    chain: list[int] = []
    repeats: dict[tuple[str, str], list[int]] = {}
    for i in group:
        before = repeats.setdefault((mentions[i].label, mentions[i].text), [])
        if len(before) < len(places[i]):
            chain.append(i)
        before.append(i)
    latest = _latest(mentions, places, chain)
    if latest is None:
        return None
    found: dict[int, CandidateSpan] = {}
    at, ends = 0, dict.fromkeys((mentions[i].label for i in chain), 0)
    for i in chain:
        label = mentions[i].label
        last_start, last_end = latest[i]
        found[i] = next(
            place
            for place in places[i]
            if max(at, ends[label]) <= place.start <= last_start and place.end <= last_end
        )
        at, ends[label] = found[i].start, found[i].end
    for same in repeats.values():
        count = len(places[same[0]])
        found |= {i: found[same[k % count]] for k, i in enumerate(same) if i not in found}
    return found


def _latest(
    mentions: Sequence[Mention], places: Sequence[Sequence[CandidateSpan]], chain: Sequence[int]
) -> Mapping[int, tuple[int, int]] | None:
    """Return how late each mention may start and end so that all later ones still have a place."""
    bounds: dict[int, tuple[int, int]] = {}
    start, starts = _END, dict.fromkeys((mentions[i].label for i in chain), _END)
    for i in reversed(chain):
        label = mentions[i].label
        bounds[i] = (start, starts[label])
        fitting = [p.start for p in places[i] if p.start <= start and p.end <= starts[label]]
        if not fitting:
            return None
        start = starts[label] = max(fitting)
    return bounds


def _near(
    mentions: Sequence[Mention],
    places: Sequence[Sequence[CandidateSpan]],
    group: Sequence[int],
    length: int,
) -> Mapping[int, CandidateSpan]:
    """Choose free places between those of the neighbouring mentions, if there are any.

    Mentions with a single place come first, then the longest, so that nested mentions look
    elsewhere.
    """
    placed: dict[int, CandidateSpan] = {}
    placed_order: list[int] = []
    covered: dict[str, Cover] = {}
    taken: dict[tuple[str, str], set[int]] = {}
    for i in sorted(group, key=lambda i: (len(places[i]) > 1, -len(mentions[i].text), i)):
        mention = mentions[i]
        cover = covered.setdefault(mention.label, Cover(length))
        before = taken.setdefault((mention.label, mention.text), set())
        unused = [k for k in range(len(places[i])) if k not in before]
        if not unused:  # all occurrences are used up: start over
            before.clear()
            unused = list(range(len(places[i])))
        nearest = bisect_left(placed_order, i)
        low = placed[placed_order[nearest - 1]].start if nearest else 0
        high = placed[placed_order[nearest]].start if nearest < len(placed_order) else _END
        free = [k for k in unused if cover.is_free(places[i][k])]
        between = [k for k in free if low <= places[i][k].start <= high]
        at = (between or free or unused)[0]
        before.add(at)
        placed[i] = place = places[i][at]
        cover.mark(place.start, place.end)
        insort(placed_order, i)
    return placed
