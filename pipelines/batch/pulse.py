"""Progress within a unit: a run with a document that takes an hour is slow, not stalled.

Ray only sees progress when a unit moves from one stage to the next. Stage actors report progress
within a unit (a document, a batch of windows, tokens) to one small Ray actor, which the driver
polls during the execution.
"""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.data import DataContext
from ray.data._internal.execution.execution_callback import ExecutionCallback

_EVERY_S = 2.0


class _Counter:
    """Counts progress reports."""

    def __init__(self) -> None:
        self._reports = 0

    def add(self) -> None:
        """Record one report."""
        self._reports += 1

    def count(self) -> int:
        """The number of reports so far."""
        return self._reports


class Pulse:
    """The progress callback of a stage; it is pickled to the actors. It forwards at most one report
    every two seconds, so it may be called for every token."""

    def __init__(self, counter: Any) -> None:
        self._counter = counter
        self._last = 0.0

    def __call__(self) -> None:
        """Report progress."""
        now = time.monotonic()
        if now - self._last >= _EVERY_S:
            self._last = now
            self._counter.add.remote()


def watched(context: DataContext) -> Pulse:
    """A Pulse for executions in this context: while it beats, Ray's no-progress guard does not
    abort them."""
    counter: Any = ray.remote(num_cpus=0)(_Counter).remote()

    class Watch(ExecutionCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self._seen = 0
            self._pending: Any = None
            self._last = 0.0

        def on_execution_step(self, executor: Any) -> None:
            """Check the last reply, if it has arrived, and poll again; never blocks."""
            if self._pending is not None and ray.wait([self._pending], timeout=0)[0]:
                try:
                    reports = ray.get(self._pending)
                except ray.exceptions.RayError:
                    reports = self._seen  # its node is lost: from now on only units count
                self._pending = None
                if reports != self._seen:
                    self._seen = reports
                    # Ray has no API to reset its guard; a test fails if the attribute changes.
                    guard = executor._no_progress_guard
                    guard._last_progress_time = time.monotonic()
            if self._pending is None and time.monotonic() - self._last >= _EVERY_S:
                self._last = time.monotonic()
                self._pending = counter.count.remote()

    context.custom_execution_callback_classes = [Watch]
    return Pulse(counter)
