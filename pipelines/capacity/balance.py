"""Balance actor counts across stages. Actors get fractions of a GPU's memory and share its time.

A fraction is a share of a GPU's memory. All actors on a GPU share its compute time, so its
throughput is bounded however many actors it runs. A stage that has a GPU to itself reaches
``gpu_rate`` there; stages that share a GPU divide its time. Two actors on one GPU are assumed to
be no faster than one, unless a measured ``gpu_rate`` shows otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Demand:
    """Resources of one actor of a stage, and its documents/s when alone (``rate``; None: unknown).

    ``most``: maximum number of actors, whatever fits. ``gpu_rate``: documents/s of a GPU with any
    number of the stage's actors; None: one actor saturates its GPU.
    """

    name: str
    gpus: float
    cpus: float
    rate: float | None
    most: int | None = None
    gpu_rate: float | None = None

    @property
    def gpu_seconds(self) -> float:
        """GPU seconds per document; 0 if the stage does not share a GPU."""
        if not self.rate or not 0 < self.gpus < 1:
            return 0.0
        return 1 / max(self.rate, self.gpu_rate or 0.0)


@dataclass(frozen=True, slots=True)
class Balance:
    """Actor counts per stage, the documents/s of each stage if the others were idle, and the total
    throughput; None if rates are unknown.

    ``by_gpus``: the bottleneck is GPU time, not the actor count of a stage.
    """

    counts: tuple[int, ...]
    rates: tuple[float | None, ...]
    total: float | None
    by_gpus: bool


def per_gpu(gpus: float) -> int:
    """Actors of this fraction that fit on one GPU; 0 if they need several GPUs, or none."""
    return int(1 / gpus + _SLACK) if 0 < gpus <= 1 else 0


def balanced(demands: Sequence[Demand], gpus: int, cpus: float | None) -> Balance | None:
    """The smallest actor counts that reach the highest throughput of the machine. None if one actor
    of each stage does not fit.

    The bottleneck stage gets the next actor until none fits. A stage without a rate keeps one
    actor, because its needs are unknown.
    """
    layout = _packed(demands, [1] * len(demands), gpus, cpus)
    if layout is None:
        return None
    best = layout.balance()
    while (more := _one_more(layout, demands, gpus, cpus)) is not None:
        layout = more
        now = layout.balance()
        if best.total is None or (now.total or 0.0) > best.total * (1 + 1e-9):
            best = now
    return best


def placed(
    demands: Sequence[Demand], counts: Sequence[int], gpus: int, cpus: float | None
) -> Balance | None:
    """The throughput of the given actor counts, or None if they do not fit. Each fraction is placed
    on one GPU, largest first."""
    layout = _packed(demands, counts, gpus, cpus)
    return None if layout is None else layout.balance()


class _Layout:
    """Actors placed as Ray does it: on the fullest GPU with enough capacity (measured: six quarter
    fractions on four GPUs are placed four and two)."""

    def __init__(self, demands: Sequence[Demand], gpus: int, cpus: float | None) -> None:
        self._demands = demands
        self.counts = [0] * len(demands)
        self._free = [1.0] * gpus
        self._on: list[Counter[int]] = [Counter() for _ in range(gpus)]
        self._cpus = cpus

    def add(self, step: int) -> bool:
        """Place one more actor; returns False and changes nothing if it fits nowhere."""
        demand = self._demands[step]
        if self._cpus is not None and demand.cpus > self._cpus + _SLACK:
            return False
        part, needed = min(demand.gpus, 1.0), max(1, round(demand.gpus)) if demand.gpus else 0
        free = [gpu for gpu, left in enumerate(self._free) if left >= part - _SLACK]
        if len(free) < needed:
            return False
        for gpu in sorted(free, key=lambda gpu: self._free[gpu])[:needed]:
            self._free[gpu] -= part
            self._on[gpu][step] += 1
        if self._cpus is not None:
            self._cpus -= demand.cpus
        self.counts[step] += 1
        return True

    def bottlenecks(self) -> list[int]:
        """The stages that another actor could speed up, the most limiting first."""
        rates = self._by_actors()
        known = [i for i, rate in enumerate(rates) if rate is not None]
        if not known:
            return []
        slowest = min(known, key=lambda i: rates[i] or 0.0)
        gpu = max(range(len(self._on)), key=self._load, default=None)
        if gpu is None or self._load(gpu) * (rates[slowest] or 0.0) < 1 - 1e-9:
            return [slowest]
        on = self._on[gpu]
        return sorted((i for i in on if self._part(gpu, i)), key=lambda i: -self._part(gpu, i))

    def balance(self) -> Balance:
        """The throughput of this placement."""
        by_actors = self._by_actors()
        rates = tuple(
            None if rate is None else min(rate, self._by_gpus(i))
            for i, rate in enumerate(by_actors)
        )
        known = [rate for rate in by_actors if rate is not None]
        if not known or len(known) < len(by_actors):
            return Balance(tuple(self.counts), rates, None, False)
        bound = _inverse(max(map(self._load, range(len(self._on))), default=0.0))
        by_gpus = bound <= min(known) * (1 + 1e-9)
        return Balance(tuple(self.counts), rates, min(bound, *known), by_gpus)

    def _by_actors(self) -> list[float | None]:
        return [
            d.rate * n if d.rate else None for d, n in zip(self._demands, self.counts, strict=True)
        ]

    def _by_gpus(self, step: int) -> float:
        """Documents/s of a stage if its GPUs ran nothing else."""
        return _inverse(max((self._part(gpu, step) for gpu in range(len(self._on))), default=0.0))

    def _load(self, gpu: int) -> float:
        """Busy seconds of a GPU per document, summed over stages."""
        return sum(self._part(gpu, step) for step in self._on[gpu])

    def _part(self, gpu: int, step: int) -> float:
        # The actors of a stage process equally many documents.
        return self._on[gpu][step] * self._demands[step].gpu_seconds / max(1, self.counts[step])


def _packed(
    demands: Sequence[Demand], counts: Sequence[int], gpus: int, cpus: float | None
) -> _Layout | None:
    layout = _Layout(demands, gpus, cpus)
    for step in sorted(range(len(demands)), key=lambda i: -demands[i].gpus):
        for _ in range(counts[step]):
            if not layout.add(step):
                return None
    return layout


def _one_more(
    layout: _Layout, demands: Sequence[Demand], gpus: int, cpus: float | None
) -> _Layout | None:
    for step in layout.bottlenecks():
        most = demands[step].most
        if most is not None and layout.counts[step] >= most:
            continue
        if layout.add(step):
            return layout
        # Re-packing all actors, largest first, may make it fit.
        counts = [n + (i == step) for i, n in enumerate(layout.counts)]
        again = _packed(demands, counts, gpus, cpus)
        if again is not None:
            return again
    return None


def _inverse(seconds: float) -> float:
    return 1 / seconds if seconds else float("inf")
