"""The ONNX Extractor backend: one lane for short documents and one for long ones.

Each lane is a thread that processes its queue in batches, on a thread pool of its own. A short
document shares the cores with the batches of long ones already running, and waits for none.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from actors.config import OnnxModel
from actors.futures import settle
from actors.guideline import Guideline
from actors.memory import memory_held, taken_since
from actors.onnx.narrowing import narrowed
from actors.onnx.reader import Reader
from actors.onnx.reading import Reading
from actors.spans import Document, Extraction, Moved, Tell, unheard
from actors.turns import CHARACTERS_PER_TOKEN, TURN_CHARACTERS, TURN_TOKENS

_LOG = logging.getLogger(__name__)

# Text taken out of the queue at a time, in batches' worth of tokens: enough windows to pack well,
# few enough that the first document of a long queue comes out soon.
_BATCHES_AHEAD = 16
# Of documents whose tokens are held at a time; the next long one waits until there are fewer.
_MOST_CHARACTERS = 16_000_000

_Asked = tuple[Document, Guideline | None, Future[Extraction]]
_UnderWay = dict[Future[Extraction], tuple[Reading, Guideline | None]]


@dataclass(slots=True, eq=False)
class _Lane:
    """Documents of one kind that wait, and the threads that run their batches. ``came``: whether
    any came since the queue was last looked at."""

    long: bool
    runners: ThreadPoolExecutor
    queue: deque[_Asked] = field(default_factory=deque)
    came: bool = False


class ModelLost(RuntimeError):
    """The model cannot go on in this process, such as after a fault of the card."""


class OnnxBackend:
    """A token classifier behind ``submit``, configured by an ``OnnxModel``.

    ``threads``: CPU threads; None: all cores of this process. ``gpu``: the share of one GPU, 0 for
    none; None: whatever is visible. ``moved`` is called after each batch. ``cpu_fallback``: warn
    instead of failing if onnxruntime cannot use the GPU. Raises like ``Reader`` if the model cannot
    be loaded.
    """

    def __init__(
        self,
        config: OnnxModel,
        threads: int | None,
        gpu: float | None,
        moved: Moved = unheard,
        cpu_fallback: bool = False,
    ) -> None:
        before = memory_held()
        self._reader = Reader(config, threads, gpu, cpu_fallback)
        self.took = taken_since(before)
        """Bytes that the process has grown by while the model was loaded and tried."""
        self._name = config.name
        self._moved = moved
        self._ahead = _BATCHES_AHEAD * config.session.batch_tokens
        self._changed = threading.Condition()
        self._closed = False
        self._lost: ModelLost | None = None
        self._lanes = [
            _Lane(long, ThreadPoolExecutor(self._reader.parallel, f"onnx-{config.name}"))
            for long in (False, True)
        ]
        self._threads = [
            threading.Thread(
                target=self._work, args=(lane,), name=f"onnx-{config.name}", daemon=True
            )
            for lane in self._lanes
        ]
        for thread in self._threads:
            thread.start()

    @property
    def fingerprint(self) -> str:
        """Digest of the model file's settings and of the weights, tokenizer and labels."""
        return self._reader.fingerprint

    def submit(
        self, document: Document, guideline: Guideline | None = None, tell: Tell | None = None
    ) -> Future[Extraction]:
        """Queue a document; thread-safe. The future has an exception only if the model is lost.

        Cancelling it frees the model for others at the next batch. ``guideline`` chooses among the
        model's labels. ``tell`` hears nothing: nothing is printed.
        Raises RuntimeError after ``close``.
        """
        future: Future[Extraction] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError(f"model {self._name} is closed")
            if self._lost is not None:
                future.set_exception(self._lost)
                return future
            lane = self._lanes[len(document.text or "") > TURN_CHARACTERS]
            lane.queue.append((document, guideline, future))
            lane.came = True
            self._changed.notify_all()
        return future

    def close(self) -> None:
        """End the threads after the batches that run; what is not done by then is cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for lane in self._lanes:
            lane.runners.shutdown()

    def _work(self, lane: _Lane) -> None:
        under_way: _UnderWay = {}
        try:
            while self._wait(lane, busy=bool(under_way)):
                for document, guideline, future in self._take(lane, under_way):
                    # The future can be cancelled until its result is set.
                    if future.cancelled():
                        future.set_running_or_notify_cancel()
                    else:
                        under_way[future] = self._reader.open(document, future.cancelled), guideline
                self._read(lane, under_way)
        except Exception as error:
            _LOG.error("model %s is lost: %s", self._name, type(error).__name__)
            lost = ModelLost(f"model {self._name} is lost: {type(error).__name__}")
            lost.__cause__ = error
            with self._changed:
                self._lost = lost
                self._changed.notify_all()
        self._abandon(lane, under_way)

    def _read(self, lane: _Lane, under_way: _UnderWay) -> None:
        """Process the next batches. Short documents run to completion. Of the long ones, as many
        get a turn as fill the look-ahead; the turn ends as soon as others arrive, and they go to
        the back."""
        turns, tokens = list(under_way), self._ahead
        if lane.long:
            turns = turns[: max(1, self._ahead // TURN_TOKENS)]
            tokens = max(TURN_TOKENS, self._ahead // max(1, len(turns)))
        unread = [under_way[future][0] for future in turns if not under_way[future][0].done]
        self._reader.advance(
            unread,
            tokens,
            lane.runners,
            lambda: not (self._closed or (lane.long and lane.came)),
            self._moved,
        )
        for future in turns:
            reading, guideline = under_way[future]
            if reading.done:
                self._answer(future, reading, guideline)
                del under_way[future]
            elif not reading.waiting:
                under_way[future] = under_way.pop(future)

    def _answer(
        self, future: Future[Extraction], reading: Reading, guideline: Guideline | None
    ) -> None:
        """Settle the future of a finished document, unless it is cancelled."""
        found = None
        if not reading.given_up():
            found = narrowed(self._reader.extraction(reading), guideline)
        # From here on it can no longer be cancelled, so the result is always delivered.
        if found is None:
            future.set_running_or_notify_cancel()
        else:
            settle(future, found)

    def _wait(self, lane: _Lane, busy: bool) -> bool:
        """Wait for work; return False if the lane should stop."""
        with self._changed:
            while not (busy or lane.queue or self._closed or self._lost):
                self._changed.wait()
            return not (self._closed or self._lost)

    def _take(self, lane: _Lane, under_way: _UnderWay) -> list[_Asked]:
        """Take the documents to open next from the queue."""
        held = sum(len(reading.document.text or "") for reading, _ in under_way.values())
        room = min(self._ahead * CHARACTERS_PER_TOKEN, _MOST_CHARACTERS - held)
        taken: list[_Asked] = []
        with self._changed:
            lane.came = False
            while lane.queue and room > 0:
                taken.append(lane.queue.popleft())
                room -= len(taken[-1][0].text or "")
        return taken

    def _abandon(self, lane: _Lane, under_way: _UnderWay) -> None:
        """Cancel every pending future of the lane, or fail it with the loss of the model."""
        with self._changed:
            lost, waiting = self._lost, [future for _, _, future in lane.queue]
            lane.queue.clear()
        for future in [*waiting, *under_way]:
            if lost is None:
                future.cancel()
                future.set_running_or_notify_cancel()
            else:
                settle(future, lost)
