"""The life of an actor of a run: calls go through it, so that it can begin anew between them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pipelines.batch.gate import Gate
from pipelines.worker.vitals import Lifespan, Vitals

# What Ray still has to hand over of the last results before the process ends. Were one lost, its
# unit would be done again.
_PARTING_SECONDS = 1.0


class Life(Vitals):
    """One actor's process."""

    def __init__(self, lifespan: Lifespan, gpu: float, run: str, step: str) -> None:
        super().__init__(step, gpu, {"run": run, "step": step}, lifespan)
        self._gate = Gate()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """For the duration of a call. One that comes after the end of the actor's time is never
        begun here: it waits for those under way, then the process ends, and Ray gives this unit
        and all that wait with it to the process that follows. No try of a unit is recorded yet."""
        if self.over:
            async with self._gate.exclusive():
                self.say_end("actor begins anew")
                await asyncio.sleep(_PARTING_SECONDS)
                os._exit(0)
        async with self._gate.shared():
            yield

    def did(self, documents: int) -> None:
        """So many documents were done."""
        super().did(documents)
        self.look()
