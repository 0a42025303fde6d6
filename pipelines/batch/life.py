"""The life of an actor: what it took, whether it keeps to its share, and when it begins anew."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from actors.memory import card_memory, card_used, main_memory_used
from pipelines.batch.events import count_breach, say
from pipelines.batch.gate import Gate

_MB = 1e6
# What Ray still has to hand over of the last results before the process ends. Were one lost, its
# unit would be done again.
_PARTING_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Lifespan:
    """When an actor begins anew: after so many documents, or so many MB that it has grown."""

    documents: int | None = None
    growth_mb: float | None = None


FOR_EVER = Lifespan()


class Life:
    """One actor's process. Calls go through ``turn``, so that it can end between them."""

    def __init__(self, lifespan: Lifespan, gpu: float, run: str, step: str) -> None:
        self._lifespan, self._gpu, self._run, self._step = lifespan, gpu, run, step
        self._gate = Gate()
        self._documents = 0
        self._settled: int | None = None
        self.over_share = False
        """Whether the last look found more of the card taken than the share."""
        card = card_memory() if gpu else None
        self._share = None if card is None else int(card * gpu)

    def born(self, seconds: float, took: Mapping[str, int]) -> None:
        """The model is loaded: say what it took, by its own account and by the drivers'."""
        used = card_used() if self._gpu else None
        say(
            "model loaded",
            run=self._run,
            step=self._step,
            seconds=seconds,
            took_mb={name: round(size / _MB, 1) for name, size in took.items()},
            memory_mb=round(main_memory_used() / _MB, 1),
            card_mb=None if used is None else round(used / _MB, 1),
            share_mb=None if self._share is None else round(self._share / _MB, 1),
        )
        self._watch_share(used)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """For the duration of a call. One that comes after the end of the actor's time is never
        begun here: it waits for those under way, then the process ends, and Ray gives this unit
        and all that wait with it to the process that follows. No try of a unit is recorded yet."""
        if self.over:
            async with self._gate.exclusive():
                await self._end()
        async with self._gate.shared():
            yield

    def did(self, documents: int) -> None:
        """So many documents were done."""
        self._documents += documents
        if self._settled is None:  # the first unit makes caches and arenas, which is no leak
            self._settled = main_memory_used()
        if self._gpu:
            self._watch_share(card_used())

    @property
    def grown_mb(self) -> float:
        """MB of main memory more than after the first unit."""
        return 0.0 if self._settled is None else (main_memory_used() - self._settled) / _MB

    @property
    def over(self) -> bool:
        """Whether the actor is to begin anew."""
        documents, growth = self._lifespan.documents, self._lifespan.growth_mb
        if documents is not None and self._documents >= documents:
            return True
        return growth is not None and self.grown_mb > growth

    async def _end(self) -> None:
        say(
            "actor begins anew",
            run=self._run,
            step=self._step,
            documents=self._documents,
            grown_mb=round(self.grown_mb, 1),
        )
        await asyncio.sleep(_PARTING_SECONDS)
        os._exit(0)

    def _watch_share(self, used: int | None) -> None:
        self.over_share = used is not None and self._share is not None and used > self._share
        if not self.over_share or used is None or self._share is None:
            return
        count_breach(self._step)
        say(
            "share of the card exceeded",
            logging.WARNING,
            run=self._run,
            step=self._step,
            card_mb=round(used / _MB, 1),
            share_mb=round(self._share / _MB, 1),
        )
