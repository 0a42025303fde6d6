"""The engine loop: admit, schedule, decode, advance, retire. One thread steps, one prepares.

The preparing thread compiles grammars a few requests ahead, so neither callers nor steps wait for
it (llguidance and llama.cpp both release the GIL meanwhile). The look-ahead is bounded: ten
thousand queued documents do not hold ten thousand compiled grammars.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from time import perf_counter

from actors.engine.fair_queue import FairQueue
from actors.engine.request import Completion, EngineLost, Request, RequestRefused
from actors.engine.runner import Block, Logits, Runner
from actors.engine.scheduler import Scheduler
from actors.engine.sequence import SequenceState, Techniques
from actors.engine.text_stream import OnOutput
from actors.futures import settle

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counters:
    """Running totals of one engine: steps, tokens computed, rows of logits, generated tokens;
    seconds in the model and in the rest of each step."""

    steps: int = 0
    tokens: int = 0
    rows: int = 0
    generated: int = 0
    model_seconds: float = 0.0
    host_seconds: float = 0.0


class Engine:
    """Continuous batching over a Runner. ``submit`` is thread-safe."""

    def __init__(self, runner: Runner, slots: int, techniques: Techniques | None = None) -> None:
        """Start the threads. The engine takes ownership of ``runner`` and closes it."""
        self._runner = runner
        self._techniques = techniques or Techniques()
        self._scheduler = Scheduler(runner, slots, self._techniques)
        self.counters = Counters()
        self._pending: FairQueue[tuple[Request, Future[Completion], OnOutput | None]] = FairQueue()
        self._ready: deque[SequenceState] = deque()
        self._lookahead = slots
        self._changed = threading.Condition()
        self._failure: EngineLost | None = None
        self._threads = [
            threading.Thread(target=self._prepare_all, name="engine-prepare", daemon=True),
            threading.Thread(target=self._step_all, name="engine-step", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, request: Request, on_text: OnOutput | None = None, client: Hashable = None
    ) -> Future[Completion]:
        """Queue a request. Its future can be cancelled until it is done; it raises RequestRefused
        if this request cannot be served, and EngineLost if the model is gone.

        ``on_text`` is called with the output's text as it streams, for the last time before the
        future is done. Clients are served round-robin; a request without a ``client`` counts as its
        own.
        """
        future: Future[Completion] = Future()
        with self._changed:
            if self._failure is None:
                self._pending.put((request, future, on_text), future if client is None else client)
                self._changed.notify_all()
                return future
        future.set_exception(self._failure)
        return future

    def close(self) -> None:
        """Stop the engine and cancel queued and running requests. Idempotent."""
        self._end(EngineLost("the engine is closed"), cancel=True)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        self._runner.close()

    def _prepare_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._failure or (self._pending and len(self._ready) < self._lookahead)
                )
                if self._failure:
                    return
                request, future, on_text = self._pending.take()
            state = self._prepare(request, future, on_text)
            with self._changed:
                if state is not None and self._failure is not None:
                    settle(future, self._failure)
                elif state is not None:
                    self._ready.append(state)
                self._changed.notify_all()

    def _prepare(
        self, request: Request, future: Future[Completion], on_text: OnOutput | None
    ) -> SequenceState | None:
        if future.cancelled():
            return None
        try:
            return SequenceState(request, future, self._runner, self._techniques, on_text)
        except RequestRefused as rejection:
            settle(future, rejection)
        except BaseException as error:
            # A compiler's message may quote its input, so only the type is passed on. A panic in
            # llguidance's Rust code is a BaseException; no other BaseException reaches this thread.
            settle(future, RequestRefused(f"{type(error).__name__} while preparing the request"))
        return None

    def _step_all(self) -> None:
        scheduler = self._scheduler
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._failure or self._ready or scheduler.active or scheduler.waiting
                )
                if self._failure:
                    return
                if len(scheduler.waiting) < self._lookahead and self._ready:
                    scheduler.waiting.extend(self._ready)
                    self._ready.clear()
                    self._changed.notify_all()
            try:
                self._step()
            except BaseException as error:
                _log.error("engine failed: %s in a step", type(error).__name__)
                self._end(EngineLost(f"{type(error).__name__} in a step of the model"))
                return

    def _step(self) -> None:
        """Run one step of the loop; raises whatever the runner raises."""
        step_start = perf_counter()
        scheduler, counters = self._scheduler, self.counters
        scheduler.drop_cancelled()
        scheduler.admit()
        self._finish()
        chosen = scheduler.schedule()
        if not chosen:
            return
        blocks = [block for _, block in chosen]
        decode_start = perf_counter()
        rows = self._runner.decode(blocks)
        decode_end = perf_counter()
        count = sum(len(block.tokens) for block in blocks)
        place = 0
        for state, block in chosen:
            state.seconds += (decode_end - decode_start) * len(block.tokens) / count
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
        counters.model_seconds += decode_end - decode_start
        counters.host_seconds += perf_counter() - step_start - (decode_end - decode_start)

    def _advance(self, state: SequenceState, block: Block, rows: Sequence[Logits]) -> None:
        try:
            state.advance(block, rows)
        except BaseException as error:  # includes panics in llguidance; only this request fails
            self._scheduler.retire(state)
            settle(state.future, RequestRefused(f"{type(error).__name__} while choosing a token"))

    def _finish(self) -> None:
        for state in [s for s in self._scheduler.active if s.finish_reason is not None]:
            self._scheduler.retire(state)
            state.stream()
            settle(state.future, state.completion())

    def _end(self, failure: EngineLost, cancel: bool = False) -> None:
        with self._changed:
            if self._failure is not None:
                return
            self._failure = failure
            futures = [future for _, future, _ in self._pending]
            futures += [state.future for state in self._ready]
            self._pending.clear()
            self._ready.clear()
            self._changed.notify_all()
        if threading.current_thread() is not self._threads[1]:
            self._threads[1].join()  # only the stepping thread may touch the scheduler
        futures += [state.future for state in self._scheduler.waiting]
        futures += [state.future for state in self._scheduler.active]
        for future in futures:
            if not (cancel and future.cancel()):
                settle(future, failure)
