"""The ONNX Extractor backend: a lane for short documents and one for long ones.

Each lane is a thread that reads whatever is queued in it, in batches on threads of its own. A short
document shares the cores with the batches of long ones that run when it comes, and waits for none.
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
from actors.memory import memory_held, taken_since
from actors.onnx.gliner.reader import GlinerReader
from actors.onnx.reader import Reader
from actors.spans import Document, Extraction, Moved, Tell, unheard
from actors.turns import CHARACTERS_PER_TOKEN, TURN_CHARACTERS, TURN_TOKENS

_LOG = logging.getLogger(__name__)

# Text taken out of the queue at a time, in batches' worth of tokens: enough windows to pack well,
# few enough that the first document of a long queue comes out soon.
_BATCHES_AHEAD = 16
# Of documents whose tokens are held at a time; the next long one waits until there are fewer.
_MOST_CHARACTERS = 16_000_000

_Asked = tuple[Document, Guideline | None, Future[Extraction]]
_UnderWay = dict[Future[Extraction], "Opened"]
R = TypeVar("R", bound="Opened")


class Opened(Protocol):
    """One document on its way through a model."""

    @property
    def document(self) -> Document:
        """The document itself."""

    @property
    def given_up(self) -> Callable[[], bool]:
        """Whether nobody waits for it any more."""

    @property
    def done(self) -> bool:
        """Whether its extraction is ready."""

    @property
    def waiting(self) -> Sequence[object]:
        """Windows that were taken to be read and have not been yet."""


class Reads(Protocol[R]):
    """A loaded model that reads documents in rounds. Its calls may come from several threads, each
    with readings of its own."""

    @property
    def fingerprint(self) -> str:
        """Digest of what can change an answer."""

    @property
    def parallel(self) -> int:
        """Batches that fill its threads when they run at a time."""

    def open(
        self, document: Document, guideline: Guideline | None, given_up: Callable[[], bool]
    ) -> R:
        """A document, ready to be read."""

    def advance(
        self,
        readings: Sequence[R],
        tokens: int,
        runners: ThreadPoolExecutor,
        go_on: Callable[[], bool],
        moved: Moved,
    ) -> None:
        """Read the next windows of all of them, ``tokens`` of each, in batches on ``runners``.

        Where ``go_on`` says no, the batches that run are the last. Raises only where the model is
        lost. ``moved`` is called after each batch.
        """

    def extraction(self, reading: R) -> Extraction:
        """What came out of a document that is done."""


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
    """A token classifier or a GLiNER model behind ``submit``; its configuration says which.

    ``threads``: CPU threads, None for all of this process. ``gpu``: the share of one card, 0 for
    none, None for whatever is visible. ``moved`` is called after each batch. ``cpu_fallback``: a
    share that onnxruntime cannot use is a warning. Raises as the reader where the model cannot
    be loaded.
    """

    def __init__(
        self,
        config: OnnxModel | GlinerModel,
        threads: int | None,
        gpu: float | None,
        moved: Moved = unheard,
        cpu_fallback: bool = False,
    ) -> None:
        before = memory_held()
        self._reader: Reads[Any] = (
            GlinerReader(config, threads, gpu, cpu_fallback)
            if isinstance(config, GlinerModel)
            else Reader(config, threads, gpu, cpu_fallback)
        )
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

        Cancelling it frees the model for others at the next batch. ``guideline`` chooses among a
        token classifier's labels; GLiNER takes any. ``tell`` hears nothing: nothing is printed.
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
                    # Its future can be cancelled until it has its result.
                    if future.cancelled():
                        future.set_running_or_notify_cancel()
                    else:
                        opened = self._reader.open(document, guideline, future.cancelled)
                        under_way[future] = opened
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
        """Read on. The short ones are read to their end; of the long ones as many get a turn as
        fill the batches ahead, which ends as soon as others come, and then go to the end."""
        turns, tokens = list(under_way), self._ahead
        if lane.long:
            turns = turns[: max(1, self._ahead // TURN_TOKENS)]
            tokens = max(TURN_TOKENS, self._ahead // max(1, len(turns)))
        unread = [under_way[future] for future in turns if not under_way[future].done]
        self._reader.advance(
            unread,
            tokens,
            lane.runners,
            lambda: not (self._closed or (lane.long and lane.came)),
            self._moved,
        )
        for future in turns:
            reading = under_way[future]
            if reading.done:
                self._answer(future, reading)
                del under_way[future]
            elif not reading.waiting:
                under_way[future] = under_way.pop(future)

    def _answer(self, future: Future[Extraction], reading: Opened) -> None:
        """Give a reading that is done to its future, unless that is cancelled."""
        found = None
        if not reading.given_up():
            found = self._reader.extraction(reading)
        # From here on it cannot be cancelled any more, so that the result always finds its place.
        if found is None:
            future.set_running_or_notify_cancel()
        else:
            settle(future, found)

    def _wait(self, lane: _Lane, busy: bool) -> bool:
        """Whether to go on; sleeps until there is something to do."""
        with self._changed:
            while not (busy or lane.queue or self._closed or self._lost):
                self._changed.wait()
            return not (self._closed or self._lost)

    def _take(self, lane: _Lane, under_way: _UnderWay) -> list[_Asked]:
        """The documents to open next."""
        held = sum(len(reading.document.text or "") for reading in under_way.values())
        room = min(self._ahead * CHARACTERS_PER_TOKEN, _MOST_CHARACTERS - held)
        taken: list[_Asked] = []
        with self._changed:
            lane.came = False
            while lane.queue and room > 0:
                taken.append(lane.queue.popleft())
                room -= len(taken[-1][0].text or "")
        return taken

    def _abandon(self, lane: _Lane, under_way: _UnderWay) -> None:
        """Cancel every future that still waits in the lane, or give it the loss of the model."""
        with self._changed:
            lost, waiting = self._lost, [future for _, _, future in lane.queue]
            lane.queue.clear()
        for future in [*waiting, *under_way]:
            if lost is None:
                future.cancel()
                future.set_running_or_notify_cancel()
            else:
                settle(future, lost)
