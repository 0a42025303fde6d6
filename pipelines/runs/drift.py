"""Which measures of two runs differ beyond chance.

For each measure, z = (R1 - R2) / sqrt(var R1 + var R2), with the variances of ``profile``, is
compared with the normal distribution; over all measures, Benjamini and Hochberg's procedure (1995)
bounds the expected share of false alarms among those that are named. Documents count as
independent samples: where both runs read the same ones, the test is cautious.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, isclose, sqrt

from pipelines.runs.profile import Measure, Profile, Ratio

FALSE_ALARMS = 0.05
"""The expected share of measures that moved by chance, among those named."""
LEAST_DOCUMENTS = 30
"""A measure of fewer documents is not judged: the normal approximation is too rough."""


@dataclass(frozen=True, slots=True)
class MeasureChange:
    """A measure in both runs; ``q`` is its p-value, adjusted for the number of measures."""

    measure: Measure
    before: float | None
    after: float | None
    q: float
    moved: bool


@dataclass(frozen=True, slots=True)
class Drift:
    """Two runs compared; the differences are in the order of their ``q``."""

    before: Profile
    after: Profile
    differences: tuple[MeasureChange, ...]

    def as_dict(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "runs": [self.before.run_id, self.after.run_id],
            "documents": [self.before.documents, self.after.documents],
            "measures": [
                {"group": one.measure.group, "name": one.measure.name, "unit": one.measure.unit}
                | {"before": one.before, "after": one.after, "q": one.q, "moved": one.moved}
                for one in self.differences
            ],
        }


def compare_profiles(before: Profile, after: Profile) -> Drift:
    """Compare two runs."""
    measures = sorted(
        before.measures.keys() | after.measures.keys(), key=lambda one: (one.group, one.name)
    )
    pairs = [(_of(before, one), _of(after, one)) for one in measures]
    qs = _adjusted([_p(a, b) for a, b in pairs])
    differences = [
        MeasureChange(measure, a.value, b.value, q, q <= FALSE_ALARMS)
        for measure, (a, b), q in zip(measures, pairs, qs, strict=True)
    ]
    return Drift(before, after, tuple(sorted(differences, key=lambda one: one.q)))


def _of(profile: Profile, measure: Measure) -> Ratio:
    found = profile.measures.get(measure)
    if found is not None:
        return found
    # A label that a run never gave is given 0 times per document.
    count = float(profile.documents)
    if measure.unit == "per document":
        return Ratio(profile.documents, x=count, xx=count)
    return Ratio()


def _p(a: Ratio, b: Ratio) -> float:
    """The two-sided p-value; 1 where too few documents can be measured."""
    first, second = a.variance, b.variance
    if a.value is None or b.value is None or first is None or second is None:
        return 1.0
    if min(a.documents, b.documents) < LEAST_DOCUMENTS:
        return 1.0
    difference, spread = abs(a.value - b.value), sqrt(first + second)
    if isclose(difference, 0.0, abs_tol=1e-12):
        return 1.0
    return erfc(difference / spread / sqrt(2)) if spread else 0.0


def _adjusted(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's adjusted p-values, in the order given."""
    count = len(p_values)
    order = sorted(range(count), key=lambda at: p_values[at], reverse=True)
    adjusted, least = [1.0] * count, 1.0
    for rank, at in zip(range(count, 0, -1), order, strict=True):
        least = min(least, p_values[at] * count / rank)
        adjusted[at] = least
    return adjusted
