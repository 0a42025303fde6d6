"""Pair the gold spans and predictions of a document, for error analysis.

``scores`` counts; this explains. The best matches are paired first, so a wrong span is shown
against the gold span it was probably meant for, independent of their order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from pipelines.evaluate.scores import SpanLike


class SpanOutcome(StrEnum):
    """The outcome of a span."""

    CORRECT = "correct"
    LABEL = "wrong label"
    BOUNDARY = "wrong edges"
    BOTH = "wrong label and edges"
    MISSED = "missed"
    SPURIOUS = "spurious"
    UNGROUNDED = "not found"
    """Spurious because the text does not contain it."""


G = TypeVar("G", bound=SpanLike)
P = TypeVar("P", bound=SpanLike)


@dataclass(frozen=True, slots=True)
class Pair(Generic[G, P]):
    """A gold span and its prediction; one of them may be None."""

    kind: SpanOutcome
    gold: G | None
    predicted: P | None


@dataclass(frozen=True, slots=True)
class Confusion:
    """Count of one error kind between a gold and a predicted label; None: missed or spurious."""

    kind: SpanOutcome
    gold: str | None
    predicted: str | None
    count: int


def pair(gold: Sequence[G], predicted: Sequence[P]) -> list[Pair[G, P]]:
    """Put every gold span and every prediction into exactly one pair, in text order.

    Matches are preferred in this order: equal; same boundaries; same label and overlapping;
    overlapping. Ties go to the larger overlap.
    """
    placed = [p for p in predicted if p.start is not None]
    found = [(*_rank(gold[i], placed[k]), i, k) for i, k in _overlapping(gold, placed)]
    by_gold: dict[int, int] = {}
    by_predicted: dict[int, int] = {}
    for *_, i, k in sorted(found):
        if i not in by_gold and k not in by_predicted:
            by_gold[i], by_predicted[k] = k, i
    pairs: list[Pair[G, P]] = [
        Pair(_kind(g, placed[by_gold[i]]), g, placed[by_gold[i]])
        if i in by_gold
        else Pair(SpanOutcome.MISSED, g, None)
        for i, g in enumerate(gold)
    ]
    pairs += [
        Pair(SpanOutcome.SPURIOUS, None, p) for k, p in enumerate(placed) if k not in by_predicted
    ]
    pairs += [Pair(SpanOutcome.UNGROUNDED, None, p) for p in predicted if p.start is None]
    return sorted(pairs, key=_place)


def confusions(pairs: Iterable[Pair[G, P]]) -> list[Confusion]:
    """Count the errors by kind and labels, most frequent first."""
    counts = Counter(
        (p.kind, p.gold.label if p.gold else None, p.predicted.label if p.predicted else None)
        for p in pairs
        if p.kind is not SpanOutcome.CORRECT
    )
    ranked = sorted(counts.items(), key=lambda c: (-c[1], c[0][0], c[0][1] or "", c[0][2] or ""))
    return [Confusion(*key, count) for key, count in ranked]


def _overlapping(gold: Sequence[G], placed: Sequence[P]) -> Iterator[tuple[int, int]]:
    by_start = sorted(range(len(gold)), key=lambda i: _edges(gold[i]))
    starts = [_edges(gold[i])[0] for i in by_start]
    first = 0
    for k in sorted(range(len(placed)), key=lambda k: _edges(placed[k])):
        start, end = _edges(placed[k])
        # A gold span that ends before this prediction ends before all later ones.
        while first < len(by_start) and _edges(gold[by_start[first]])[1] <= start:
            first += 1
        for i in by_start[first : bisect_left(starts, end)]:
            if _shared(gold[i], placed[k]) > 0:
                yield i, k


def _edges(span: SpanLike) -> tuple[int, int]:
    if span.start is None or span.end is None:
        raise ValueError("a gold span needs both offsets")
    return span.start, span.end


def _shared(gold: SpanLike, predicted: SpanLike) -> int:
    (a, b), (c, d) = _edges(gold), _edges(predicted)
    return min(b, d) - max(a, c)


def _kind(gold: SpanLike, predicted: SpanLike) -> SpanOutcome:
    label, edges = gold.label == predicted.label, _edges(gold) == _edges(predicted)
    if edges:
        return SpanOutcome.CORRECT if label else SpanOutcome.LABEL
    return SpanOutcome.BOUNDARY if label else SpanOutcome.BOTH


_ORDER = {
    SpanOutcome.CORRECT: 0,
    SpanOutcome.LABEL: 1,
    SpanOutcome.BOUNDARY: 2,
    SpanOutcome.BOTH: 3,
}


def _rank(gold: SpanLike, predicted: SpanLike) -> tuple[int, float]:
    (a, b), (c, d) = _edges(gold), _edges(predicted)
    return _ORDER[_kind(gold, predicted)], -_shared(gold, predicted) / (max(b, d) - min(a, c))


def _place(pair: Pair[G, P]) -> tuple[bool, int, int, str]:
    places = [
        _edges(s) for s in (pair.gold, pair.predicted) if s is not None and s.start is not None
    ]
    start, end = min(places, default=(0, 0))
    return not places, start, end, pair.kind
