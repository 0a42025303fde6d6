"""Admission control: a bounded queue per model and a rate limit per client.

Rejecting a request early is cheap and tells the client when to retry; admitted requests then meet
their deadlines.
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
_DEADLINE_SHARE = 0.8
"""Part of the deadline that the expected wait and work may take. With the whole deadline, at three
times the capacity one admitted request in a hundred was late."""


class Rejected(Exception):
    """Rejected for now; ``retry_after``: seconds (1 to 60) until a retry may succeed."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("refused")
        self.retry_after = max(1, min(60, math.ceil(retry_after)))


@dataclass(slots=True, eq=False)
class _Work:
    """One request in flight.

    ``brief``: the characters of it that run before a short document. ``held``: seconds of the
    model's time attributed to it and not yet charged.
    """

    sizes: tuple[int, ...]
    longest: int
    brief: int
    held: float = 0.0

    def before(self, own: int) -> int:
        """Characters of it that run before a document of ``own`` characters finishes."""
        if own <= TURN_CHARACTERS:
            return self.brief
        return sum(min(size, own) for size in self.sizes)


class Queue:
    """Requests that wait for one model or run in it, bounded in documents and characters.

    Models process documents round-robin. Before a document finishes, every other one has advanced
    by about that document's length, or by one turn. Elapsed time is attributed to the requests in
    the same proportions, and is charged when a document of similar length finishes. So a document
    that takes minutes does not make the model look slow meanwhile, nor afterwards if it is
    cancelled.
    """

    def __init__(
        self, documents: int, characters: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most_documents, self._most_characters = documents, characters
        self._clock = clock
        self._works: list[_Work] = []
        self.documents = 0
        self.characters = 0
        self._done = 0.0  # characters finished, exponentially decayed
        self._busy = 0.0  # model seconds charged for them, exponentially decayed
        self._since = clock()
        self._last = -math.inf  # time of the last finished request

    @contextmanager
    def place(self, sizes: Sequence[int], deadline: float) -> Iterator[None]:
        """Reserve capacity for a request of documents of these sizes, in characters.

        Raises Refused if the queue is full, or if the expected wait and work exceed most of
        ``deadline`` seconds, so that the answer would come too late. An empty queue admits any
        request.
        """
        documents, characters, own = len(sizes), sum(sizes), max(sizes, default=0)
        wait = self.wait(own)
        late = wait + self._seconds(characters) > _DEADLINE_SHARE * deadline
        full = (
            self.documents + documents > self._most_documents
            or self.characters + characters > self._most_characters
        )
        if self.documents and (full or late):
            raise Rejected(wait)
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
                    if other.longest <= max(
                        own, TURN_CHARACTERS
                    ):  # no longer than the finished one: charge its time
                        self._busy += other.held
                        other.held = 0.0

    def wait(self, own: int = 0) -> float:
        """Expected seconds until the work ahead of a document of ``own`` characters is done, from
        recent throughput; 0 if unknown."""
        return self._seconds(sum(work.before(own) for work in self._works))

    def is_progressing(self, seconds: float) -> bool:
        """True if requests are in flight and one finished within the last ``seconds``."""
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
        # One extra per document, so that empty documents also get a share.
        shares = [work.before(least) + len(work.sizes) for work in self._works]
        total = max(1, sum(shares))
        for work, share in zip(self._works, shares, strict=True):
            work.held += passed * share / total


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Rate:
    """Token-bucket rate limit per client; the burst is a sixth of the requests per minute."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60
        self._burst = max(1.0, per_minute / 6)
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, client: str) -> None:
        """Count a request; raises Refused if the client has exceeded its rate."""
        now = self._clock()
        bucket = self._buckets.pop(client, None) or _Bucket(self._burst, now)
        bucket.left = min(self._burst, bucket.left + (now - bucket.at) * self._per_second)
        bucket.at = now
        self._buckets[client] = bucket
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)  # the least recently seen client
        if bucket.left < 1:
            raise Rejected((1 - bucket.left) / self._per_second)
        bucket.left -= 1
