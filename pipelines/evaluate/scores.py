"""Precision, recall and F1 of spans, as nervaluate and seqeval define them.

Four schemes, counted document by document as nervaluate counts them (a test compares):
strict wants start, end and label; exact start and end; partial some overlap, half a point where
the edges differ; ent_type some overlap and the label. Where no two spans of one side overlap,
strict is also seqeval's score of the same spans in BIO. Predictions are matched in the order of
the text and each takes one gold span at most; where predictions overlap one another, an earlier
one can take the gold span that a later one fits better. That is nervaluate's definition too.
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
    """What can be scored: an Entity, a GoldSpan. Without ``start`` it can only be spurious."""

    @property
    def start(self) -> int | None:
        """First code point."""

    @property
    def end(self) -> int | None:
        """One past the last code point."""

    @property
    def label(self) -> str:
        """What it is."""


Span = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Score:
    """The counts of one scheme, and what follows from them; 0 where nothing was to divide by."""

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
        """Spans that were predicted."""
        return self.correct + self.incorrect + self.partial + self.spurious

    @property
    def gold(self) -> int:
        """Spans of the gold."""
        return self.correct + self.incorrect + self.partial + self.missed

    @property
    def precision(self) -> float:
        """The part of the predictions that is right."""
        return _ratio(self.correct + self.partial / 2, self.predicted)

    @property
    def recall(self) -> float:
        """The part of the gold that was found."""
        return _ratio(self.correct + self.partial / 2, self.gold)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return harmonic(self.precision, self.recall)


@dataclass(frozen=True, slots=True)
class Average:
    """Means over labels, each label counting the same."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Interval:
    """The middle 95% of the micro F1 over documents drawn again and again with replacement."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Scores:
    """All scores of one comparison; the mappings are by scheme, ``per_label`` by label first."""

    documents: int
    missing: tuple[str, ...]
    """Ids of gold documents that were not predicted at all: their gold counts as missed."""
    ignored: int
    """Predicted documents that the gold does not have: they count for nothing."""
    ungrounded: int
    """Predictions without a place in the text: each counts as spurious."""
    micro: Mapping[str, Score]
    macro: Mapping[str, Average]
    per_label: Mapping[str, Mapping[str, Score]]
    intervals: Mapping[str, Interval]
    """Of the micro F1; empty where no resamples were asked for or there is one document."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: numbers, labels and ids, no text."""
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

    The intervals come from ``resamples`` draws of whole documents (0: none), the same for the
    same ``seed``.
    """
    micro: dict[str, list[Score]] = {scheme: [] for scheme in SCHEMES}
    per_label: dict[str, dict[str, Score]] = {}
    ungrounded = 0
    for identifier, marked in gold.items():
        wanted, _ = _spans(marked)
        given, placeless = _spans(predicted.get(identifier, ()))
        ungrounded += len(placeless)
        for scheme, counted in _count(wanted, given, len(placeless)).items():
            micro[scheme].append(counted)
        wanted_of, given_of = _by_label(wanted), _by_label(given)
        for label in wanted_of.keys() | given_of.keys() | set(placeless):
            scores = per_label.setdefault(label, dict.fromkeys(SCHEMES, Score()))
            lost = placeless.count(label)
            part = _count(wanted_of.get(label, []), given_of.get(label, []), lost)
            for scheme, counted in part.items():
                scores[scheme] += counted
    per_label = dict(sorted(per_label.items()))  # means are summed in one order, in every process
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
    """F1 of the two, 0 where both are."""
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


def _overlaps(given: Span, wanted: Span) -> bool:
    # nervaluate's least overlap: one hundredth of the gold span.
    shared = min(given[1], wanted[1]) - max(given[0], wanted[0])
    return shared > 0 and 100 * shared >= wanted[1] - wanted[0]


def _within_reach(free: list[Span], span: Span) -> list[Span]:
    """The free gold spans that may overlap. Predictions come in the order of the text, so what
    ends before this one is dropped for good: a document of a million characters stays cheap."""
    while free and free[0][1] <= span[0]:
        free.pop(0)
    return free[: bisect_left(free, (span[1],))]


def _count(wanted: Sequence[Span], given: Sequence[Span], placeless: int) -> dict[str, Score]:
    edges = _greedy(wanted, given, _same_edges)
    # Among spans of one label strict is exact, and most calls are for the spans of one label.
    one_label = len({span[2] for span in (*wanted, *given)}) <= 1
    both = edges if one_label else _greedy(wanted, given, operator.eq)

    predicted = len(given) + placeless

    def score(right: int, near: int, *, halves: bool = False) -> Score:
        incorrect, partial = (0, near) if halves else (near, 0)
        matched = right + near
        return Score(right, incorrect, partial, len(wanted) - matched, predicted - matched)

    return {
        "strict": score(*both),
        "exact": score(*edges),
        "partial": score(*edges, halves=True),
        "ent_type": score(*_ent_type(wanted, given)),
    }


def _greedy(
    wanted: Sequence[Span], given: Sequence[Span], fits: Callable[[Span, Span], bool]
) -> tuple[int, int]:
    """Each prediction takes the first free gold span that fits, else the first that overlaps;
    how many did the one and the other. The rest is spurious."""
    free = list(wanted)
    right = near = 0
    for span in given:
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


def _ent_type(wanted: Sequence[Span], given: Sequence[Span]) -> tuple[int, int]:
    free = list(wanted)
    right = wrong = 0
    for span in given:
        over = [g for g in _within_reach(free, span) if _overlaps(span, g)]
        same = [g for g in over if g[2] == span[2]]
        if same:
            right += 1
            free.remove(min(same, key=lambda g: abs(g[0] - span[0]) + abs(g[1] - span[1])))
        elif over:
            wrong += 1
            free.remove(over[0])
    return right, wrong


def _same_edges(given: Span, wanted: Span) -> bool:
    return given[:2] == wanted[:2]


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
    for i in range(resamples):  # one draw at a time: memory stays that of the documents
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
