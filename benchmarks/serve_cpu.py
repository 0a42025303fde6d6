"""CPU time that the server's processes take for a request, for benchmarks/serve.py.

What they take while nothing is asked (health checks, Ray's own work) is measured before and
subtracted. Requests follow one another, so nothing is shared between two of them: the dearest way
to be asked.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks import serve_load
from benchmarks.serve_process import TICKS, members

ROLES = {
    "ray::ProxyActor": "proxy",
    "ray::ServeReplica:medspan:http": "front",
    "ray::ServeReplica:medspan:model-": "models",
}
"""Titles of Ray's processes begin so."""
_REST = "rest"  # all other processes
_WARM, _IDLE_S = 30, 8.0


def cpu_seconds(session: int) -> dict[str, float]:
    """CPU seconds so far by role."""
    found = dict.fromkeys((*ROLES.values(), _REST), 0.0)
    for folder in members(session):
        try:
            title = (folder / "cmdline").read_bytes().decode(errors="replace")
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it has just ended
        role = next((role for prefix, role in ROLES.items() if title.startswith(prefix)), _REST)
        found[role] += (int(fields[11]) + int(fields[12])) / TICKS
    return found


def cpu_of_requests(
    url: str, session: int, body: dict[str, Any], requests: int = 300
) -> dict[str, Any]:
    """CPU milliseconds a request by role; ``proxy_and_front`` is what serving costs beside the
    model."""
    serve_load.sequence(url, body, _WARM)
    before, began = cpu_seconds(session), time.perf_counter()
    time.sleep(_IDLE_S)
    idle = _rate(before, cpu_seconds(session), time.perf_counter() - began)
    before, began = cpu_seconds(session), time.perf_counter()
    outcome = serve_load.sequence(url, body, requests)
    seconds = time.perf_counter() - began
    busy = _rate(before, cpu_seconds(session), seconds)
    ms = {role: round((busy[role] - idle[role]) * seconds * 1000 / requests, 2) for role in busy}
    return {
        "requests": requests,
        "statuses": dict(outcome.statuses),
        "p50_s": serve_load.percentile(outcome.latencies, 50),
        "ms": ms,
        "proxy_and_front_ms": round(ms["proxy"] + ms["front"], 2),
        "idle_ms_per_s": {role: round(rate * 1000, 1) for role, rate in sorted(idle.items())},
    }


def _rate(before: dict[str, float], after: dict[str, float], seconds: float) -> dict[str, float]:
    """CPU seconds a second."""
    return {role: (after[role] - before[role]) / seconds for role in after}
