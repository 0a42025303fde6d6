"""The loop: admit, schedule, decode, advance, retire. One thread steps, one prepares.

The preparing thread compiles grammars a few requests ahead, so neither the callers nor the steps
wait for it (llguidance and llama.cpp both drop the GIL meanwhile). It never is far ahead: ten
thousand queued documents do not hold ten thousand compiled grammars.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from time import perf_counter

from actors.engine.inbox import Inbox
from actors.engine.request import Completion, EngineLost, Request, RequestRefused
from actors.engine.runner import Block, Logits, Runner
from actors.engine.scheduler import Scheduler
from actors.engine.sequence import SequenceState, Techniques
from actors.engine.telling import Tell
from actors.futures import settle

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counters:
    """Running totals of one engine: steps, tokens computed, rows of logits, generated tokens;
    seconds in the model and in everything else of a step."""

    steps: int = 0
    tokens: int = 0
    rows: int = 0
    generated: int = 0
    model_seconds: float = 0.0
    host_seconds: float = 0.0


class Engine:
    """Continuous batching over one Runner. ``submit`` is thread-safe."""

    def __init__(self, runner: Runner, slots: int, techniques: Techniques | None = None) -> None:
        """Starts the threads. The engine owns ``runner`` from here on and closes it."""
        self._runner = runner
        self._techniques = techniques or Techniques()
        self._scheduler = Scheduler(runner, slots, self._techniques)
        self.counters = Counters()
        self._inbox: Inbox[tuple[Request, Future[Completion], Tell | None]] = Inbox()
        self._ready: deque[SequenceState] = deque()
        self._ahead = slots
        self._changed = threading.Condition()
        self._lost: EngineLost | None = None
        self._threads = [
            threading.Thread(target=self._prepare_all, name="engine-prepare", daemon=True),
            threading.Thread(target=self._step_all, name="engine-step", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, request: Request, tell: Tell | None = None, asker: Hashable = None
    ) -> Future[Completion]:
        """Queue a request. Its future can be cancelled at any time until it is done; it holds
        RequestRefused where this request cannot be served, EngineLost where the model is gone.

        ``tell`` is called with the output's text as it comes, the last time before the future is
        done. ``asker``: whose request it is; askers take turns, and who is not named is alone.
        """
        future: Future[Completion] = Future()
        with self._changed:
            if self._lost is None:
                self._inbox.put((request, future, tell), future if asker is None else asker)
                self._changed.notify_all()
                return future
        future.set_exception(self._lost)
        return future

    def close(self) -> None:
        """Stop; what is queued or running is cancelled. Safe to call twice."""
        self._end(EngineLost("the engine is closed"), cancel=True)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        self._runner.close()

    def _prepare_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._lost or (self._inbox and len(self._ready) < self._ahead)
                )
                if self._lost:
                    return
                request, future, tell = self._inbox.take()
            state = self._prepare(request, future, tell)
            with self._changed:
                if state is not None and self._lost is not None:
                    settle(future, self._lost)
                elif state is not None:
                    self._ready.append(state)
                self._changed.notify_all()

    def _prepare(
        self, request: Request, future: Future[Completion], tell: Tell | None
    ) -> SequenceState | None:
        if future.cancelled():
            return None
        try:
            return SequenceState(request, future, self._runner, self._techniques, tell)
        except RequestRefused as refused:
            settle(future, refused)
        except BaseException as error:
            # Whatever a compiler raises may quote its input: only its type goes on. A panic in
            # llguidance's Rust is a BaseException; nothing else of that kind comes to a thread.
            settle(future, RequestRefused(f"{type(error).__name__} while preparing the request"))
        return None

    def _step_all(self) -> None:
        scheduler = self._scheduler
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._lost or self._ready or scheduler.active or scheduler.waiting
                )
                if self._lost:
                    return
                if len(scheduler.waiting) < self._ahead and self._ready:
                    scheduler.waiting.extend(self._ready)
                    self._ready.clear()
                    self._changed.notify_all()
            try:
                self._step()
            except BaseException as error:
                _log.error("the engine is lost: %s in a step", type(error).__name__)
                self._end(EngineLost(f"{type(error).__name__} in a step of the model"))
                return

    def _step(self) -> None:
        """One turn of the loop; raises whatever the runner raises."""
        began = perf_counter()
        scheduler, counters = self._scheduler, self.counters
        scheduler.drop_cancelled()
        scheduler.admit()
        self._finish()
        chosen = scheduler.schedule()
        if not chosen:
            return
        blocks = [block for _, block in chosen]
        asked = perf_counter()
        rows = self._runner.decode(blocks)
        answered = perf_counter()
        count = sum(len(block.tokens) for block in blocks)
        place = 0
        for state, block in chosen:
            state.seconds += (answered - asked) * len(block.tokens) / count
            generated = state.generated
            self._advance(state, block, rows[place : place + block.rows])
            counters.generated += state.generated - generated
            place += block.rows
            if state not in scheduler.active:
                continue
            state.stream()
            if state.computed < block.start + len(block.tokens):
                self._runner.trim(state.slot, state.computed)
            entry = state.entry
            if entry is not None and not entry.ready and state.computed >= len(entry.tokens):
                scheduler.prefixes.fill(entry, state.slot)
        self._finish()
        counters.steps += 1
        counters.tokens += count
        counters.rows += place
        counters.model_seconds += answered - asked
        counters.host_seconds += perf_counter() - began - (answered - asked)

    def _advance(self, state: SequenceState, block: Block, rows: Logits) -> None:
        try:
            state.advance(block, rows)
        except BaseException as error:  # also a panic in llguidance: this request fails alone
            self._scheduler.retire(state)
            settle(state.future, RequestRefused(f"{type(error).__name__} while choosing a token"))

    def _finish(self) -> None:
        for state in [s for s in self._scheduler.active if s.finish_reason is not None]:
            self._scheduler.retire(state)
            state.stream()
            settle(state.future, state.completion())

    def _end(self, lost: EngineLost, cancel: bool = False) -> None:
        with self._changed:
            if self._lost is not None:
                return
            self._lost = lost
            futures = [future for _, future, _ in self._inbox]
            futures += [state.future for state in self._ready]
            self._inbox.clear()
            self._ready.clear()
            self._changed.notify_all()
        if threading.current_thread() is not self._threads[1]:
            self._threads[1].join()  # the scheduler belongs to the stepping thread
        futures += [state.future for state in self._scheduler.waiting]
        futures += [state.future for state in self._scheduler.active]
        for future in futures:
            if not (cancel and future.cancel()):
                settle(future, lost)
