"""The ONNX Extractor backend: one thread that reads whatever is queued, in rounds."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from actors.config import GlinerModel, OnnxModel
from actors.guideline import Guideline
from actors.memory import memory_held, taken_since
from actors.onnx.gliner.reader import GlinerReader
from actors.onnx.reader import Reader
from actors.spans import Document, Extraction, Moved, Tell, unheard

_LOG = logging.getLogger(__name__)

# Text taken out of the queue at a time, in batches' worth of tokens: enough windows to pack well,
# few enough that the first document of a long queue comes out soon.
_BATCHES_AHEAD = 16
_CHARACTERS_PER_TOKEN = 4

_Asked = tuple[Document, Guideline | None, Future[Extraction]]
R = TypeVar("R", bound="Opened")


class Opened(Protocol):
    """One document on its way through a model."""

    @property
    def given_up(self) -> Callable[[], bool]:
        """Whether nobody waits for it any more."""

    @property
    def done(self) -> bool:
        """Whether its extraction is ready."""


class Reads(Protocol[R]):
    """A loaded model that reads documents in rounds."""

    @property
    def fingerprint(self) -> str:
        """Digest of what can change an answer."""

    def open(
        self, document: Document, guideline: Guideline | None, given_up: Callable[[], bool]
    ) -> R:
        """A document, ready to be read."""

    def advance(self, readings: Sequence[R], go_on: Callable[[], bool], moved: Moved) -> None:
        """Read the next windows of all of them."""

    def extraction(self, reading: R) -> Extraction:
        """What came out of a document that is done."""

    def close(self) -> None:
        """End its threads."""


class ModelLost(RuntimeError):
    """The model cannot go on in this process, such as after a fault of the card."""


class OnnxBackend:
    """A token classifier or a GLiNER model behind ``submit``; its configuration says which.

    ``threads``: CPU threads, None for all of this process. ``gpu``: the share of one card, 0 for
    none, None for whatever is visible. ``moved`` is called after each batch. Raises as
    the reader where the model cannot be loaded.
    """

    def __init__(
        self,
        config: OnnxModel | GlinerModel,
        threads: int | None,
        gpu: float | None,
        moved: Moved = unheard,
    ) -> None:
        before = memory_held()
        self._reader: Reads[Any] = (
            GlinerReader(config, threads, gpu)
            if isinstance(config, GlinerModel)
            else Reader(config, threads, gpu)
        )
        self.took = taken_since(before)
        """Bytes that the process has grown by while the model was loaded and tried."""
        self._name = config.name
        self._moved = moved
        self._room = _BATCHES_AHEAD * config.session.batch_tokens * _CHARACTERS_PER_TOKEN
        self._queue: deque[_Asked] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._lost: ModelLost | None = None
        self._thread = threading.Thread(target=self._work, name=f"onnx-{config.name}", daemon=True)
        self._thread.start()

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
            self._queue.append((document, guideline, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """End the thread after the batch that it runs; what is not done by then is cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._reader.close()

    def _work(self) -> None:
        under_way: dict[Future[Extraction], Opened] = {}
        try:
            while self._wait(busy=bool(under_way)):
                for document, guideline, future in self._take():
                    # Its future can be cancelled until it has its result.
                    if future.cancelled():
                        future.set_running_or_notify_cancel()
                    else:
                        reading = self._reader.open(document, guideline, future.cancelled)
                        under_way[future] = reading
                unread = [reading for reading in under_way.values() if not reading.done]
                self._reader.advance(unread, lambda: not self._closed, self._moved)
                for future, reading in list(under_way.items()):
                    if reading.done:
                        self._answer(future, reading)
                        del under_way[future]
        except Exception as error:
            _LOG.error("model %s is lost: %s", self._name, type(error).__name__)
            lost = ModelLost(f"model {self._name} is lost: {type(error).__name__}")
            lost.__cause__ = error
            self._abandon(under_way, lost)
        else:
            self._abandon(under_way, None)

    def _answer(self, future: Future[Extraction], reading: Opened) -> None:
        """Give a reading that is done to its future, unless that is cancelled."""
        found = None
        if not reading.given_up():
            found = self._reader.extraction(reading)
        # From here on it cannot be cancelled any more, so that the result always finds its place.
        if future.set_running_or_notify_cancel() and found is not None:
            future.set_result(found)

    def _wait(self, busy: bool) -> bool:
        """Whether to go on; sleeps until there is something to do."""
        with self._changed:
            while not (busy or self._queue or self._closed):
                self._changed.wait()
            return not self._closed

    def _take(self) -> list[_Asked]:
        taken: list[_Asked] = []
        room = self._room
        with self._changed:
            while self._queue and room > 0:
                taken.append(self._queue.popleft())
                room -= len(taken[-1][0].text or "")
        return taken

    def _abandon(self, under_way: Iterable[Future[Extraction]], lost: ModelLost | None) -> None:
        """Cancel every future that still waits, or give it the loss of the model."""
        with self._changed:
            self._lost = lost
            waiting = [future for _, _, future in self._queue]
            self._queue.clear()
        for future in [*waiting, *under_way]:
            if lost is None:
                future.cancel()
            if future.set_running_or_notify_cancel():
                future.set_exception(lost)
