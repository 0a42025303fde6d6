"""The ONNX Extractor backend: one lane for short documents and one for long ones.

Each lane has a queue, and a thread pool that runs its batches. A short document shares the cores
with the batches of long ones already running, and waits for none. Two threads feed the batches of
short documents: while one tokenizes its documents or decodes their labels, those of the other run.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from actors.config import GlinerModel, OnnxModel
from actors.futures import settle
from actors.guideline import Guideline
from actors.memory import memory_by_place, memory_growth
from actors.onnx.gliner.gliner_reader import GlinerReader
from actors.onnx.tokens.token_classifier import TokenClassifier
from actors.spans import Document, Extraction, OnProgress, OnText, ignore_progress
from actors.turns import CHARACTERS_PER_TOKEN, TURN_CHARACTERS, TURN_TOKENS

_LOG = logging.getLogger(__name__)

# Text that a lane takes from its queue at once, in batches' worth of tokens: enough windows to pack
# well, few enough that the first document of a long queue finishes soon.
_BATCHES_AHEAD = 16
_SHORT_FEEDERS = 2
# Maximum characters of open documents; the next long document waits for space.
_MOST_CHARACTERS = 16_000_000

_Queued = tuple[Document, Guideline | None, Future[Extraction]]
_InFlight = dict[Future[Extraction], "OpenDocument"]
R = TypeVar("R", bound="OpenDocument")


class OpenDocument(Protocol):
    """An in-flight document of a model."""

    @property
    def document(self) -> Document:
        """The document itself."""

    @property
    def cancelled(self) -> Callable[[], bool]:
        """Return True if the caller has cancelled."""

    @property
    def done(self) -> bool:
        """True if its extraction is ready."""

    @property
    def waiting(self) -> Sequence[object]:
        """Windows that are scheduled but not run yet."""


class WindowedModel(Protocol[R]):
    """A loaded model that processes documents in rounds. Several threads may call it, each with its
    own documents."""

    @property
    def fingerprint(self) -> str:
        """Digest of everything that can change an answer."""

    @property
    def parallel(self) -> int:
        """Number of concurrent batches that keeps all threads busy."""

    def open(
        self, document: Document, guideline: Guideline | None, cancelled: Callable[[], bool]
    ) -> R:
        """Open a document for processing."""

    def advance(
        self,
        readings: Sequence[R],
        tokens: int,
        runners: ThreadPoolExecutor,
        go_on: Callable[[], bool],
        on_progress: OnProgress,
    ) -> None:
        """Run the next windows of all documents, ``tokens`` of each, in batches on ``runners``.

        Once ``go_on`` returns False, no new batch starts. Raises only if the model is lost.
        ``on_progress`` is called after each batch.
        """

    def extraction(self, reading: R) -> Extraction:
        """Build the Extraction of a finished document."""


@dataclass(slots=True, eq=False)
class _Lane:
    """A queue of documents of one kind, and the threads that run their batches.

    ``feeders``: how many threads take documents from it. ``ahead``: how many tokens' worth of text
    each of them takes at once. ``came``: True if any arrived since the queue was last read.
    """

    long: bool
    feeders: int
    ahead: int
    runners: ThreadPoolExecutor
    queue: deque[_Queued] = field(default_factory=deque)
    came: bool = False


class ModelLost(RuntimeError):
    """The model is unusable in this process, e.g. after a GPU error."""


class OnnxBackend:
    """A token classifier or a GLiNER model behind ``submit``, depending on its configuration.

    ``threads``: CPU threads; None: all cores of this process. ``gpu``: the share of one GPU, 0 for
    none; None: whatever is visible. ``on_progress`` is called after each batch. ``cpu_fallback``:
    warn instead of failing if onnxruntime cannot use the GPU. Raises like the reader if the model
    cannot be loaded.
    """

    def __init__(
        self,
        config: OnnxModel | GlinerModel,
        threads: int | None,
        gpu: float | None,
        on_progress: OnProgress = ignore_progress,
        cpu_fallback: bool = False,
    ) -> None:
        before = memory_by_place()
        self._reader: WindowedModel[Any] = (
            GlinerReader(config, threads, gpu, cpu_fallback)
            if isinstance(config, GlinerModel)
            else TokenClassifier(config, threads, gpu, cpu_fallback)
        )
        self.memory_used = memory_growth(before)
        """Bytes by which the process has grown while the model was loaded and probed."""
        self._name = config.name
        self._on_progress = on_progress
        ahead = _BATCHES_AHEAD * config.session.batch_tokens
        self._changed = threading.Condition()
        self._closed = False
        self._lost: ModelLost | None = None
        self._lanes = [
            _Lane(
                long,
                feeders,
                ahead // feeders,
                ThreadPoolExecutor(self._reader.parallel, f"onnx-{config.name}"),
            )
            for long, feeders in ((False, _SHORT_FEEDERS), (True, 1))
        ]
        self._threads = [
            threading.Thread(
                target=self._work, args=(lane,), name=f"onnx-{config.name}", daemon=True
            )
            for lane in self._lanes
            for _ in range(lane.feeders)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def fingerprint(self) -> str:
        """Digest of the model file's settings and of the weights, tokenizer and labels."""
        return self._reader.fingerprint

    def submit(
        self, document: Document, guideline: Guideline | None = None, on_text: OnText | None = None
    ) -> Future[Extraction]:
        """Queue a document; thread-safe. The future raises only if the model is lost.

        Cancelling it skips its remaining windows from the next batch on. ``guideline`` selects from
        a token classifier's labels; GLiNER takes any. ``on_text`` is never called. Raises
        RuntimeError after ``close``.
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
        """Finish the running batches, stop the threads, and cancel everything else."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for lane in self._lanes:
            lane.runners.shutdown()

    def _work(self, lane: _Lane) -> None:
        in_flight: _InFlight = {}
        try:
            while (taken := self._take(lane, in_flight)) is not None:
                for document, guideline, future in taken:
                    # The future can be cancelled until its result is set.
                    if future.cancelled():
                        future.set_running_or_notify_cancel()
                    else:
                        opened = self._reader.open(document, guideline, future.cancelled)
                        in_flight[future] = opened
                self._read(lane, in_flight)
        except Exception as error:
            _LOG.error("model %s is lost: %s", self._name, type(error).__name__)
            lost = ModelLost(f"model {self._name} is lost: {type(error).__name__}")
            lost.__cause__ = error
            with self._changed:
                self._lost = lost
                self._changed.notify_all()
        self._abandon(lane, in_flight)

    def _read(self, lane: _Lane, in_flight: _InFlight) -> None:
        """Process the next batches. Short documents run to completion. Of the long ones, as many
        get a turn as fill the look-ahead; the turn ends as soon as others arrive, and they go to
        the back."""
        turns, tokens = list(in_flight), lane.ahead
        if lane.long:
            turns = turns[: max(1, lane.ahead // TURN_TOKENS)]
            tokens = max(TURN_TOKENS, lane.ahead // max(1, len(turns)))
        unread = [in_flight[future] for future in turns if not in_flight[future].done]
        self._reader.advance(
            unread,
            tokens,
            lane.runners,
            lambda: not (self._closed or (lane.long and lane.came)),
            self._on_progress,
        )
        for future in turns:
            reading = in_flight[future]
            if reading.done:
                self._answer(future, reading)
                del in_flight[future]
            elif not reading.waiting:
                in_flight[future] = in_flight.pop(future)

    def _answer(self, future: Future[Extraction], reading: OpenDocument) -> None:
        """Settle the future of a finished document, unless it is cancelled."""
        found = None
        if not reading.cancelled():
            found = self._reader.extraction(reading)
        # From here on it can no longer be cancelled, so the result is always delivered.
        if found is None:
            future.set_running_or_notify_cancel()
        else:
            settle(future, found)

    def _take(self, lane: _Lane, in_flight: _InFlight) -> list[_Queued] | None:
        """Take the documents to open next from the queue; wait for one if none is in flight.

        Returns None if the thread should stop.
        """
        held = sum(len(reading.document.text or "") for reading in in_flight.values())
        space = min(lane.ahead * CHARACTERS_PER_TOKEN, _MOST_CHARACTERS - held)
        taken: list[_Queued] = []
        with self._changed:
            while not (in_flight or lane.queue or self._closed or self._lost):
                self._changed.wait()
            if self._closed or self._lost:
                return None
            lane.came = False
            while lane.queue and space > 0:
                taken.append(lane.queue.popleft())
                space -= len(taken[-1][0].text or "")
        return taken

    def _abandon(self, lane: _Lane, in_flight: _InFlight) -> None:
        """Cancel every pending future of the lane, or fail it with the loss of the model."""
        with self._changed:
            lost, waiting = self._lost, [future for _, _, future in lane.queue]
            lane.queue.clear()
        for future in [*waiting, *in_flight]:
            if lost is None:
                future.cancel()
                future.set_running_or_notify_cancel()
            else:
                settle(future, lost)
