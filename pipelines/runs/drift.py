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
from pipelines.tables.ledger import Ledger

FALSE_ALARMS = 0.05
"""The expected share of measures that moved by chance, among those named."""
LEAST_DOCUMENTS = 30
"""A measure of fewer documents is not judged: the normal approximation is too rough."""


@dataclass(frozen=True, slots=True)
class MeasureChange:
    """A measure of both; ``q`` is its p-value, adjusted for the number of measures."""

    measure: Measure
    before: float | None
    after: float | None
    q: float
    moved: bool

    @property
    def size(self) -> float:
        """Distance of the two, 0 to 1: the difference of shares; of rates and means, the difference
        relative to the larger one."""
        if self.before is None or self.after is None:
            return 0.0
        difference = abs(self.before - self.after)
        if self.measure.unit.startswith("share"):
            return difference
        return difference / max(abs(self.before), abs(self.after), 1e-12)

    def as_dict(self) -> dict[str, object]:
        """As JSON values."""
        measure = self.measure
        return {"group": measure.group, "name": measure.name, "unit": measure.unit} | {
            "before": self.before,
            "after": self.after,
            "size": self.size,
            "q": self.q,
            "moved": self.moved,
        }


@dataclass(frozen=True, slots=True)
class Drift:
    """Two profiles compared; the differences are in the order of their ``q``."""

    before: Profile
    after: Profile
    differences: tuple[MeasureChange, ...]

    def beyond(self, size: float) -> tuple[MeasureChange, ...]:
        """The measures that moved beyond chance and by more than ``size``, the farthest first."""
        moved = (one for one in self.differences if one.moved and one.size > size)
        return tuple(sorted(moved, key=lambda one: -one.size))

    def as_dict(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "documents": [self.before.documents, self.after.documents],
            "measures": [one.as_dict() for one in self.differences],
        }


def live_profile(ledger: Ledger) -> Profile:
    """Return the combined profile of all runs with rows in a snapshot."""
    live = {one.run_id for one in ledger.live}
    found = Profile()
    for run_id, facts in ledger.all_facts.items():
        if run_id in live:
            found.update(Profile.from_dict(facts["profile"]))
    return found


def compare_profiles(before: Profile, after: Profile) -> Drift:
    """Compare what two runs, or groups of runs, found."""
    measures = sorted(before.sums.keys() | after.sums.keys(), key=lambda o: (o.group, o.name))
    pairs = [(before.measure(one), after.measure(one)) for one in measures]
    qs = _adjusted([_p(a, b) for a, b in pairs])
    differences = [
        MeasureChange(measure, a.value, b.value, q, q <= FALSE_ALARMS)
        for measure, (a, b), q in zip(measures, pairs, qs, strict=True)
    ]
    return Drift(before, after, tuple(sorted(differences, key=lambda one: one.q)))


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
