"""Gold annotations of assertion status and relations, and their scores.

Optional keys of a gold line: "status", a list of {"start", "end", "label", "attributes",
"experiencer"} for entities with an annotated status, and "relations", a list of {"type", "head",
"tail"} where head and tail are [start, end].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from actors.spans import Assertion, Entity, Experiencer, Relation
from pipelines.evaluate.scores import Score

ATTRIBUTES = ("negated", "uncertain", "hypothetical", "historical", "conditional")

MentionSpan = tuple[int, int]


class StatementError(ValueError):
    """An invalid status or relation in the gold; the message contains no text."""


@dataclass(frozen=True, slots=True)
class GoldStatus:
    """The annotated status of the entity at [start, end)."""

    start: int
    end: int
    label: str
    attributes: frozenset[str]


@dataclass(frozen=True, slots=True)
class GoldRelation:
    """A relation between the entities at two spans."""

    type: str
    head: MentionSpan
    tail: MentionSpan


@dataclass(frozen=True, slots=True)
class Statements:
    """The status and relations of a document; None if they are not annotated."""

    status: tuple[GoldStatus, ...] | None = None
    relations: tuple[GoldRelation, ...] | None = None


@dataclass(frozen=True, slots=True)
class StatementScores:
    """Scores by attribute and by relation type; empty if the gold or the run has none."""

    status: Mapping[str, Score] = field(default_factory=dict)
    relations: Mapping[str, Score] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Counts and ratios as JSON values."""
        return {
            name: {
                key: asdict(one) | {"precision": one.precision, "recall": one.recall, "f1": one.f1}
                for key, one in scores.items()
            }
            for name, scores in (("status", self.status), ("relations", self.relations))
        }


def read_statements(row: Mapping[str, Any], length: int) -> Statements:
    """Parse the statements of a gold line whose text has ``length`` characters.

    Raises StatementError, which names the key and index of the invalid item.
    """
    status, relations = row.get("status"), row.get("relations")
    return Statements(
        None
        if status is None
        else tuple(_status(s, i, length) for i, s in _items(status, "status")),
        None
        if relations is None
        else tuple(_relation(r, i, length) for i, r in _items(relations, "relations")),
    )


def score_statements(
    documents: Iterable[tuple[Statements, Sequence[Entity], Sequence[Relation]]],
) -> StatementScores:
    """Score documents, given as gold, predicted entities and the relations among them.

    Status is scored on entities that the run found with the same span and label, since other
    differences are span errors. A relation is correct if its type and both spans match the gold.
    Relation types that no gold document has are not scored.
    """
    status: dict[str, Score] = {}
    related: list[tuple[set[GoldRelation], set[GoldRelation]]] = []
    for gold, entities, relations in documents:
        if gold.status is not None:
            assertions = {(e.start, e.end, e.label): e.assertion for e in entities if e.assertion}
            for one in gold.status:
                assertion = assertions.get((one.start, one.end, one.label))
                if assertion is not None:
                    _count(status, one.attributes, attributes_of(assertion))
        if gold.relations is not None:
            related.append((set(gold.relations), set(_placed(entities, relations))))
    types = {one.type for expected, _ in related for one in expected}
    by_type: dict[str, Score] = dict.fromkeys(sorted(types), Score())
    for expected, found in related:
        for link in expected | {f for f in found if f.type in types}:
            by_type[link.type] += _counted(link in expected, link in found)
    anything = any(found for _, found in related)
    return StatementScores(dict(sorted(status.items())), by_type if anything else {})


def attributes_of(assertion: Assertion) -> frozenset[str]:
    """The non-default attributes of an assertion, with the experiencer by value."""
    names = {name for name in ATTRIBUTES if getattr(assertion, name)}
    if assertion.experiencer is not Experiencer.PATIENT:
        names.add(str(assertion.experiencer))
    return frozenset(names)


def _count(scores: dict[str, Score], gold: frozenset[str], found: frozenset[str]) -> None:
    for name in gold | found:
        scores[name] = scores.get(name, Score()) + _counted(name in gold, name in found)


def _counted(gold: bool, found: bool) -> Score:
    return Score(correct=gold and found, missed=gold and not found, spurious=found and not gold)


def _placed(entities: Sequence[Entity], relations: Sequence[Relation]) -> Iterable[GoldRelation]:
    for relation in relations:
        head, tail = entities[relation.head], entities[relation.tail]
        if head.start is None or head.end is None or tail.start is None or tail.end is None:
            continue
        yield GoldRelation(relation.type, (head.start, head.end), (tail.start, tail.end))


def _items(values: Any, name: str) -> list[tuple[str, Mapping[str, Any]]]:
    if not isinstance(values, list):
        raise StatementError(f"{name!r} must be a list")
    for number, one in enumerate(values):
        if not isinstance(one, Mapping):
            raise StatementError(f"{name} {number} must be an object")
    return [(f"{name} {number}", one) for number, one in enumerate(values)]


def _status(one: Mapping[str, Any], where: str, length: int) -> GoldStatus:
    start, end = _place([one.get("start"), one.get("end")], where, length)
    names, experiencer = one.get("attributes", []), one.get("experiencer", "patient")
    if not isinstance(names, list) or not set(names) <= set(ATTRIBUTES):
        raise StatementError(f"{where}: 'attributes' must be a list of {', '.join(ATTRIBUTES)}")
    if experiencer not in list(Experiencer):
        raise StatementError(f"{where}: 'experiencer' must be patient, family or other")
    return GoldStatus(
        start, end, _word(one, "label", where), frozenset(names) | ({experiencer} - {"patient"})
    )


def _relation(one: Mapping[str, Any], where: str, length: int) -> GoldRelation:
    head, tail = (_place(one.get(key), f"{where}: {key!r}", length) for key in ("head", "tail"))
    return GoldRelation(_word(one, "type", where), head, tail)


def _word(one: Mapping[str, Any], key: str, where: str) -> str:
    value = one.get(key)
    if not isinstance(value, str) or not value:
        raise StatementError(f"{where}: {key!r} must be a non-empty string")
    return value


def _place(value: Any, where: str, length: int) -> MentionSpan:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(isinstance(one, int) and not isinstance(one, bool) for one in value)
        or not 0 <= value[0] < value[1] <= length
    ):
        raise StatementError(f"{where}: must be start and end within {length} characters")
    return value[0], value[1]
