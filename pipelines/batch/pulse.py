"""Progress within a unit: a run with a document that takes an hour is slow, not stalled.

Ray only sees progress when a unit moves from one stage to the next. Stage actors report what they
do within a unit (steps, which are a batch of windows, a page or a piece of generated text, and
finished documents) to one small Ray actor, which the driver polls during the execution. The driver
starts it after a while: its process would take two CPU seconds from the start of a run.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread
from typing import Any
from weakref import WeakValueDictionary

import ray
from ray.data import DataContext
from ray.data._internal.execution.execution_callback import ExecutionCallback

_EVERY_S = 2.0
_AFTER_S = 10.0  # of an execution, or a quarter of the time after which it counts as stalled
_BUSY_S_PER_MB = 120.0  # CPU seconds: minutes for a book, seconds for a unit of notes
_LEAST_BUSY = 0.02  # share of a CPU: a loaded machine gives little, a waiting process takes less

Documents = Mapping[tuple[str, int], int]
"""Finished documents of a unit under way, by the unit and the stage."""
OnWork = Callable[[int, Documents], None]
"""Called with the steps of the run so far, and the documents of the units under way."""


class Observer:
    """The driver's side: what it is told, in the thread of the execution, and the units that it
    knows to be done."""

    def __init__(self, on_work: OnWork = lambda steps, documents: None) -> None:
        self.on_work = on_work
        self.ended: deque[str] = deque()


# By a key, since what a context refers to is pickled to every task, and by a function, since the
# globals of its callback are, too.
_observers: WeakValueDictionary[str, Observer] = WeakValueDictionary()


def _observer_of(key: str) -> Observer:
    return _observers.get(key) or Observer()


class _Counter:
    """Collects the reports of all stage actors."""

    def __init__(self) -> None:
        self._steps = 0
        self._documents: dict[tuple[str, int], int] = {}

    def add(self, steps: int, documents: dict[tuple[str, int], int]) -> None:
        """Record a report: steps since the last one of its actor, and the documents that it has
        finished of some units, all in all."""
        self._steps += steps
        self._documents |= documents

    def count(self, ended: Collection[str]) -> tuple[int, dict[tuple[str, int], int]]:
        """The steps so far, and the documents of units under way. ``ended``: units to forget."""
        if ended:
            self._documents = {k: n for k, n in self._documents.items() if k[0] not in ended}
        return self._steps, self._documents


class _NamedCounter:
    """Finds the counter of a run by its name; it is pickled to the actors."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._handle: Any = None

    def __reduce__(self) -> tuple[type[_NamedCounter], tuple[str]]:
        return _NamedCounter, (self._name,)

    def __call__(self) -> Any:
        """The actor's handle; None before the driver has started it."""
        if self._handle is None:
            with suppress(ValueError):
                self._handle = ray.get_actor(self._name)
        return self._handle


class Pulse:
    """The progress callbacks of a stage; it is pickled to the actors. It reports at most every two
    seconds, so it may be called for every token. ``counter`` returns the actor that it reports to,
    or None, and is asked again at the next report."""

    def __init__(self, counter: Callable[[], Any], stage: int = 0) -> None:
        self._counter, self._stage = counter, stage
        self._lock = Lock()
        self._last = 0.0
        self._steps = 0
        self._documents: dict[tuple[str, int], int] = {}

    def __reduce__(self) -> tuple[type[Pulse], tuple[Callable[[], Any], int]]:
        return Pulse, (self._counter, self._stage)

    def of(self, stage: int) -> Pulse:
        """The same for a stage."""
        return Pulse(self._counter, stage)

    def __call__(self) -> None:
        """Record a step."""
        with self._lock:
            self._steps += 1
            self._report()

    def finish_document(self, unit: str) -> None:
        """Record a finished document of a unit."""
        with self._lock:
            key = unit, self._stage
            self._documents[key] = self._documents.get(key, 0) + 1
            self._report()

    def end_unit(self, unit: str) -> None:
        """Forget a unit, after a last report of it."""
        with self._lock:
            self._last = -math.inf
            self._report()
            self._documents.pop((unit, self._stage), None)

    @contextmanager
    def while_busy(self, characters: int) -> Iterator[None]:
        """Record steps as long as this process uses CPU time inside, within a budget for so many
        characters.

        A book of 6 MB has hundreds of thousands of entities, which take minutes to decode, merge
        and write after the last window. The budget keeps a loop without end from looking like work.
        """
        ended = Event()

        def watch() -> None:
            left, last = _BUSY_S_PER_MB * characters / 1e6, time.process_time()
            while left > 0 and not ended.wait(_EVERY_S):
                now = time.process_time()
                if now - last > _EVERY_S * _LEAST_BUSY:
                    left -= now - last
                    self()
                last = now

        thread = Thread(target=watch, name="pulse", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _report(self) -> None:
        now = time.monotonic()
        if now - self._last >= _EVERY_S:
            self._last = now
            if (counter := self._counter()) is not None:
                counter.add.remote(self._steps, dict(self._documents))
                self._steps = 0


class NoPulse(Pulse):
    """Progress that nobody asks for."""

    def __init__(self) -> None:
        super().__init__(lambda: None)

    def __reduce__(self) -> tuple[type[NoPulse], tuple[()]]:  # type: ignore[override]
        return NoPulse, ()

    def _report(self) -> None:
        pass


def watched(context: DataContext, observer: Observer) -> Pulse:
    """A Pulse for executions in this context: while it beats, Ray's no-progress guard does not
    abort them. The caller keeps a reference to ``observer`` as long as it wants updates."""
    key = secrets.token_hex(8)
    _observers[key] = observer
    name = f"medspan-pulse-{key}"
    after = min(_AFTER_S, context.execution_no_progress_timeout_s / 4)

    class Watch(ExecutionCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self._counter: Any = None
            self._seen: Any = (0, {})
            self._pending: Any = None
            self._began = self._last = time.monotonic()

        def on_execution_step(self, executor: Any) -> None:
            """Check the last reply, if it has arrived, and poll again; never blocks."""
            if self._counter is None:
                if time.monotonic() - self._began < after:
                    return
                self._counter = ray.remote(num_cpus=0)(_Counter).options(name=name).remote()
            if self._pending is not None and ray.wait([self._pending], timeout=0)[0]:
                try:
                    seen = ray.get(self._pending)
                except ray.exceptions.RayError:
                    seen = self._seen  # its node is lost: from now on only units count
                self._pending = None
                if seen != self._seen:
                    self._seen = seen
                    # Ray has no API to reset its guard; a test fails if the attribute changes.
                    guard = executor._no_progress_guard
                    guard._last_progress_time = time.monotonic()
                    _observer_of(key).on_work(*seen)
            if self._pending is None and time.monotonic() - self._last >= _EVERY_S:
                self._last = time.monotonic()
                ended = _observer_of(key).ended
                self._pending = self._counter.count.remote(
                    {ended.popleft() for _ in range(len(ended))}
                )

    context.custom_execution_callback_classes = [Watch]
    return Pulse(_NamedCounter(name))
