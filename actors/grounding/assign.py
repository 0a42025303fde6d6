"""Which occurrence each mention is: the order of reading is kept where it can be."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actors.spans import Grounding, Mention

_END = 1 << 60


@dataclass(frozen=True, slots=True)
class Place:
    """Where a mention is, and how it was found."""

    start: int
    end: int
    grounding: Grounding


class Cover:
    """The characters that entities of one label cover."""

    def __init__(self, length: int) -> None:
        self._flags = bytearray(length)

    def is_free(self, place: Place) -> bool:
        """Whether none of a place's characters is covered."""
        return self._flags.find(1, place.start, place.end) < 0

    def take(self, start: int, end: int) -> None:
        """Cover the characters of a place."""
        self._flags[start:end] = b"\1" * (end - start)


def assign(
    mentions: Sequence[Mention], places: Sequence[Sequence[Place]], length: int, in_order: bool
) -> list[Place | None]:
    """The place of each mention in a text of ``length`` characters, None where it has none.

    ``places``: of each mention, the preferred first. ``in_order``: the mentions come in the order
    of the text; else those of one label do.
    """
    labels = [None if in_order else mention.label for mention in mentions]
    groups: dict[str | None, list[int]] = {}
    for i, label in enumerate(labels):
        if places[i]:
            groups.setdefault(label, []).append(i)
    placed: dict[int, Place] = {}
    for group in groups.values():
        placed |= _in_order(mentions, places, group) or _near(mentions, places, group, length)
    return [placed.get(i) for i in range(len(mentions))]


def _in_order(
    mentions: Sequence[Mention], places: Sequence[Sequence[Place]], group: Sequence[int]
) -> Mapping[int, Place] | None:
    """Places none of which begins before that of an earlier mention, and of which those of one
    label do not overlap; None where there are no such places.

    What is said more often than the text has it begins anew, and is not in the order.
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
    found: dict[int, Place] = {}
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
    mentions: Sequence[Mention], places: Sequence[Sequence[Place]], chain: Sequence[int]
) -> Mapping[int, tuple[int, int]] | None:
    """How late each mention may begin and end, so that those after it still have a place."""
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
    places: Sequence[Sequence[Place]],
    group: Sequence[int],
    length: int,
) -> Mapping[int, Place]:
    """Free places between those of the mentions before and after, where there are such.

    What has one place only comes first, then the longest, so that nested words look elsewhere.
    """
    placed: dict[int, Place] = {}
    settled: list[int] = []
    covered: dict[str, Cover] = {}
    taken: dict[tuple[str, str], set[int]] = {}
    for i in sorted(group, key=lambda i: (len(places[i]) > 1, -len(mentions[i].text), i)):
        mention = mentions[i]
        cover = covered.setdefault(mention.label, Cover(length))
        before = taken.setdefault((mention.label, mention.text), set())
        left = [k for k in range(len(places[i])) if k not in before]
        if not left:  # as often as the document has it, and once more: all begin anew
            before.clear()
            left = list(range(len(places[i])))
        nearest = bisect_left(settled, i)
        low = placed[settled[nearest - 1]].start if nearest else 0
        high = placed[settled[nearest]].start if nearest < len(settled) else _END
        free = [k for k in left if cover.is_free(places[i][k])]
        between = [k for k in free if low <= places[i][k].start <= high]
        at = (between or free or left)[0]
        before.add(at)
        placed[i] = place = places[i][at]
        cover.take(place.start, place.end)
        insort(settled, i)
    return placed
