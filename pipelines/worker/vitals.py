"""What a process with a model holds: whether it keeps to its share, and when its time is over."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors.memory import card_memory, card_used, main_memory_used
from pipelines.worker.events import count_breach, say

_MB = 1e6
_WORSE = 1.1  # a breach is said again where it has grown by so much


@dataclass(frozen=True, slots=True)
class Lifespan:
    """When a process begins anew: after so many documents, or so many MB that it has grown."""

    documents: int | None = None
    growth_mb: float | None = None


FOR_EVER = Lifespan()


@dataclass(frozen=True, slots=True)
class Held:
    """What a process held when it was asked, in MB (10^6 bytes), and the documents it did.

    ``card_mb``: as the driver counts it; ``share_mb``: what it may hold of the card. Both are None
    without a card, or where the driver does not tell. ``breaches``: how often it was found to hold
    more than its share, or a tenth more than the last time.
    """

    documents: int
    memory_mb: float
    grown_mb: float
    card_mb: float | None
    share_mb: float | None
    breaches: int


class Vitals:
    """One process. ``names`` are in each of its lines: the run and step, or the replica."""

    def __init__(
        self, model: str, gpu: float, names: Mapping[str, Any], lifespan: Lifespan = FOR_EVER
    ) -> None:
        """``gpu``: the share of a card that the process may hold, 0 for none."""
        self._model, self._gpu, self._names = model, gpu, dict(names)
        self.lifespan = lifespan
        self.documents = 0
        self.breaches = 0
        self.over_share = False
        """Whether the last look found more of the card taken than the share."""
        self._worst = 0
        self._settled: int | None = None
        card = card_memory() if gpu else None
        self._share = None if card is None else int(card * gpu)

    def born(self, seconds: float, took: Mapping[str, int]) -> None:
        """The model is loaded: say what it took, by its own account and by the drivers'."""
        used = card_used() if self._gpu else None
        say(
            "model loaded",
            **self._names,
            seconds=seconds,
            took_mb={name: round(size / _MB, 1) for name, size in took.items()},
            memory_mb=round(main_memory_used() / _MB, 1),
            card_mb=_mb(used),
            share_mb=_mb(self._share),
        )
        self._watch_share(used)

    def did(self, documents: int) -> None:
        """So many documents were done."""
        self.documents += documents
        if self._settled is None:  # the first ones make caches and arenas, which is no leak
            self._settled = main_memory_used()

    def look(self) -> None:
        """Ask the driver what the process holds of its card, and say so where it is too much."""
        if self._gpu:
            self._watch_share(card_used())

    @property
    def grown_mb(self) -> float:
        """MB of main memory more than after the first documents."""
        return 0.0 if self._settled is None else (main_memory_used() - self._settled) / _MB

    @property
    def over(self) -> bool:
        """Whether the process is to begin anew."""
        documents, growth = self.lifespan.documents, self.lifespan.growth_mb
        if documents is not None and self.documents >= documents:
            return True
        return growth is not None and self.grown_mb > growth

    def held(self) -> Held:
        """What the process holds now."""
        return Held(
            documents=self.documents,
            memory_mb=round(main_memory_used() / _MB, 1),
            grown_mb=round(self.grown_mb, 1),
            card_mb=_mb(card_used() if self._gpu else None),
            share_mb=_mb(self._share),
            breaches=self.breaches,
        )

    def say_end(self, event: str) -> None:
        """Say that the process ends, and after how much."""
        say(event, **self._names, documents=self.documents, grown_mb=round(self.grown_mb, 1))

    def _watch_share(self, used: int | None) -> None:
        self.over_share = used is not None and self._share is not None and used > self._share
        if not self.over_share or used is None:
            self._worst = 0
            return
        if used < self._worst * _WORSE:
            return  # said already
        self._worst = used
        self.breaches += 1
        count_breach(self._model)
        say(
            "share of the card exceeded",
            logging.WARNING,
            **self._names,
            card_mb=_mb(used),
            share_mb=_mb(self._share),
        )


def _mb(size: int | None) -> float | None:
    return None if size is None else round(size / _MB, 1)
