"""Merge the entities of several models or windows: agreement first, then overlaps.

The rules, in order:

1. **Agreement.** Entities with the same span and label are one entity under every policy. The
   merged entity is that of the first model (by ``priority``, then the order of the lists), with
   the highest score of all: scores of different models are not calibrated to each other, so they
   are not combined. If two or more models agree, ``attributes["agreement"]`` holds their names,
   comma-separated, in that order. The best grounding and the first known boxes are kept.
2. **Overlaps.** Two entities compete if they share at least one character, whatever their labels
   and models: a nested entity and a second label on the same span compete too. The better one by
   policy is kept, and everything that overlaps it is dropped. Ties are broken by length, score,
   model order, the earlier start and the label's name, so the result is deterministic.
   ``all`` keeps everything, including nested and doubly labelled spans.
3. **Ungrounded** entities have no span, so they do not compete and are always kept; the same
   label and text (ignoring letter case) from one model are one entity.

The result is sorted by start, end and label, with ungrounded entities last.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from actors.config.merge import OverlapPolicy
from actors.spans import Entity, Grounding

AGREEMENT = "agreement"

_CERTAINTY = {Grounding.EXACT: 0, Grounding.NORMALIZED: 1, Grounding.FUZZY: 2}


def merge(
    extractions_entities: Sequence[Sequence[Entity]],
    policy: OverlapPolicy = "all",
    priority: Sequence[str] = (),
) -> list[Entity]:
    """Merge several lists into one by the module's rules. Idempotent.

    ``priority`` lists models, most trusted first; other models follow in the order of the lists.
    """
    entities = [entity for one in extractions_entities for entity in one]
    rank = _ranks(entities, priority)
    placed = [_merge_group(group, rank) for group in _groups(entities)]
    if policy != "all":
        placed = _select_disjoint(placed, _order(policy, rank))
    placed.sort(key=_position)
    return placed + _ungrounded(entities)


def merge_windows(
    windows: Sequence[Sequence[Entity]], places: Sequence[tuple[int, int]]
) -> list[Entity]:
    """Merge the entities of one document's overlapping windows under one model.

    ``places``: [start, end) of each window in code points, starts and ends ascending. An entity is
    dropped in favour of a longer one with the same label from a neighbouring window, since an edge
    may have cut it short; but not if one of the two windows found both, since then they are nested.
    Entities of different labels never compete. A score becomes the mean over the windows that
    contain the whole span; a window that does not report the entity counts as 0.
    """
    kept: list[Entity] = []
    scores: dict[tuple[int, int, str], list[float]] = {}
    spans = [_Spans(window) for window in windows]
    for index, window in enumerate(windows):
        neighbours = [spans[i] for i in (index - 1, index + 1) if 0 <= i < len(windows)]
        kept.extend(
            e for e in window if not any(spans[index].loses(e, other) for other in neighbours)
        )
        for entity in merge([window]):
            if entity.start is not None and entity.score is not None:
                scores.setdefault(_position(entity), []).append(entity.score)
    starts, ends = zip(*places, strict=True)

    def mean(entity: Entity) -> Entity:
        if entity.start is None or entity.score is None:
            return entity
        start, end, _ = span = _position(entity)
        covering = bisect_right(starts, start) - bisect_left(ends, end)
        # A fuzzily grounded entity may extend beyond its window.
        return replace(entity, score=sum(scores[span]) / max(covering, len(scores[span])))

    return [mean(entity) for entity in merge([kept])]


class _Spans:
    """The entity spans of one window, by label."""

    def __init__(self, entities: Iterable[Entity]) -> None:
        self._spans: dict[str, set[tuple[int, int]]] = {}
        for entity in entities:
            if entity.start is not None and entity.end is not None:
                self._spans.setdefault(entity.label, set()).add((entity.start, entity.end))

    def loses(self, entity: Entity, other: _Spans) -> bool:
        """Return True if an entity yields to one that only the other window found."""
        if entity.start is None or entity.end is None:
            return False
        own, theirs = self._spans[entity.label], other._spans.get(entity.label, set())
        if (entity.start, entity.end) in theirs:
            return False
        length = entity.end - entity.start
        # A window has tens of entities per label: a scan is cheaper than an index.
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
    """Return the models that found an entity; a merged entity lists all of them."""
    return entity.attributes.get(AGREEMENT, entity.model).split(",")


def _groups(entities: Iterable[Entity]) -> list[list[Entity]]:
    groups: dict[tuple[int, int, str], list[Entity]] = {}
    for entity in entities:
        if entity.start is not None and entity.end is not None:
            groups.setdefault((entity.start, entity.end, entity.label), []).append(entity)
    return list(groups.values())


def _merge_group(group: list[Entity], rank: dict[str, int]) -> Entity:
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


def _order(policy: OverlapPolicy, rank: dict[str, int]) -> _Key:
    """Return the sort key that puts the better entity first."""

    def key(entity: Entity) -> tuple[float | int | str, ...]:
        start, end, label = _position(entity)
        longest, best, model = start - end, -_score(entity), rank[entity.model]
        if policy == "longest":
            return (longest, best, model, start, label)
        if policy == "score":
            return (best, longest, model, start, label)
        return (model, longest, best, start, label)

    return key


def _select_disjoint(entities: list[Entity], key: _Key) -> list[Entity]:
    """Select greedily, best first; kept entities are disjoint, so only two neighbours matter."""
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
