"""Compare a run with the gold: verify that the texts are equal, score, and pair spans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from actors.spans import Entity, Relation, Status
from pipelines.evaluate.error_analysis import Confusion, Pair, SpanOutcome, confusions, pair
from pipelines.evaluate.gold import GoldDocument, GoldError, GoldSpan
from pipelines.evaluate.realign import realigned
from pipelines.evaluate.scores import Scores, score
from pipelines.evaluate.statements import StatementScores, score_statements


@dataclass(frozen=True, slots=True)
class Prediction:
    """A run's result for a document; the offsets of its entities refer to ``text``."""

    doc_id: str
    text: str | None
    entities: Sequence[Entity]
    status: Status = Status.OK
    relations: Sequence[Relation] = ()


@dataclass(frozen=True, slots=True)
class Compared:
    """One gold document. ``status`` is None if the run does not contain it."""

    doc_id: str
    text: str
    status: Status | None
    pairs: tuple[Pair[GoldSpan, Entity], ...]

    @property
    def errors(self) -> int:
        """Number of wrong pairs."""
        return sum(p.kind is not SpanOutcome.CORRECT for p in self.pairs)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The scores, confusions and paired documents; ``documents`` are in gold order."""

    scores: Scores
    confusions: tuple[Confusion, ...]
    documents: tuple[Compared, ...]
    statements: StatementScores = field(default_factory=StatementScores)
    realigned: int = 0
    """Gold documents whose text differed from the run's in white space or Unicode form."""

    def as_dict(self) -> dict[str, Any]:
        """Scores and confusions as JSON values: numbers, labels and ids, no text."""
        failed = [d.doc_id for d in self.documents if d.status is Status.FAILED]
        return self.scores.as_dict() | {
            "failed": failed,
            "realigned": self.realigned,
            "statements": self.statements.as_dict(),
            "confusions": [
                {"kind": str(c.kind), "gold": c.gold, "predicted": c.predicted, "count": c.count}
                for c in self.confusions
            ],
        }


def compare(
    gold: Mapping[str, GoldDocument],
    predictions: Iterable[Prediction],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Score a run against the gold and pair their spans.

    Gold documents that are missing from the run or failed count as entirely missed; documents that
    are not in the gold are counted as ignored. Where a text differs from the gold text in white
    space or Unicode form only, the gold is placed on it. Raises GoldError if a document occurs
    twice, if its text differs further (offsets would not be comparable), or if the run has no gold
    document at all.
    """
    gold = dict(gold)
    realigned_count = 0
    found: dict[str, Prediction | None] = {}
    differing = []
    for prediction in predictions:
        if prediction.doc_id in found:
            raise GoldError(f"the run has the document {prediction.doc_id!r} twice")
        marked = gold.get(prediction.doc_id)
        # Documents outside the gold are only counted, so their text is not kept in memory.
        found[prediction.doc_id] = prediction if marked else None
        # A document that failed before it had a text has no offsets to compare.
        if marked and prediction.text != marked.text and (prediction.text or prediction.entities):
            moved = realigned(marked, prediction.text or "")
            if moved is None:
                differing.append(prediction.doc_id)
            else:
                gold[prediction.doc_id] = moved
                realigned_count += 1
    if differing:
        raise GoldError(
            f"the text of {len(differing)} documents differs from the gold text, so offsets cannot "
            f"be compared: {_some(differing)}"
        )
    if not gold.keys() & found.keys():
        raise GoldError(
            f"none of the {len(gold)} gold documents is among the {len(found)} of the run; check "
            f"that the ids match. Gold: {_some(list(gold))}; run: {_some(list(found))}"
        )
    predicted = {i: p.entities if p else () for i, p in found.items()}
    documents = tuple(_compared(document, found.get(document.id)) for document in gold.values())
    return Comparison(
        scores=score(
            {i: document.entities for i, document in gold.items()},
            predicted,
            resamples=resamples,
            seed=seed,
        ),
        confusions=tuple(confusions(chain.from_iterable(d.pairs for d in documents))),
        documents=documents,
        statements=score_statements(
            (document.statements, one.entities, one.relations)
            for document in gold.values()
            if (one := found.get(document.id)) is not None
        ),
        realigned=realigned_count,
    )


def _compared(gold: GoldDocument, prediction: Prediction | None) -> Compared:
    entities = prediction.entities if prediction else ()
    return Compared(
        gold.id,
        gold.text,
        prediction.status if prediction else None,
        tuple(pair(gold.entities, entities)),
    )


def _some(ids: Sequence[str], most: int = 5) -> str:
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return ", ".join(map(repr, ids[:most])) + more
