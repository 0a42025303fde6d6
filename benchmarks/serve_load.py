"""Load for benchmarks/serve.py: requests in a closed loop, and in an open one that does not wait.

An open loop sends at the times that were drawn beforehand, whatever became of the requests before;
latency counts from the drawn time, so a server that stalls cannot hide it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

Bodies = Sequence[dict[str, Any]]


@dataclass
class Outcome:
    """The outcome of a set of requests."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """Of answers with 200."""
    refusals: list[float] = field(default_factory=list)
    """Latencies of answers with 429."""
    statuses: Counter[str] = field(default_factory=Counter)
    good: float | None = None
    """Answers with 200, where parts of them count; None: as many as there are latencies."""

    @property
    def good_per_s(self) -> float:
        """Answers with 200 a second."""
        good = len(self.latencies) if self.good is None else self.good
        return good / self.seconds

    def as_dict(self) -> dict[str, Any]:
        """For the result."""
        return {
            "seconds": round(self.seconds, 2),
            "requests": sum(self.statuses.values()),
            "statuses": dict(self.statuses),
            "good_per_s": round(self.good_per_s, 3),
            **{f"p{p}_s": percentile(self.latencies, p) for p in (50, 95, 99)},
            "refusal_p50_s": percentile(self.refusals, 50),
            "refusal_p99_s": percentile(self.refusals, 99),
        }


def percentile(values: Sequence[float], p: float) -> float | None:
    """The p-th percentile, or None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))], 4)


def part(sent: float, done: float, began: float, ended: float) -> float:
    """The part of [sent, done] that lies in [began, ended]."""
    return max(0.0, min(done, ended) - max(sent, began)) / (done - sent)


def closed(url: str, bodies: Bodies, clients: int, seconds: float) -> Outcome:
    """``clients`` that each send a request when their last is answered. Counting begins when each
    has had an answer, and ends while all are waiting for one: neither the filling nor the emptying
    of the server is in it. Of a request that is under way when counting begins or ends, the part
    of its time that is counted counts: answers come in bursts."""
    return asyncio.run(_closed(url, bodies, clients, seconds))


def opened(url: str, bodies: Bodies, rate: float, seconds: float) -> Outcome:
    """Poisson arrivals of ``rate`` requests a second."""
    return asyncio.run(_opened(url, bodies, rate, seconds))


def sequence(url: str, body: dict[str, Any], count: int) -> Outcome:
    """So many requests, one after the other, over one connection."""
    return asyncio.run(_sequence(url, body, count))


def http_client(timeout: float = 120) -> httpx2.AsyncClient:
    """A client with as many connections as there are requests under way. ``timeout``: seconds."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=64)
    return httpx2.AsyncClient(timeout=timeout, limits=limits)


async def send(
    http: httpx2.AsyncClient, url: str, body: dict[str, Any], since: float, outcome: Outcome
) -> None:
    """Send a request and record its outcome, with the time from ``since`` (perf_counter)."""
    try:
        status = str((await http.post(url, json=body)).status_code)
    except httpx2.HTTPError as error:
        status = type(error).__name__
    seconds = time.perf_counter() - since
    outcome.statuses[status] += 1
    if status == "200":
        outcome.latencies.append(seconds)
    elif status == "429":
        outcome.refusals.append(seconds)


async def _sequence(url: str, body: dict[str, Any], count: int) -> Outcome:
    outcome, began = Outcome(), time.perf_counter()
    async with http_client() as http:
        for _ in range(count):
            await send(http, url, body, time.perf_counter(), outcome)
    outcome.seconds = time.perf_counter() - began
    return outcome


async def _closed(url: str, bodies: Bodies, clients: int, seconds: float) -> Outcome:
    ring, spans = itertools.cycle(bodies), []
    answered = [asyncio.Event() for _ in range(clients)]
    over = asyncio.Event()
    async with http_client() as http:

        async def client(number: int) -> None:
            while not over.is_set():
                outcome, sent = Outcome(), time.perf_counter()
                await send(http, url, next(ring), sent, outcome)
                spans.append((sent, time.perf_counter(), outcome))
                answered[number].set()

        tasks = [asyncio.create_task(client(number)) for number in range(clients)]
        for event in answered:
            await event.wait()
        began = time.perf_counter()
        await asyncio.sleep(seconds)
        ended = time.perf_counter()
        over.set()
        await asyncio.wait(tasks)
    total = Outcome(seconds=ended - began, good=0.0)
    for sent, done, outcome in spans:
        if counted := part(sent, done, began, ended):
            total.good = (total.good or 0.0) + len(outcome.latencies) * counted
            total.latencies += outcome.latencies
            total.refusals += outcome.refusals
            total.statuses += outcome.statuses
    return total


async def _opened(url: str, bodies: Bodies, rate: float, seconds: float) -> Outcome:
    outcome, ring, draw = Outcome(), itertools.cycle(bodies), random.Random(0)
    async with http_client() as http:
        began = at = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            while (at := at + draw.expovariate(rate)) - began < seconds:
                await asyncio.sleep(max(0.0, at - time.perf_counter()))
                group.create_task(send(http, url, next(ring), at, outcome))
        # To the last answer: what waited at the end counts with the time that it took.
        outcome.seconds = max(seconds, time.perf_counter() - began)
    return outcome


def watch(measure: Callable[[], float], every: float, until: Callable[[], bool]) -> list[float]:
    """Values of ``measure`` taken every so many seconds."""
    values = []
    while not until():
        values.append(measure())
        time.sleep(every)
    return values
