"""Who is let in: a bounded queue per model, and a rate per token.

Refusing is cheap and says when to come again, so that what is let in is answered in time.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_HALF_LIFE_S = 30.0
_MOST_CLIENTS = 10_000
_PATIENCE = 0.8
"""Of a deadline, what the work may be expected to take: with all of it, one request in a hundred at
three times the capacity was let in and came too late."""


class Refused(Exception):
    """Not now; ``retry_after`` is the number of seconds after which it may work."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("refused")
        self.retry_after = max(1, min(60, math.ceil(retry_after)))


class Queue:
    """What waits for one model or runs in it, bounded in documents and characters."""

    def __init__(
        self, documents: int, characters: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most_documents, self._most_characters = documents, characters
        self._clock = clock
        self.documents = 0
        self.characters = 0
        self._done = 0.0  # characters, fading
        self._busy = 0.0  # seconds in which there was work, fading
        self._since = clock()

    @contextmanager
    def place(self, documents: int, characters: int, deadline: float) -> Iterator[None]:
        """A place for the duration of the work.

        Raises Refused where there is no room, or where what is ahead and the work itself would take
        longer than most of ``deadline`` seconds: it would be for nothing. An empty queue takes
        anything.
        """
        wait = self.wait()
        late = self._seconds(self.characters + characters) > _PATIENCE * deadline
        full = (
            self.documents + documents > self._most_documents
            or self.characters + characters > self._most_characters
        )
        if self.documents and (full or late):
            raise Refused(wait)
        self._advance()
        self.documents += documents
        self.characters += characters
        finished = False
        try:
            yield
            finished = True
        finally:
            self._advance()
            self.documents -= documents
            self.characters -= characters
            if finished:
                self._done += characters

    def wait(self) -> float:
        """Seconds that what is ahead will take, by what was done lately; 0 where unknown."""
        return self._seconds(self.characters)

    def _seconds(self, characters: int) -> float:
        if self._done <= 0 or self._busy <= 0:
            return 0.0
        return characters * self._busy / self._done

    def _advance(self) -> None:
        now = self._clock()
        passed, self._since = now - self._since, now
        if self.documents and passed > 0:
            fade = 0.5 ** (passed / _HALF_LIFE_S)
            self._done *= fade
            self._busy = self._busy * fade + passed


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Rate:
    """At most so many requests a minute of one client, of which a sixth may come at once."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60
        self._burst = max(1.0, per_minute / 6)
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, client: str) -> None:
        """Count a request; raises Refused where the client has used its own."""
        now = self._clock()
        bucket = self._buckets.pop(client, None) or _Bucket(self._burst, now)
        bucket.left = min(self._burst, bucket.left + (now - bucket.at) * self._per_second)
        bucket.at = now
        self._buckets[client] = bucket
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)  # who has not come for longest
        if bucket.left < 1:
            raise Refused((1 - bucket.left) / self._per_second)
        bucket.left -= 1
