"""Relations by rules over the places of entities: nearest, unblocked, on the right side.

The cost of a pair is the words between the two, not counting those that other tails take; a comma
or a conjunction, a line break and the end of a sentence cost more. "Aspirin and 5 mg of warfarin":
5 mg is as near to both, but "and" stands before it. In a table, both are in the same row.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from actors.config.relations import RelationRule, folded
from actors.relations.quantities import read_tail
from actors.relations.table_rows import Place, TableRows
from actors.spans import Entity, PageTable, Relation

_ITEM = re.compile(r"\n\s*\n|\n[ \t]*(?:[-*\u2022\u2013>]|\d{1,2}[.)])[ \t]|\|\s*\n")
_SENTENCE = re.compile(r"[.!?;](?=\s|$)(?<!\d\.)")
_JOINT = re.compile(
    r"[,;+]|\b(?:and|or|plus|versus|vs|with|then|und|oder|y|e|o|et|ou|con|avec|mit|v\u00e0|ho\u1eb7c)\b"
)
_WORD = re.compile(r"[^\W_]+")
_AND_OR = r"(?:and|or|und|oder|y|o|et|ou|v\u00e0|ho\u1eb7c)"
_NEXT_ITEM = re.compile(
    rf"\s*(?:\([^()]{{1,40}}\)\s*)?(?:,\s*{_AND_OR}?|{_AND_OR}|/)\s*(?:the\s+)?"
)
_BRACKET = re.compile(r"\s*\(\s*")
_DIGIT = re.compile(r"\d")

_LONGEST_WORD = 40
"""Characters a word may have for the first, rough look at what is near."""

_LONGEST_ROW = 1_000
"""Characters of a table's row in which the head of a tail is sought."""

_COST_JOINT, _COST_LINE, _COST_SENTENCE, _COST_SIDE = 3, 2, 4, 1


@dataclass(frozen=True, slots=True)
class _Placed:
    index: int
    start: int
    end: int
    label: str
    cell: Place | None


class _Row:
    """Placed entities in reading order, found by place."""

    def __init__(self, entities: Iterable[_Placed]) -> None:
        self.all = sorted(entities, key=lambda one: (one.start, one.end))
        self._starts = [one.start for one in self.all]
        self._longest = max((one.end - one.start for one in self.all), default=0)

    def near(self, start: int, end: int) -> list[_Placed]:
        """Those that share a character with [start, end)."""
        first = bisect_left(self._starts, start - self._longest)
        last = bisect_left(self._starts, end)
        return [one for one in self.all[first:last] if one.end > start]

    def onwards(self, one: _Placed, step: int) -> Iterator[_Placed]:
        """Those after ``one`` in reading order, or before it for a ``step`` of -1."""
        at = bisect_left(self._starts, one.start)
        while self.all[at] is not one:
            at += 1
        while 0 <= (at := at + step) < len(self.all):
            yield self.all[at]

    def between(self, start: int, end: int) -> list[_Placed]:
        """Those that lie whole in [start, end)."""
        first, last = bisect_left(self._starts, start), bisect_left(self._starts, end)
        return [one for one in self.all[first:last] if one.end <= end]


class RelationFinder:
    """Applies relation rules to the entities of a document."""

    def __init__(self, rules: Sequence[RelationRule], readings: bool = True) -> None:
        self._rules = [
            (
                rule,
                frozenset(map(folded, rule.head)),
                frozenset(map(folded, rule.tail)),
            )
            for rule in rules
        ]
        self._tails = frozenset().union(*(tail for _, _, tail in self._rules))
        self._readings = readings

    def __call__(
        self, text: str, entities: Sequence[Entity], tables: Sequence[PageTable] = ()
    ) -> tuple[Relation, ...]:
        """The relations among ``entities``, by ordinal of head, then tail, then type."""
        rows = TableRows(text, tables)
        placed = _Row(
            _Placed(
                index,
                entity.start,
                entity.end,
                folded(entity.label),
                rows.place(entity.start, entity.end),
            )
            for index, entity in enumerate(entities)
            if entity.start is not None and entity.end is not None
        )
        tails = _Row(one for one in placed.all if one.label in self._tails)
        found = []
        for rule, head_labels, tail_labels in self._rules:
            heads = _Row(one for one in placed.all if one.label in head_labels)
            if not heads.all:
                continue
            barred = head_labels if rule.pick == "nearest" else frozenset()
            blockers = _Row(one for one in placed.all if one.label in barred)
            found += [
                self._relation(text, rule, head, tail, cost, rows)
                for head, tail, cost in _pairs(
                    text,
                    rule,
                    [one for one in tails.all if one.label in tail_labels],
                    heads,
                    blockers,
                    tails,
                )
            ]
        return tuple(sorted(found, key=lambda one: (one.head, one.tail, one.type)))

    def _relation(
        self,
        text: str,
        rule: RelationRule,
        head: _Placed,
        tail: _Placed,
        cost: float,
        rows: TableRows,
    ) -> Relation:
        stop = None if tail.cell is None else tail.cell.end  # "H" of the next cell is no unit
        attributes = read_tail(text, tail.start, tail.end, stop) if self._readings else {}
        if "value" in attributes and tail.cell is not None and _share_row(head, tail):
            attributes |= rows.attributes(tail.cell, attributes)
        return Relation(
            head=head.index,
            tail=tail.index,
            type=rule.type,
            score=round(1.0 / (1.0 + cost / 10.0), 3),
            how="rule",
            attributes=attributes,
        )


def _pairs(
    text: str,
    rule: RelationRule,
    own: Sequence[_Placed],
    heads: _Row,
    blockers: _Row,
    tails: _Row,
) -> Iterator[tuple[_Placed, _Placed, float]]:
    """(head, tail, cost) of one rule. ``own``: the tails of the rule; ``tails``: those of all."""
    nearest = []
    for tail in own:
        pairs = list(_candidates(text, rule, tail, heads, blockers, tails))
        if rule.pick == "all":
            for head, cost in pairs:
                yield head, tail, cost
        elif pairs:
            head, cost = min(pairs, key=lambda one: (one[1], abs(one[0].start - tail.start)))
            nearest.append((_defined(text, head, heads), tail, cost))
    yield from nearest
    if not rule.enumerated:
        return
    taken = {head.index for head, _, _ in nearest}
    for head, tail, cost in nearest:
        if _DIGIT.search(text, tail.start, tail.end) is None:
            for one in _joined(text, head, tail, heads, taken):
                yield one, tail, cost


def _candidates(
    text: str, rule: RelationRule, tail: _Placed, heads: _Row, blockers: _Row, tails: _Row
) -> Iterator[tuple[_Placed, float]]:
    """Heads that the tail may belong to, with their cost; the earlier of equals first."""
    far = _LONGEST_WORD * (rule.reach + 5) + (0 if tail.cell is None else _LONGEST_ROW)
    for head in heads.near(tail.start - far, tail.end + far):
        after = tail.start >= head.end
        if not after and tail.end > head.start:
            continue  # one lies in the other
        if rule.side in ("after", "before") and after != (rule.side == "after"):
            continue
        start, end = (head.end, tail.start) if after else (tail.end, head.start)
        if blockers.between(start, end):
            continue
        if tail.cell is not None and head.cell is not None and tail.cell != head.cell:
            # Cells of a row belong together whatever stands between; those of other rows do not.
            if _share_row(head, tail):
                yield head, abs(head.cell.column - tail.cell.column) + _side(rule, after)
            continue
        gap = text[start:end]
        if rule.link and not _linked(gap, rule.link):
            continue
        # What other tails say is blanked, not cut: the places of the rest stay.
        bare = gap
        for one in tails.between(start, end):
            bare = bare[: one.start - start] + " " * (one.end - one.start) + bare[one.end - start :]
        cost = _cost(rule, gap, bare)
        if cost is not None:
            yield head, cost + _side(rule, after)


def _defined(text: str, head: _Placed, heads: _Row) -> _Placed:
    """The head that ``head`` abbreviates in brackets, as in "ejection fraction (EF)", or itself."""
    if text[head.end : head.end + 1] != ")":
        return head
    for one in heads.near(max(0, head.start - 3), head.start):
        if one.end <= head.start and _BRACKET.fullmatch(text, one.end, head.start):
            return one
    return head


def _joined(
    text: str, head: _Placed, tail: _Placed, heads: _Row, taken: Container[int]
) -> list[_Placed]:
    """The other heads of the enumeration in which ``head`` is the item next to the tail, up to one
    that is ``taken``: it has a tail of its own."""
    after = head.start >= tail.end
    found: list[_Placed] = []
    last = head
    for one in heads.onwards(head, 1 if after else -1):
        start, end = (last.end, one.start) if after else (one.end, last.start)
        if start <= end and _BRACKET.fullmatch(text, start, end) is not None:
            continue  # an abbreviation in brackets is no item
        if start > end or one.index in taken or not _NEXT_ITEM.fullmatch(text, start, end):
            break
        found.append(one)
        last = one
    return found


def _side(rule: RelationRule, after: bool) -> int:
    return _COST_SIDE if rule.side == "either_after" and not after else 0


def _share_row(head: _Placed, tail: _Placed) -> bool:
    """True if both are in a row of the same table."""
    return (
        head.cell is not None
        and tail.cell is not None
        and (head.cell.table, head.cell.row) == (tail.cell.table, tail.cell.row)
    )


def _cost(rule: RelationRule, gap: str, bare: str) -> float | None:
    """Return the cost of the gap between two entities; None if it exceeds the rule's reach."""
    lines = gap.count("\n")
    sentences = len(_SENTENCE.findall(bare))  # the stops of "b.i.d." end none
    if _ITEM.search(gap) or (lines and rule.within == "line"):
        return None
    if sentences and rule.within != "block":
        return None
    words = len(_WORD.findall(bare))
    if words > rule.reach:
        return None
    joints = len(_JOINT.findall(bare.lower()))
    return words + joints * _COST_JOINT + lines * _COST_LINE + sentences * _COST_SENTENCE


def _linked(gap: str, links: Sequence[str]) -> bool:
    """True if one of the linking words is the last in the gap, articles and the like aside."""
    words = " ".join(_WORD.findall(gap.lower())[-4:])
    return any(re.search(rf"\b{re.escape(link)}\b", words) for link in links)
