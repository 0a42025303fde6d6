"""Entities of several models or windows to one list: agreement first, then overlaps.

The rules, in order:

1. **Agreement.** Entities with the same span and label are one entity under every policy. It
   is the one of the model that stands first (``priority``, then the order of the lists), with
   the highest score of them all: scores of different models are not calibrated to each other, so
   they are not combined. Where two or more models said it, ``attributes["agreement"]`` holds their
   names, comma-separated, in that order. The best grounding and the first known boxes are kept.
2. **Overlaps.** Two entities compete when they share at least one character, whatever their
   labels and models: a nested entity and a second label on the same span compete too. The better
   one by policy stays, and whatever overlaps it goes. Ties fall to length, then score, then model
   order, then the earlier start, then the label's name, so the result never depends on chance.
   ``all`` keeps everything, nested and twice-labelled spans included.
3. **Ungrounded** entities have no place, so they compete with nobody and are always kept; the
   same label and words (letter case aside) said twice by one model are one entity.

The result is sorted by start, end and label, with ungrounded entities last.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from actors.config.merge import Policy
from actors.spans import Entity, Grounding

AGREEMENT = "agreement"

_CERTAINTY = {Grounding.EXACT: 0, Grounding.NORMALIZED: 1, Grounding.FUZZY: 2}


def merge(
    extractions_entities: Sequence[Sequence[Entity]],
    policy: Policy = "all",
    priority: Sequence[str] = (),
) -> list[Entity]:
    """One list from several: see the module's rules. Merging a merged list changes nothing.

    ``priority`` names models, most trusted first; models it does not name follow in the order in
    which the lists bring them.
    """
    entities = [entity for one in extractions_entities for entity in one]
    rank = _ranks(entities, priority)
    placed = [_united(group, rank) for group in _groups(entities)]
    if policy != "all":
        placed = _disjoint(placed, _order(policy, rank))
    placed.sort(key=_position)
    return placed + _ungrounded(entities)


def merge_windows(
    windows: Sequence[Sequence[Entity]], places: Sequence[tuple[int, int]]
) -> list[Entity]:
    """One list from the overlapping windows of one document under one model.

    ``places``: [start, end) of each window in code points, starts and ends ascending. An entity
    gives way to a longer one of the same label that a neighbouring window said, as where an edge
    cut it short; not where one of the two windows said both, since then one lies in the other.
    Entities of different labels never compete. A score becomes the mean over the windows that saw
    the span whole, and is 0 of one that did not say it.
    """
    kept: list[Entity] = []
    said: dict[tuple[int, int, str], list[float]] = {}
    spans = [_Spans(window) for window in windows]
    for index, window in enumerate(windows):
        near = [spans[i] for i in (index - 1, index + 1) if 0 <= i < len(windows)]
        kept.extend(e for e in window if not any(spans[index].loses(e, other) for other in near))
        for entity in merge([window]):
            if entity.start is not None and entity.score is not None:
                said.setdefault(_position(entity), []).append(entity.score)
    starts, ends = zip(*places, strict=True)

    def mean(entity: Entity) -> Entity:
        if entity.start is None or entity.score is None:
            return entity
        start, end, _ = span = _position(entity)
        saw = bisect_right(starts, start) - bisect_left(ends, end)
        # What is placed by likeness may reach out of its window.
        return replace(entity, score=sum(said[span]) / max(saw, len(said[span])))

    return [mean(entity) for entity in merge([kept])]


class _Spans:
    """What one window said, by label."""

    def __init__(self, entities: Iterable[Entity]) -> None:
        self._of: dict[str, set[tuple[int, int]]] = {}
        for entity in entities:
            if entity.start is not None and entity.end is not None:
                self._of.setdefault(entity.label, set()).add((entity.start, entity.end))

    def loses(self, entity: Entity, other: _Spans) -> bool:
        """Whether an entity of this window gives way to one that only the other window said."""
        if entity.start is None or entity.end is None:
            return False
        own, theirs = self._of[entity.label], other._of.get(entity.label, set())
        if (entity.start, entity.end) in theirs:
            return False
        length = entity.end - entity.start
        # A window holds tens of entities of a label: a scan is cheaper than an index.
        return any(
            start < entity.end and entity.start < end and end - start > length
            for start, end in theirs - own
        )


def _ranks(entities: Iterable[Entity], priority: Sequence[str]) -> dict[str, int]:
    rank: dict[str, int] = {}
    for name in priority:
        rank.setdefault(name, len(rank))
    for entity in entities:
        for name in _models(entity):
            rank.setdefault(name, len(rank))
    return rank


def _models(entity: Entity) -> list[str]:
    """Who said it; an entity that was merged before remembers all of them."""
    return entity.attributes.get(AGREEMENT, entity.model).split(",")


def _groups(entities: Iterable[Entity]) -> list[list[Entity]]:
    groups: dict[tuple[int, int, str], list[Entity]] = {}
    for entity in entities:
        if entity.start is not None and entity.end is not None:
            groups.setdefault((entity.start, entity.end, entity.label), []).append(entity)
    return list(groups.values())


def _united(group: list[Entity], rank: dict[str, int]) -> Entity:
    if len(group) == 1:
        return group[0]
    group = sorted(group, key=lambda e: (rank[e.model], -_score(e), _CERTAINTY[e.grounding]))
    first = group[0]
    models = sorted({name for entity in group for name in _models(entity)}, key=rank.__getitem__)
    attributes = dict(first.attributes)
    if len(models) > 1:
        attributes[AGREEMENT] = ",".join(models)
    boxed = next((entity for entity in group if entity.boxes), first)
    return replace(
        first,
        score=max((e.score for e in group if e.score is not None), default=None),
        grounding=min((e.grounding for e in group), key=_CERTAINTY.__getitem__),
        attributes=attributes,
        boxes=boxed.boxes,
        ocr_confidence=boxed.ocr_confidence,
    )


_Key = Callable[[Entity], tuple[float | int | str, ...]]


def _order(policy: Policy, rank: dict[str, int]) -> _Key:
    """The key that sorts the better entity first."""

    def key(entity: Entity) -> tuple[float | int | str, ...]:
        start, end, label = _position(entity)
        longest, best, model = start - end, -_score(entity), rank[entity.model]
        if policy == "longest":
            return (longest, best, model, start, label)
        if policy == "score":
            return (best, longest, model, start, label)
        return (model, longest, best, start, label)

    return key


def _disjoint(entities: list[Entity], key: _Key) -> list[Entity]:
    """The greedy choice, best first; what is kept is disjoint, so two neighbours decide."""
    kept: list[Entity] = []
    starts: list[int] = []
    for entity in sorted(entities, key=key):
        start, end, _ = _position(entity)
        at = bisect_left(starts, start)
        if at < len(kept) and starts[at] < end:
            continue
        if at > 0 and _position(kept[at - 1])[1] > start:
            continue
        kept.insert(at, entity)
        starts.insert(at, start)
    return kept


def _ungrounded(entities: Iterable[Entity]) -> list[Entity]:
    kept: dict[tuple[str, str, str], Entity] = {}
    for entity in entities:
        if entity.start is None:
            same = (entity.label, entity.text.casefold(), entity.model)
            if same not in kept or _score(entity) > _score(kept[same]):
                kept[same] = entity
    return [kept[same] for same in sorted(kept)]


def _score(entity: Entity) -> float:
    return -1.0 if entity.score is None else entity.score


def _position(entity: Entity) -> tuple[int, int, str]:
    if entity.start is None or entity.end is None:
        raise ValueError("an ungrounded entity has no position")
    return entity.start, entity.end, entity.label
