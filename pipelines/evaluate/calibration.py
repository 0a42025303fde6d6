"""Score thresholds per label for a wanted precision or recall, and how well scores are calibrated.

A prediction is correct if the gold has its span and label. Precision at a threshold is of the
predictions that reach it; recall is of all gold spans of the label. For a wanted precision the
lowest threshold that has it is chosen, which keeps most; for a wanted recall the highest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import sqrt
from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

from pipelines.evaluate.compare import Comparison
from pipelines.evaluate.error_analysis import SpanOutcome

Aim = Literal["precision", "recall"]
_BINS = 10
_Z = 1.959964  # of a 95% interval


@dataclass(frozen=True, slots=True)
class Threshold:
    """The threshold of a model's label; ``value`` is None if no threshold reaches the aim, and the
    other figures are then those of all predictions."""

    model: str
    label: str
    value: float | None
    gold: int
    kept: int
    correct: int

    @property
    def precision(self) -> float:
        """Of the predictions that are kept."""
        return self.correct / self.kept if self.kept else 0.0

    @property
    def recall(self) -> float:
        """Of the gold spans of the label."""
        return self.correct / self.gold if self.gold else 0.0

    @property
    def precision_interval(self) -> tuple[float, float]:
        """Wilson's 95% interval of the precision (Wilson 1927)."""
        return wilson(self.correct, self.kept)


@dataclass(frozen=True, slots=True)
class Reliability:
    """Predictions of a range of scores: their mean score, and which fraction is correct."""

    low: float
    high: float
    count: int
    score: float
    correct: float


@dataclass(frozen=True, slots=True)
class ScoreCalibration:
    """Thresholds by model and label, and the reliability of scores."""

    thresholds: tuple[Threshold, ...]
    reliability: tuple[Reliability, ...]
    without_score: int
    """Predictions that no threshold can judge."""

    @property
    def error(self) -> float:
        """Expected calibration error: the mean distance of score and correctness over the ranges,
        weighted by their predictions (Naeini et al., AAAI 2015)."""
        total = sum(one.count for one in self.reliability)
        distance = sum(one.count * abs(one.score - one.correct) for one in self.reliability)
        return distance / total if total else 0.0

    def as_dict(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "thresholds": [
                {
                    "model": one.model,
                    "label": one.label,
                    "threshold": one.value,
                    "gold": one.gold,
                    "kept": one.kept,
                    "precision": one.precision,
                    "precision_interval": one.precision_interval,
                    "recall": one.recall,
                }
                for one in self.thresholds
            ],
            "reliability": [
                {"low": r.low, "high": r.high, "count": r.count}
                | {"score": r.score, "correct": r.correct}
                for r in self.reliability
            ],
            "calibration_error": self.error,
            "without_score": self.without_score,
        }


def calibrate_scores(comparison: Comparison, aim: Aim, least: float) -> ScoreCalibration:
    """Thresholds for at least ``least`` precision or recall, in [0, 1]."""
    gold: dict[str, int] = defaultdict(int)
    found: dict[tuple[str, str], list[tuple[float, bool]]] = defaultdict(list)
    without = 0
    for document in comparison.documents:
        for pair in document.pairs:
            if pair.gold is not None:
                gold[pair.gold.label] += 1
            if pair.predicted is not None:
                one = pair.predicted
                if one.score is None:
                    without += 1
                else:
                    key = one.model, one.label
                    found[key].append((one.score, pair.kind is SpanOutcome.CORRECT))
    return ScoreCalibration(
        tuple(
            _threshold(model, label, predictions, gold[label], aim, least)
            for (model, label), predictions in sorted(found.items())
        ),
        _reliability([one for predictions in found.values() for one in predictions]),
        without,
    )


def _threshold(
    model: str,
    label: str,
    predictions: Sequence[tuple[float, bool]],
    gold: int,
    aim: Aim,
    least: float,
) -> Threshold:
    ranked = sorted(predictions, reverse=True)
    best: Threshold | None = None
    correct = 0
    for kept, (score, right) in enumerate(ranked, start=1):
        correct += right
        if kept < len(ranked) and ranked[kept][0] == score:
            continue  # no threshold lies between equal scores
        one = Threshold(model, label, score, gold, kept, correct)
        if getattr(one, aim) >= least:
            best = one
            if aim == "recall":
                break  # a lower threshold keeps more for the same aim
    return best or Threshold(model, label, None, gold, len(ranked), correct)


def _reliability(predictions: Sequence[tuple[float, bool]]) -> tuple[Reliability, ...]:
    bins: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for score, right in predictions:
        bins[min(int(score * _BINS), _BINS - 1)].append((score, right))
    return tuple(
        Reliability(
            at / _BINS,
            (at + 1) / _BINS,
            len(inside),
            sum(score for score, _ in inside) / len(inside),
            sum(right for _, right in inside) / len(inside),
        )
        for at, inside in sorted(bins.items())
    )


def wilson(correct: int, count: int) -> tuple[float, float]:
    """Wilson's 95% interval of a proportion; (0, 1) of nothing."""
    if not count:
        return 0.0, 1.0
    p, z2 = correct / count, _Z * _Z
    middle = (p + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z * sqrt(p * (1 - p) / count + z2 / (4 * count * count)) / (1 + z2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def thresholds_snippet(
    thresholds: Iterable[Threshold],
    replaced: Mapping[str, Mapping[str, str]],
    own: Mapping[str, Collection[str]],
) -> dict[str, dict[str, float]]:
    """Return ``labels.thresholds`` of each model file.

    Thresholds apply to labels before they are replaced. ``replaced``: ``labels.replace`` of each
    model; ``own``: the labels of each model, except where they are unknown.
    """
    found: dict[str, dict[str, float]] = {}
    for one in thresholds:
        if one.value is None:
            continue
        names = replaced.get(one.model, {})
        before = [old for old, new in names.items() if new == one.label]
        # Another label's new name need not be a label of the model, which would reject it.
        if one.label not in names and one.label in own.get(one.model, (one.label,)):
            before.append(one.label)
        # Rounded down, so that the prediction with this very score stays.
        value = int(one.value * 10_000) / 10_000
        found.setdefault(one.model, {}).update(dict.fromkeys(before, value))
    return found


def calibration_tables(calibration: ScoreCalibration) -> list[Table]:
    """A table of thresholds per model, and one of reliability."""
    shown = [
        _thresholds(model, list(found))
        for model, found in groupby(calibration.thresholds, key=lambda one: one.model)
    ]
    title = f"Scores (expected calibration error {calibration.error:.3f})"
    scores = Table(box=box.SIMPLE_HEAD, title=title, title_style="bold")
    for name in ("Scores", "Predictions", "Mean score", "Correct"):
        scores.add_column(name, justify="right", no_wrap=True)
    for r in calibration.reliability:
        scores.add_row(
            f"{r.low:.1f} to {r.high:.1f}", f"{r.count:,}", f"{r.score:.3f}", f"{r.correct:.3f}"
        )
    return [*shown, scores]


def _thresholds(model: str, thresholds: Sequence[Threshold]) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, title=Text(model), title_style="bold")
    shown.add_column("Label", overflow="fold")
    for name in ("Threshold", "Gold", "Kept", "Precision", "95%", "Recall"):
        shown.add_column(name, justify="right", no_wrap=True)
    for one in thresholds:
        low, high = one.precision_interval
        shown.add_row(
            Text(one.label),
            "none" if one.value is None else f"{one.value:.4f}",
            f"{one.gold:,}",
            f"{one.kept:,}",
            f"{one.precision:.3f}",
            f"{low:.2f} to {high:.2f}",
            f"{one.recall:.3f}",
        )
    return shown
