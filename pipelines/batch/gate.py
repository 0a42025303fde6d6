"""A gate that many may pass together, or one alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Gate:
    """Shared and exclusive passage in one event loop. Who wants it alone waits until all others
    are through, and lets no new ones in meanwhile."""

    def __init__(self) -> None:
        self._condition = asyncio.Condition()
        self._inside = 0
        self._alone = 0

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """With others."""
        async with self._condition:
            await self._condition.wait_for(lambda: not self._alone)
            self._inside += 1
        try:
            yield
        finally:
            async with self._condition:
                self._inside -= 1
                self._condition.notify_all()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Alone."""
        async with self._condition:
            await self._condition.wait_for(lambda: not self._alone)
            self._alone = 1
            await self._condition.wait_for(lambda: not self._inside)
        try:
            yield
        finally:
            async with self._condition:
                self._alone = 0
                self._condition.notify_all()
