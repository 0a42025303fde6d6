"""How many actors of each step: on cards that cannot be cut at will, and so that none starves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Demand:
    """What one actor of a step takes, and how many documents/s it does; ``rate`` None: unknown.

    ``most``: actors at most, whatever there is room for.
    """

    name: str
    gpus: float
    cpus: float
    rate: float | None
    most: int | None = None


def per_card(gpus: float) -> int:
    """Actors of a fraction that one card holds; 0 for those that need several cards, or none."""
    return int(1 / gpus + _SLACK) if 0 < gpus <= 1 else 0


def packs(demands: Sequence[Demand], counts: Sequence[int], cards: int, cpus: float | None) -> bool:
    """Whether so many actors fit: each fraction on one card, largest first, and all CPUs."""
    if cpus is not None:
        wanted = sum(d.cpus * count for d, count in zip(demands, counts, strict=True))
        if wanted > cpus + _SLACK:
            return False
    room = [1.0] * cards
    parts = sorted(
        (d.gpus for d, count in zip(demands, counts, strict=True) for _ in range(count)),
        reverse=True,
    )
    for part in parts:
        if not part:
            continue
        needed = max(1, round(part))
        free = [i for i, left in enumerate(room) if left >= min(part, 1.0) - _SLACK]
        if len(free) < needed:
            return False
        for i in free[:needed]:
            room[i] -= min(part, 1.0)
    return True


def balanced(demands: Sequence[Demand], cards: int, cpus: float | None) -> list[int]:
    """Actors of each step such that the slowest step is as fast as the machine allows: whoever is
    slowest gets the next actor, until it fits nowhere. Empty where one of each does not fit.

    A step without a rate keeps one actor: nothing is known of what it needs.
    """
    counts = [1] * len(demands)
    if not packs(demands, counts, cards, cpus):
        return []
    while True:
        known = [(d.rate * counts[i], i) for i, d in enumerate(demands) if d.rate]
        if not known:
            return counts
        _, slowest = min(known)
        most = demands[slowest].most
        more = [count + (i == slowest) for i, count in enumerate(counts)]
        if (most is not None and more[slowest] > most) or not packs(demands, more, cards, cpus):
            return counts
        counts = more


def speed(demands: Sequence[Demand], counts: Sequence[int]) -> float | None:
    """Documents/s of all steps together: those of the slowest; None where a rate is unknown."""
    rates = [d.rate * count if d.rate else None for d, count in zip(demands, counts, strict=True)]
    known = [rate for rate in rates if rate is not None]
    return min(known) if known and len(known) == len(rates) else None
