"""Scores to spans: GLiNER's own rules.

A candidate is a span of words with a label whose score reaches that label's threshold. The score
of a span-level model is the span's probability; of a token-level model the least of the
probabilities that the label starts at the first word, ends at the last, and covers each one.
Candidates are taken from the best score down; one that conflicts with a taken one is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from actors.arrays import Float32Array


@dataclass(frozen=True, slots=True)
class Candidate:
    """Words [first, last], both inclusive, with the index of a label; score in [0, 1]."""

    first: int
    last: int
    label: int
    score: float


def span_candidates(logits: Float32Array, words: int, floors: Float32Array) -> list[Candidate]:
    """Of a span-level model's logits of shape (words or more, widths, labels)."""
    scores = _sigmoid(logits[:words])
    found = np.argwhere(scores >= floors)
    return [
        Candidate(first, first + width, label, float(scores[first, width, label]))
        for first, width, label in found.tolist()
        if first + width < words
    ]


def token_candidates(logits: Float32Array, words: int, floors: Float32Array) -> list[Candidate]:
    """Of a token-level model's logits of shape (words or more, labels, 3): start, end, inside."""
    starts, ends, inside = np.moveaxis(_sigmoid(logits[:words]), 2, 0)
    # Per word and label, the first word from there on that the label does not cover.
    uncovered = np.full((words + 1, len(floors)), words)
    for word in range(words - 1, -1, -1):
        uncovered[word] = np.where(inside[word] >= floors, uncovered[word + 1], word)
    found = []
    endings = [np.flatnonzero(ends[:, label] >= floors[label]) for label in range(len(floors))]
    for first, label in np.argwhere(starts >= floors).tolist():
        least = np.inf
        seen = first
        possible = endings[label]
        for last in possible[np.searchsorted(possible, first) :].tolist():
            if last >= uncovered[first, label]:
                break
            least = min(least, float(inside[seen : last + 1, label].min()))
            seen = last + 1
            score = min(least, float(starts[first, label]), float(ends[last, label]))
            found.append(Candidate(first, last, label, score))
    return found


def select(candidates: Iterable[Candidate], nested: bool, multi_label: bool) -> list[Candidate]:
    """The candidates that stay, in reading order.

    ``nested``: spans that lie one within the other do not conflict. ``multi_label``: nor do two
    labels of one span.
    """
    taken: dict[tuple[int, int], list[Candidate]] = {}
    cover: dict[int, list[tuple[int, int]]] = {}
    # Equal scores: the earlier start, then the shorter, then the label that was named first.
    order = sorted(candidates, key=lambda c: (-c.score, c.first, c.last, c.label))
    for one in order:
        span = (one.first, one.last)
        if span in taken:
            known = {other.label for other in taken[span]}
            if multi_label and one.label not in known:
                taken[span].append(one)
            continue
        if _conflicts(span, cover, nested):
            continue
        taken[span] = [one]
        for word in range(one.first, one.last + 1):
            cover.setdefault(word, []).append(span)
    found = [one for group in taken.values() for one in group]
    return sorted(found, key=lambda c: (c.first, c.last, c.label))


def _conflicts(
    span: tuple[int, int], cover: dict[int, list[tuple[int, int]]], nested: bool
) -> bool:
    if not nested:
        return any(word in cover for word in range(span[0], span[1] + 1))
    first, last = span
    # What crosses it covers its first word or its last one.
    return any(
        (a < first <= b < last) or (first < a <= last < b)
        for word in (first, last)
        for a, b in cover.get(word, ())
    )


def _sigmoid(values: Float32Array) -> Float32Array:
    # exp(-x) of a large negative x overflows to infinity; its inverse, 0, is right
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-values.astype(np.float32))), np.float32)
