"""Relations by rules over the places of entities: nearest, unblocked, on the right side.

The cost of a pair is the words between the two, not counting those that other tails take; a comma
or a conjunction, a line break and the end of a sentence cost more. "Aspirin and 5 mg of warfarin":
5 mg is as near to both, but "and" stands before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from actors.config.relations import RelationRule, folded
from actors.relations.readings import read_tail
from actors.spans import Entity, Relation

_ITEM = re.compile(r"\n\s*\n|\n[ \t]*(?:[-*\u2022\u2013>]|\d{1,2}[.)])[ \t]|\|\s*\n")
_SENTENCE = re.compile(r"[.!?;](?=\s|$)(?<!\d\.)")
_JOINT = re.compile(
    r"[,;+]|\b(?:and|or|plus|versus|vs|with|then|und|oder|y|e|o|et|ou|con|avec|mit|v\u00e0|ho\u1eb7c)\b"
)
_WORD = re.compile(r"[^\W_]+")

_COST_JOINT, _COST_LINE, _COST_SENTENCE, _COST_SIDE = 3, 2, 4, 1


@dataclass(frozen=True, slots=True)
class _Placed:
    index: int
    start: int
    end: int
    label: str


class RelationFinder:
    """Applies relation rules to the entities of a document."""

    def __init__(self, rules: Sequence[RelationRule], readings: bool = True) -> None:
        self._rules = [
            (
                rule,
                frozenset(map(folded, rule.head)),
                frozenset(map(folded, rule.tail)),
                frozenset(map(folded, rule.blocked_by)),
            )
            for rule in rules
        ]
        self._tails = frozenset().union(*(tail for _, _, tail, _ in self._rules))
        self._readings = readings

    def __call__(self, text: str, entities: Sequence[Entity]) -> tuple[Relation, ...]:
        """The relations among ``entities``, by ordinal of head, then tail, then type."""
        placed = sorted(
            (
                _Placed(index, entity.start, entity.end, folded(entity.label))
                for index, entity in enumerate(entities)
                if entity.start is not None and entity.end is not None
            ),
            key=lambda one: (one.start, one.end),
        )
        found = []
        for rule, head_labels, tail_labels, blocking in self._rules:
            heads = [one for one in placed if one.label in head_labels]
            if not heads:
                continue
            blockers = heads + [one for one in placed if one.label in blocking]
            for tail in placed:
                if tail.label in tail_labels:
                    found += [
                        self._relation(text, rule, head, tail, cost)
                        for head, cost in self._heads(text, rule, tail, heads, blockers, placed)
                    ]
        return tuple(sorted(found, key=lambda one: (one.head, one.tail, one.type)))

    def _heads(
        self,
        text: str,
        rule: RelationRule,
        tail: _Placed,
        heads: Sequence[_Placed],
        blockers: Sequence[_Placed],
        placed: Sequence[_Placed],
    ) -> list[tuple[_Placed, float]]:
        candidates = list(self._candidates(text, rule, tail, heads, blockers, placed))
        if rule.pick == "all" or not candidates:
            return candidates
        return [min(candidates, key=lambda one: (one[1], abs(one[0].start - tail.start)))]

    def _candidates(
        self,
        text: str,
        rule: RelationRule,
        tail: _Placed,
        heads: Sequence[_Placed],
        blockers: Sequence[_Placed],
        placed: Sequence[_Placed],
    ) -> Iterator[tuple[_Placed, float]]:
        """Heads that the tail may belong to, with their cost."""
        for head in heads:
            after = tail.start >= head.end
            if not after and tail.end > head.start:
                continue  # one lies in the other
            if rule.side in ("after", "before") and after != (rule.side == "after"):
                continue
            first, second = (head, tail) if after else (tail, head)
            # An entity is at least a character, so a far pair is sorted out before any scan.
            if second.start - first.end > 40 * (rule.reach + 5):
                continue
            if rule.pick == "nearest" and any(
                first.end <= one.start and one.end <= second.start
                for one in blockers
                if one is not head and one is not tail
            ):
                continue
            gap = text[first.end : second.start]
            cost = self._cost(rule, gap, first.end, second.start, placed)
            if cost is None or (rule.link and not _linked(gap, rule.link)):
                continue
            if not after and rule.side == "either_after":
                cost += _COST_SIDE
            yield head, cost

    def _cost(
        self, rule: RelationRule, gap: str, start: int, end: int, placed: Sequence[_Placed]
    ) -> float | None:
        """What stands between, or None where the rule does not reach so far."""
        lines = gap.count("\n")
        if _ITEM.search(gap) or (lines and rule.within == "line"):
            return None
        sentences = len(_SENTENCE.findall(gap))
        if sentences and rule.within in ("sentence", "line"):
            return None
        bare = gap
        for one in placed:
            if one.start >= start and one.end <= end and one.label in self._tails:
                # Blanked, not cut: the places of the others stay.
                bare = bare[: one.start - start] + " " * (one.end - one.start) + bare[one.end - start :]
        words = len(_WORD.findall(bare))
        if words > rule.reach:
            return None
        joints = len(_JOINT.findall(bare.lower()))
        return words + joints * _COST_JOINT + lines * _COST_LINE + sentences * _COST_SENTENCE

    def _relation(
        self, text: str, rule: RelationRule, head: _Placed, tail: _Placed, cost: float
    ) -> Relation:
        return Relation(
            head=head.index,
            tail=tail.index,
            type=rule.type,
            score=round(1.0 / (1.0 + cost / 10.0), 3),
            how="rule",
            attributes=read_tail(text, tail.start, tail.end) if self._readings else {},
        )


def _linked(gap: str, links: Sequence[str]) -> bool:
    """Whether one of the linking words is the last in the gap, articles and the like aside."""
    words = " ".join(_WORD.findall(gap.lower())[-4:])
    return any(re.search(rf"\b{re.escape(link)}\b", words) for link in links)
