"""Latency of short requests by load, alone and beside one huge document, for benchmarks/serve.py.

The load is an open loop at parts of the capacity. Beside it another client has one huge document
read, and sends it again whenever it is answered.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from benchmarks import serve_load

LEVELS = (0.25, 0.5, 0.75, 0.9)
"""Open load, as parts of the capacity."""
_HALF = "0.5"
_BEGIN_S = 2.0
# Answered; or it waits for its turn again; or its deadline came.
_UNDER_WAY = {"200", "429", "504"}
_AGAIN_S = 0.5  # a rejected one is not sent again at once


@contextmanager
def huge_beside(url: str, body: dict[str, Any]) -> Iterator[serve_load.Outcome]:
    """One huge document under way during the block; yields what became of it so far. At the end
    its connection is closed, which cancels it."""
    outcome = serve_load.Outcome()
    loop = asyncio.new_event_loop()
    began = time.perf_counter()

    async def endless() -> None:
        async with serve_load.http_client(timeout=600) as http:
            while True:
                before = outcome.statuses.total()
                await serve_load.send(http, url, body, time.perf_counter(), outcome)
                if outcome.statuses.total() == before or not outcome.latencies:
                    await asyncio.sleep(_AGAIN_S)

    task = loop.create_task(endless())

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(_BEGIN_S)
    try:
        yield outcome
    finally:
        outcome.seconds = time.perf_counter() - began
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()


def latency_by_load(
    url: str, short: serve_load.Bodies, huge: dict[str, Any], capacity: float, seconds: float
) -> dict[str, Any]:
    """Latency of the short requests one after the other, and at each level of ``capacity``
    requests a second, without and with the huge document beside them."""
    if capacity <= 0:
        raise SystemExit(f"{url}: no request was answered with 200")
    lone = serve_load.closed(url, short, 1, seconds)
    alone = {
        str(level): serve_load.opened(url, short, capacity * level, seconds).as_dict()
        for level in LEVELS
    }
    beside: dict[str, dict[str, Any]] = {}
    for level in LEVELS:
        with huge_beside(url, huge) as read:
            found = serve_load.opened(url, short, capacity * level, seconds)
        if refused := read.statuses.keys() - _UNDER_WAY:
            raise SystemExit(f"{url}: the huge document was not read: {', '.join(refused)}")
        beside[str(level)] = found.as_dict() | {"huge_statuses": dict(read.statuses)}
        time.sleep(_BEGIN_S)  # until what was cancelled has left the model
    return {"lone": lone.as_dict(), "open_loop": alone, "open_loop_beside_huge": beside}


def ratios(name: str, found: dict[str, Any]) -> dict[str, float | None]:
    """p95 of short requests at half of the capacity over the median of a lone one."""
    lone = found["lone"]["p50_s"]
    return {
        f"{name}_p95_at_half": _over(found["open_loop"][_HALF]["p95_s"], lone),
        f"{name}_p95_at_half_beside_huge": _over(
            found["open_loop_beside_huge"][_HALF]["p95_s"], lone
        ),
    }


def _over(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else value / base
