"""How many actors of each step: on cards that cannot be cut at will, and whose time actors share,
so that no step starves another.

A fraction is of a card's memory. Its time is shared by all actors on it: what a card does is
bounded, however many actors it holds. A step that has a card for itself does ``card_rate`` there;
steps that share one divide its seconds. Nothing is known of two actors that do more beside each
other than one alone, unless someone has measured it and says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Demand:
    """What one actor of a step takes, and how many documents/s it does alone; ``rate`` None:
    unknown.

    ``most``: actors at most, whatever there is room for. ``card_rate``: documents/s of a card,
    however many actors it holds; None: one actor alone keeps its card busy.
    """

    name: str
    gpus: float
    cpus: float
    rate: float | None
    most: int | None = None
    card_rate: float | None = None

    @property
    def card_seconds(self) -> float:
        """Seconds of a card's time that a document takes; 0 where no card is shared."""
        if not self.rate or not 0 < self.gpus < 1:
            return 0.0
        return 1 / max(self.rate, self.card_rate or 0.0)


@dataclass(frozen=True, slots=True)
class Balance:
    """Actors of each step, documents/s that each could do if the others did nothing, and those of
    all together; None where rates are unknown. ``by_cards``: whether it is the cards' time that
    bounds the whole, and not the number of a step's actors."""

    counts: tuple[int, ...]
    rates: tuple[float | None, ...]
    total: float | None
    by_cards: bool


def per_card(gpus: float) -> int:
    """Actors of a fraction that one card holds; 0 for those that need several cards, or none."""
    return int(1 / gpus + _SLACK) if 0 < gpus <= 1 else 0


def balanced(demands: Sequence[Demand], cards: int, cpus: float | None) -> Balance | None:
    """Actors of each step such that all together are as fast as the machine allows, and no more of
    them than that takes. None where one of each does not fit.

    Whoever holds the others back gets the next actor, until it fits nowhere. A step without a rate
    keeps one actor: nothing is known of what it needs.
    """
    layout = _packed(demands, [1] * len(demands), cards, cpus)
    if layout is None:
        return None
    best = layout.balance()
    while (more := _one_more(layout, demands, cards, cpus)) is not None:
        layout = more
        now = layout.balance()
        if best.total is None or (now.total or 0.0) > best.total * (1 + 1e-9):
            best = now
    return best


def placed(
    demands: Sequence[Demand], counts: Sequence[int], cards: int, cpus: float | None
) -> Balance | None:
    """What so many actors do, or None where they do not fit: each fraction on one card, largest
    first, and all CPUs."""
    layout = _packed(demands, counts, cards, cpus)
    return None if layout is None else layout.balance()


class _Layout:
    """Actors on cards, as Ray places them: on the fullest card that has room for the next one
    (measured: six quarters on four cards lie four and two)."""

    def __init__(self, demands: Sequence[Demand], cards: int, cpus: float | None) -> None:
        self._demands = demands
        self.counts = [0] * len(demands)
        self._room = [1.0] * cards
        self._on: list[Counter[int]] = [Counter() for _ in range(cards)]
        self._cpus = cpus

    def add(self, step: int) -> bool:
        """Place one more actor; False, and nothing changed, where it fits nowhere."""
        demand = self._demands[step]
        if self._cpus is not None and demand.cpus > self._cpus + _SLACK:
            return False
        part, needed = min(demand.gpus, 1.0), max(1, round(demand.gpus)) if demand.gpus else 0
        free = [card for card, left in enumerate(self._room) if left >= part - _SLACK]
        if len(free) < needed:
            return False
        for card in sorted(free, key=lambda card: self._room[card])[:needed]:
            self._room[card] -= part
            self._on[card][step] += 1
        if self._cpus is not None:
            self._cpus -= demand.cpus
        self.counts[step] += 1
        return True

    def held_back_by(self) -> list[int]:
        """The steps that a further actor could help, whoever needs it most first."""
        rates = self._by_actors()
        known = [i for i, rate in enumerate(rates) if rate is not None]
        if not known:
            return []
        slowest = min(known, key=lambda i: rates[i] or 0.0)
        card = max(range(len(self._on)), key=self._load, default=None)
        if card is None or self._load(card) * (rates[slowest] or 0.0) < 1 - 1e-9:
            return [slowest]
        on = self._on[card]
        return sorted((i for i in on if self._part(card, i)), key=lambda i: -self._part(card, i))

    def balance(self) -> Balance:
        """What these actors do."""
        by_actors = self._by_actors()
        rates = tuple(
            None if rate is None else min(rate, self._by_cards(i))
            for i, rate in enumerate(by_actors)
        )
        known = [rate for rate in by_actors if rate is not None]
        if not known or len(known) < len(by_actors):
            return Balance(tuple(self.counts), rates, None, False)
        bound = _inverse(max(map(self._load, range(len(self._on))), default=0.0))
        by_cards = bound <= min(known) * (1 + 1e-9)
        return Balance(tuple(self.counts), rates, min(bound, *known), by_cards)

    def _by_actors(self) -> list[float | None]:
        return [
            d.rate * n if d.rate else None for d, n in zip(self._demands, self.counts, strict=True)
        ]

    def _by_cards(self, step: int) -> float:
        """Documents/s of a step whose cards did nothing else."""
        return _inverse(max((self._part(card, step) for card in range(len(self._on))), default=0.0))

    def _load(self, card: int) -> float:
        """Seconds of a card that it is busy for a document, all steps together."""
        return sum(self._part(card, step) for step in self._on[card])

    def _part(self, card: int, step: int) -> float:
        # The actors of a step get as many documents each.
        return self._on[card][step] * self._demands[step].card_seconds / max(1, self.counts[step])


def _packed(
    demands: Sequence[Demand], counts: Sequence[int], cards: int, cpus: float | None
) -> _Layout | None:
    layout = _Layout(demands, cards, cpus)
    for step in sorted(range(len(demands)), key=lambda i: -demands[i].gpus):
        for _ in range(counts[step]):
            if not layout.add(step):
                return None
    return layout


def _one_more(
    layout: _Layout, demands: Sequence[Demand], cards: int, cpus: float | None
) -> _Layout | None:
    for step in layout.held_back_by():
        most = demands[step].most
        if most is not None and layout.counts[step] >= most:
            continue
        if layout.add(step):
            return layout
        # Placed anew, the largest first, there may be room.
        counts = [n + (i == step) for i, n in enumerate(layout.counts)]
        again = _packed(demands, counts, cards, cpus)
        if again is not None:
            return again
    return None


def _inverse(seconds: float) -> float:
    return 1 / seconds if seconds else float("inf")
