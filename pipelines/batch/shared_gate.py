"""A readers-writer lock for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class SharedGate:
    """Shared and exclusive access within one event loop. A waiting exclusive holder blocks new
    shared ones, so it cannot starve."""

    def __init__(self) -> None:
        self._condition = asyncio.Condition()
        self._shared_holders = 0
        self._exclusive = 0

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Hold the lock together with other shared holders."""
        async with self._condition:
            await self._condition.wait_for(lambda: not self._exclusive)
            self._shared_holders += 1
        try:
            yield
        finally:
            async with self._condition:
                self._shared_holders -= 1
                self._condition.notify_all()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold the lock exclusively."""
        async with self._condition:
            await self._condition.wait_for(lambda: not self._exclusive)
            self._exclusive = 1
            await self._condition.wait_for(lambda: not self._shared_holders)
        try:
            yield
        finally:
            async with self._condition:
                self._exclusive = 0
                self._condition.notify_all()
