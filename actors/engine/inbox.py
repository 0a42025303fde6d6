"""What is asked of the engine and not yet prepared: those who ask take turns."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Inbox(Generic[_T]):
    """Requests by whose they are, such as the windows of one document.

    Each asker has one taken in turn, in the order in which they came: so a document of one window
    waits for one window of each that is there before it, and not for all of a book's.
    """

    def __init__(self) -> None:
        self._of: OrderedDict[Hashable, deque[_T]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._of)

    def __iter__(self) -> Iterator[_T]:
        return (request for waiting in self._of.values() for request in waiting)

    def put(self, request: _T, asker: Hashable) -> None:
        """Let a request wait, after all others of its asker."""
        self._of.setdefault(asker, deque()).append(request)

    def take(self) -> _T:
        """The next request. Raises KeyError where there is none."""
        asker, waiting = self._of.popitem(last=False)
        request = waiting.popleft()
        if waiting:
            self._of[asker] = waiting  # at the end
        return request

    def clear(self) -> None:
        """Forget all of them."""
        self._of.clear()
