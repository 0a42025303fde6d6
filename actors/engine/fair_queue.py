"""Pending requests of the engine, served round-robin across clients."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

_T = TypeVar("_T")


class FairQueue(Generic[_T]):
    """Pending requests, grouped by client and served round-robin (e.g. all windows of one
    document).

    One request per client is taken in turn, in order of arrival. A document of one window thus
    waits for one window of each earlier document, not for all windows of a book.
    """

    def __init__(self) -> None:
        self._queues: OrderedDict[Hashable, deque[_T]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._queues)

    def __iter__(self) -> Iterator[_T]:
        return (request for queue in self._queues.values() for request in queue)

    def put(self, request: _T, client: Hashable) -> None:
        """Queue a request behind the others of its client."""
        self._queues.setdefault(client, deque()).append(request)

    def take(self) -> _T:
        """Remove and return the next request. Raises KeyError if empty."""
        client, queue = self._queues.popitem(last=False)
        request = queue.popleft()
        if queue:
            self._queues[client] = queue  # back to the end of the rotation
        return request

    def clear(self) -> None:
        """Drop all requests."""
        self._queues.clear()
