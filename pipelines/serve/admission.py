"""Who is let in: a bounded queue per model, and a rate per token.

Refusing is cheap and says when to come again, so that what is let in is answered in time.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from actors.turns import TURN_CHARACTERS

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


@dataclass(slots=True, eq=False)
class _Work:
    """What one request has under way. ``brief`` is its characters as a short document meets them;
    ``held``: its share of the time since it came, or since its like was done."""

    sizes: tuple[int, ...]
    longest: int
    brief: int
    held: float = 0.0

    def before(self, own: int) -> int:
        """Characters of it that are read before a document of ``own`` characters is done."""
        if own <= TURN_CHARACTERS:
            return self.brief
        return sum(min(size, own) for size in self.sizes)


class Queue:
    """What waits for one model or runs in it, bounded in documents and characters.

    Models take their documents in turns, so before a document is done no other has had much more
    than its own length read, or one turn. The time that passes is divided among them by the same
    shares, and counts once its like is done: a document that takes minutes makes the model look no
    slower meanwhile, nor afterwards where it came to nothing.
    """

    def __init__(
        self, documents: int, characters: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most_documents, self._most_characters = documents, characters
        self._clock = clock
        self._works: list[_Work] = []
        self.documents = 0
        self.characters = 0
        self._done = 0.0  # characters, fading
        self._busy = 0.0  # seconds of the model's time that they took, fading
        self._since = clock()
        self._last = -math.inf  # when something was done

    @contextmanager
    def place(self, sizes: Sequence[int], deadline: float) -> Iterator[None]:
        """A place for the duration of the work: documents of so many characters each.

        Raises Refused where there is no room, or where what is ahead and the work itself would take
        longer than most of ``deadline`` seconds: it would be for nothing. An empty queue takes
        anything.
        """
        documents, characters, own = len(sizes), sum(sizes), max(sizes, default=0)
        wait = self.wait(own)
        late = wait + self._seconds(characters) > _PATIENCE * deadline
        full = (
            self.documents + documents > self._most_documents
            or self.characters + characters > self._most_characters
        )
        if self.documents and (full or late):
            raise Refused(wait)
        self._advance()
        work = _Work(tuple(sizes), own, sum(min(size, TURN_CHARACTERS) for size in sizes))
        self._works.append(work)
        self.documents += documents
        self.characters += characters
        finished = False
        try:
            yield
            finished = True
        finally:
            self._advance()
            self._works.remove(work)
            self.documents -= documents
            self.characters -= characters
            if finished:
                self._last = self._since
                self._done += characters
                self._busy += work.held
                for other in self._works:
                    if other.longest <= max(own, TURN_CHARACTERS):  # it waited for this one
                        self._busy += other.held
                        other.held = 0.0

    def wait(self, own: int = 0) -> float:
        """Seconds until what is ahead of a document of ``own`` characters is read, by what was done
        lately; 0 where unknown."""
        return self._seconds(sum(work.before(own) for work in self._works))

    def moves(self, seconds: float) -> bool:
        """Whether there is work under way, and some was done in the last ``seconds``."""
        return bool(self._works) and self._clock() - self._last <= seconds

    def _seconds(self, characters: int) -> float:
        if self._done <= 0 or self._busy <= 0:
            return 0.0
        return characters * self._busy / self._done

    def _advance(self) -> None:
        now = self._clock()
        passed, self._since = now - self._since, now
        if not self._works or passed <= 0:
            return
        fade = 0.5 ** (passed / _HALF_LIFE_S)
        self._done *= fade
        self._busy *= fade
        least = min(min(work.sizes, default=0) for work in self._works)
        # One more each, so that empty documents have a share, too.
        shares = [work.before(least) + len(work.sizes) for work in self._works]
        total = max(1, sum(shares))
        for work, share in zip(self._works, shares, strict=True):
            work.held += passed * share / total


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
