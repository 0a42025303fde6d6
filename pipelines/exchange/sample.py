"""Choose documents for people to review: stratified, seeded, and not all of one patient.

A document has a rank in each stratum that it belongs to. Strata take turns, the smallest first, and
each gives its best document that is not chosen yet, of a patient below the limit. Ties, and all
of ``random`` and ``label``, follow a hash of seed and document id, so the same sink gives the same
documents in whatever order its files are read.

| by | strata | best first |
|---|---|---|
| random | one | hash |
| label | labels | hash |
| doubt | labels | lowest score of an entity |
| disagreement | labels that several models give | most entities that some of them missed |
| ungrounded | labels | most ungrounded entities |
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING

from actors.merge import AGREEMENT
from actors.spans import Entity
from pipelines.exchange.exporter import ExportError

if TYPE_CHECKING:
    from pipelines.runs.results import Result


class By(StrEnum):
    """The reason to review a document."""

    DOUBT = "doubt"
    DISAGREEMENT = "disagreement"
    UNGROUNDED = "ungrounded"
    LABEL = "label"
    RANDOM = "random"


@dataclass(frozen=True, slots=True, order=True)
class _Candidate:
    rank: float
    """Lower is better."""
    hash: int
    doc_id: str
    patient: str


@dataclass(frozen=True, slots=True)
class Sample:
    """Chosen documents, and how many of them each stratum gave."""

    documents: tuple[str, ...]
    strata: Mapping[str, int]


def sample_documents(
    results: Iterable[Result],
    by: By,
    n: int,
    *,
    seed: int = 0,
    patient: str | None = None,
    per_patient: int = 1,
    models: Mapping[str, frozenset[str]] | None = None,
) -> Sample:
    """Choose up to ``n`` documents with a text. Memory: a few times ``n`` candidates per stratum.

    ``patient`` is a column in ``Result.more``; of each of its values at most ``per_patient``
    documents are chosen. ``models``: for ``disagreement``, the models that give each label.
    Raises ExportError if no document qualifies.
    """
    strata: dict[str, _Stratum] = defaultdict(lambda: _Stratum(n, per_patient))
    for result in results:
        if result.text is None:
            continue
        who = result.more[patient] if patient else None
        # Without a patient, a document is its own.
        person = f"p{who}" if who is not None else f"d{result.doc_id}"
        for stratum, rank in _ranks(result.entities, by, models or {}):
            hash_ = _hash(seed, result.doc_id)
            strata[stratum].add(_Candidate(rank, hash_, result.doc_id, person))
    if not strata:
        raise ExportError(f"no document qualifies for --by {by}: {_REASONS[by]}")
    return _chosen({name: one.best() for name, one in strata.items()}, n, per_patient)


def models_by_label(entities: Iterable[Entity]) -> dict[str, frozenset[str]]:
    """The models that give each label that two or more of them give."""
    found: dict[str, set[str]] = defaultdict(set)
    for entity in entities:
        found[entity.label].update(_models(entity))
    return {label: frozenset(names) for label, names in found.items() if len(names) > 1}


_REASONS = {
    By.DOUBT: "no entity has a score",
    By.DISAGREEMENT: "no label is given by two models that differ",
    By.UNGROUNDED: "no entity is ungrounded",
    By.LABEL: "there is no entity",
    By.RANDOM: "there is no document with a text",
}


class _Stratum:
    """The best candidates of a stratum.

    Of these, at most ``n`` are lost to other strata, and ``n * per_patient`` to patients who are
    used up, so ``n * (per_patient + 2)`` suffice for ``n`` choices.
    """

    def __init__(self, n: int, per_patient: int) -> None:
        self._most, self._per_patient = n * (per_patient + 2), per_patient
        self._found: list[_Candidate] = []

    def add(self, candidate: _Candidate) -> None:
        self._found.append(candidate)
        if len(self._found) > 2 * self._most:
            self._found = self.best()

    def best(self) -> list[_Candidate]:
        seen: Counter[str] = Counter()
        kept = []
        for one in sorted(self._found):
            seen[one.patient] += 1
            if seen[one.patient] <= self._per_patient:
                kept.append(one)
        return kept[: self._most]


def _chosen(strata: Mapping[str, Sequence[_Candidate]], n: int, per_patient: int) -> Sample:
    order = sorted(strata, key=lambda name: (len(strata[name]), name))
    waiting = {name: iter(strata[name]) for name in order}
    patients: Counter[str] = Counter()
    chosen: dict[str, str] = {}
    while waiting and len(chosen) < n:
        for name in [name for name in order if name in waiting]:
            if len(chosen) == n:
                break
            for one in waiting[name]:
                if one.doc_id not in chosen and patients[one.patient] < per_patient:
                    chosen[one.doc_id] = name
                    patients[one.patient] += 1
                    break
            else:
                del waiting[name]
    return Sample(tuple(chosen), Counter(chosen.values()))


def _ranks(
    entities: Sequence[Entity], by: By, models: Mapping[str, frozenset[str]]
) -> Iterator[tuple[str, float]]:
    """The strata of a document, with its rank in each."""
    if by is By.RANDOM:
        yield "all", 0.0
    elif by is By.LABEL:
        yield from ((label, 0.0) for label in {entity.label for entity in entities})
    elif by is By.DOUBT:
        lowest: dict[str, float] = {}
        for one in entities:
            if one.score is not None:
                lowest[one.label] = min(one.score, lowest.get(one.label, 1.0))
        yield from lowest.items()
    else:
        counts = Counter(one.label for one in entities if _counts(one, by, models))
        yield from ((label, -float(count)) for label, count in counts.items())


def _counts(entity: Entity, by: By, models: Mapping[str, frozenset[str]]) -> bool:
    if by is By.UNGROUNDED:
        return entity.start is None
    return bool(models.get(entity.label, frozenset()) - _models(entity))


def _models(entity: Entity) -> set[str]:
    return set(entity.attributes.get(AGREEMENT, entity.model).split(","))


def _hash(seed: int, doc_id: str) -> int:
    return int.from_bytes(blake2b(f"{seed}\0{doc_id}".encode(), digest_size=8).digest())
