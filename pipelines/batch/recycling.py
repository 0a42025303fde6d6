"""Recycle an actor between units when its document or memory limit is reached."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pipelines.batch.shared_gate import SharedGate
from pipelines.worker.process_health import ProcessHealth, RecycleLimits

# Time for Ray to hand over the last results before the process exits. A lost result means that its
# unit is processed again.
_DRAIN_SECONDS = 1.0


class RecycledActor(ProcessHealth):
    """An actor process that exits when its recycling limit is reached."""

    def __init__(self, lifespan: RecycleLimits, gpu: float, run: str, step: str) -> None:
        super().__init__(step, gpu, {"run": run, "step": step}, lifespan)
        self._gate = SharedGate()

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Wrap one call. After the limit is reached, a new call does not start: it waits for calls
        in flight, then the process exits and Ray retries the waiting units in a new one. No attempt
        at those units has been journaled yet."""
        if self.limit_reached:
            async with self._gate.exclusive():
                self.log_exit("recycling actor")
                await asyncio.sleep(_DRAIN_SECONDS)
                os._exit(0)
        async with self._gate.shared():
            yield

    def record(self, documents: int) -> None:
        """Record finished documents and check the limits."""
        super().record(documents)
        self.check_memory()
