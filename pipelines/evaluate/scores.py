"""Precision, recall and F1 of spans, as nervaluate and seqeval define them.

Four schemes, counted document by document as nervaluate counts them (a test compares):
strict requires start, end and label; exact requires start and end; partial requires some overlap,
and counts half if the boundaries differ; ent_type requires some overlap and the label. If no two
spans of one side overlap, strict equals seqeval's score of the same spans in BIO. Predictions are
matched in text order, each to at most one gold span; if predictions overlap one another, an earlier
one can take the gold span that fits a later one better. That is nervaluate's definition, too.
"""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

SCHEMES = ("strict", "exact", "partial", "ent_type")


class SpanLike(Protocol):
    """A scorable span: Entity or GoldSpan. Without ``start`` it always counts as spurious."""

    @property
    def start(self) -> int | None:
        """First code point."""

    @property
    def end(self) -> int | None:
        """One past the last code point."""

    @property
    def label(self) -> str:
        """The entity type."""


Span = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Score:
    """The counts of one scheme and the derived metrics, which are 0 if undefined."""

    correct: int = 0
    incorrect: int = 0
    partial: int = 0
    missed: int = 0
    spurious: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(
            self.correct + other.correct,
            self.incorrect + other.incorrect,
            self.partial + other.partial,
            self.missed + other.missed,
            self.spurious + other.spurious,
        )

    @property
    def predicted(self) -> int:
        """Number of predicted spans."""
        return self.correct + self.incorrect + self.partial + self.spurious

    @property
    def gold(self) -> int:
        """Number of gold spans."""
        return self.correct + self.incorrect + self.partial + self.missed

    @property
    def precision(self) -> float:
        """Fraction of predictions that are correct; a partial match counts half."""
        return _ratio(self.correct + self.partial / 2, self.predicted)

    @property
    def recall(self) -> float:
        """Fraction of gold spans that were found; a partial match counts half."""
        return _ratio(self.correct + self.partial / 2, self.gold)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return harmonic(self.precision, self.recall)


@dataclass(frozen=True, slots=True)
class Average:
    """Macro averages: means over labels with equal weight."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Interval:
    """Bootstrap 95% confidence interval of the micro F1, resampling documents."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Scores:
    """All scores of a comparison. Mappings are keyed by scheme; ``per_label`` by label first."""

    documents: int
    missing: tuple[str, ...]
    """Ids of gold documents without predictions: all of their spans count as missed."""
    ignored: int
    """Number of predicted documents outside the gold: they are not scored."""
    ungrounded: int
    """Number of predictions without offsets: each counts as spurious."""
    micro: Mapping[str, Score]
    macro: Mapping[str, Average]
    per_label: Mapping[str, Mapping[str, Score]]
    intervals: Mapping[str, Interval]
    """Of the micro F1; empty without resamples, or with a single document."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values: numbers, labels and ids, no text."""
        return {
            "documents": self.documents,
            "missing": list(self.missing),
            "ignored": self.ignored,
            "ungrounded": self.ungrounded,
            "micro": {
                scheme: _plain(score)
                | (
                    {"f1_low": self.intervals[scheme].low, "f1_high": self.intervals[scheme].high}
                    if scheme in self.intervals
                    else {}
                )
                for scheme, score in self.micro.items()
            },
            "macro": {
                scheme: {"precision": mean.precision, "recall": mean.recall, "f1": mean.f1}
                for scheme, mean in self.macro.items()
            },
            "per_label": {
                label: {scheme: _plain(score) for scheme, score in scores.items()}
                for label, scores in self.per_label.items()
            },
        }


def score(
    gold: Mapping[str, Sequence[SpanLike]],
    predicted: Mapping[str, Sequence[SpanLike]],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Scores:
    """Score the predicted spans of documents against their gold, by document id.

    Intervals are bootstrapped from ``resamples`` draws of whole documents (0: none), reproducible
    for a ``seed``.
    """
    micro: dict[str, list[Score]] = {scheme: [] for scheme in SCHEMES}
    per_label: dict[str, dict[str, Score]] = {}
    ungrounded = 0
    for identifier, marked in gold.items():
        gold_spans, _ = _spans(marked)
        predicted_spans, ungrounded_labels = _spans(predicted.get(identifier, ()))
        ungrounded += len(ungrounded_labels)
        for scheme, counted in _count(gold_spans, predicted_spans, len(ungrounded_labels)).items():
            micro[scheme].append(counted)
        gold_by_label, predicted_by_label = _by_label(gold_spans), _by_label(predicted_spans)
        for label in gold_by_label.keys() | predicted_by_label.keys() | set(ungrounded_labels):
            scores = per_label.setdefault(label, dict.fromkeys(SCHEMES, Score()))
            lost = ungrounded_labels.count(label)
            part = _count(gold_by_label.get(label, []), predicted_by_label.get(label, []), lost)
            for scheme, counted in part.items():
                scores[scheme] += counted
    per_label = dict(sorted(per_label.items()))  # a fixed order makes the means reproducible
    return Scores(
        documents=len(gold),
        missing=tuple(identifier for identifier in gold if identifier not in predicted),
        ignored=sum(identifier not in gold for identifier in predicted),
        ungrounded=ungrounded,
        micro={scheme: sum(micro[scheme], Score()) for scheme in SCHEMES},
        macro={
            scheme: _mean([scores[scheme] for scores in per_label.values()]) for scheme in SCHEMES
        },
        per_label=per_label,
        intervals={
            scheme: _interval(micro[scheme], resamples, seed)
            for scheme in SCHEMES
            if resamples and len(gold) > 1
        },
    )


def harmonic(precision: float, recall: float) -> float:
    """The harmonic mean; 0 if both are 0."""
    return _ratio(2 * precision * recall, precision + recall)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _spans(spans: Sequence[SpanLike]) -> tuple[list[Span], list[str]]:
    placed = [(s.start, s.end, s.label) for s in spans if s.start is not None and s.end is not None]
    return sorted(placed), [s.label for s in spans if s.start is None]


def _by_label(spans: Sequence[Span]) -> dict[str, list[Span]]:
    found: dict[str, list[Span]] = {}
    for span in spans:
        found.setdefault(span[2], []).append(span)
    return found


def _overlaps(predicted: Span, gold: Span) -> bool:
    # nervaluate's minimum overlap: one hundredth of the gold span.
    shared = min(predicted[1], gold[1]) - max(predicted[0], gold[0])
    return shared > 0 and 100 * shared >= gold[1] - gold[0]


def _within_reach(free: list[Span], span: Span) -> list[Span]:
    """The unmatched gold spans that may overlap. Predictions are in text order, so gold spans that
    end before this one are dropped for good: a document of a million characters stays cheap."""
    while free and free[0][1] <= span[0]:
        free.pop(0)
    return free[: bisect_left(free, (span[1],))]


def _count(
    gold_spans: Sequence[Span], predicted_spans: Sequence[Span], ungrounded: int
) -> dict[str, Score]:
    edges = _greedy(gold_spans, predicted_spans, _same_edges)
    # Among spans of one label strict is exact, and most calls are for the spans of one label.
    one_label = len({span[2] for span in (*gold_spans, *predicted_spans)}) <= 1
    both = edges if one_label else _greedy(gold_spans, predicted_spans, operator.eq)

    predicted = len(predicted_spans) + ungrounded

    def score(right: int, near: int, *, halves: bool = False) -> Score:
        incorrect, partial = (0, near) if halves else (near, 0)
        matched = right + near
        return Score(right, incorrect, partial, len(gold_spans) - matched, predicted - matched)

    return {
        "strict": score(*both),
        "exact": score(*edges),
        "partial": score(*edges, halves=True),
        "ent_type": score(*_ent_type(gold_spans, predicted_spans)),
    }


def _greedy(
    gold_spans: Sequence[Span], predicted_spans: Sequence[Span], fits: Callable[[Span, Span], bool]
) -> tuple[int, int]:
    """Match each prediction to the first free gold span that fits, else to the first that overlaps.
    Returns the counts of both; the remaining predictions are spurious."""
    free = list(gold_spans)
    right = near = 0
    for span in predicted_spans:
        reach = _within_reach(free, span)
        taken = next((g for g in reach if fits(span, g)), None)
        if taken is not None:
            right += 1
        else:
            taken = next((g for g in reach if _overlaps(span, g)), None)
            near += taken is not None
        if taken is not None:
            free.remove(taken)
    return right, near


def _ent_type(gold_spans: Sequence[Span], predicted_spans: Sequence[Span]) -> tuple[int, int]:
    free = list(gold_spans)
    right = wrong = 0
    for span in predicted_spans:
        over = [g for g in _within_reach(free, span) if _overlaps(span, g)]
        same = [g for g in over if g[2] == span[2]]
        if same:
            right += 1
            free.remove(min(same, key=lambda g: abs(g[0] - span[0]) + abs(g[1] - span[1])))
        elif over:
            wrong += 1
            free.remove(over[0])
    return right, wrong


def _same_edges(predicted: Span, gold: Span) -> bool:
    return predicted[:2] == gold[:2]


def _mean(scores: Sequence[Score]) -> Average:
    n = len(scores)
    return Average(
        _ratio(sum(s.precision for s in scores), n),
        _ratio(sum(s.recall for s in scores), n),
        _ratio(sum(s.f1 for s in scores), n),
    )


def _interval(scores: Sequence[Score], resamples: int, seed: int) -> Interval:
    points = np.array([(s.correct + s.partial / 2, s.predicted, s.gold) for s in scores])
    random = np.random.default_rng(seed)
    values = np.empty(resamples)
    for i in range(resamples):  # one draw at a time keeps memory proportional to the documents
        drawn = random.integers(len(points), size=len(points))
        right, predicted, gold = points[drawn].sum(axis=0)
        values[i] = harmonic(_ratio(right, predicted), _ratio(right, gold))
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(low), float(high))


def _plain(score: Score) -> dict[str, float]:
    return {
        "precision": score.precision,
        "recall": score.recall,
        "f1": score.f1,
        "correct": score.correct,
        "incorrect": score.incorrect,
        "partial": score.partial,
        "missed": score.missed,
        "spurious": score.spurious,
        "gold": score.gold,
        "predicted": score.predicted,
    }
