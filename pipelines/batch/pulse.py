"""Signs of life within a unit: a run whose one document takes an hour is slow, not stalled.

Ray sees progress where a unit passes from stage to stage. Actors of stages tell of progress within
a unit (a document, a batch of windows, tokens) to one small Ray actor, which the driver asks at
steps of the execution.
"""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.data import DataContext
from ray.data._internal.execution.execution_callback import ExecutionCallback

_EVERY_S = 2.0


class _Counter:
    """How many signs there were."""

    def __init__(self) -> None:
        self._signs = 0

    def add(self) -> None:
        """There was one."""
        self._signs += 1

    def count(self) -> int:
        """All so far."""
        return self._signs


class Pulse:
    """What a stage calls at each progress; travels pickled to its actors. At most every two
    seconds one is passed on, so it may be called at every token."""

    def __init__(self, counter: Any) -> None:
        self._counter = counter
        self._last = 0.0

    def __call__(self) -> None:
        """There was progress."""
        now = time.monotonic()
        if now - self._last >= _EVERY_S:
            self._last = now
            self._counter.add.remote()


def watched(context: DataContext) -> Pulse:
    """A pulse that counts as progress for executions in this context: as long as it beats, Ray's
    guard against executions without progress does not strike."""
    counter: Any = ray.remote(num_cpus=0)(_Counter).remote()

    class Watch(ExecutionCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self._seen = 0
            self._asked: Any = None
            self._last = 0.0

        def on_execution_step(self, executor: Any) -> None:
            """Looks at the last answer, if there is one, and asks again; waits for nothing."""
            if self._asked is not None and ray.wait([self._asked], timeout=0)[0]:
                try:
                    signs = ray.get(self._asked)
                except ray.exceptions.RayError:
                    signs = self._seen  # its node is lost: units alone count from now on
                self._asked = None
                if signs != self._seen:
                    self._seen = signs
                    # Ray offers no way to tell its guard; the test of this fails should it change.
                    guard = executor._no_progress_guard
                    guard._last_progress_time = time.monotonic()
            if self._asked is None and time.monotonic() - self._last >= _EVERY_S:
                self._last = time.monotonic()
                self._asked = counter.count.remote()

    context.custom_execution_callback_classes = [Watch]
    return Pulse(counter)
