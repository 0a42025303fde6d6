"""The ONNX Extractor backend: one thread that reads whatever is queued.

Documents that one turn reads to their end go first, as they come; the long ones are read side by
side between them. So a short document waits for the batches that run when it comes, however many
and however long the others are.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from actors.config import OnnxModel
from actors.guideline import Guideline
from actors.memory import memory_held, taken_since
from actors.onnx.narrowing import narrowed
from actors.onnx.reader import Reader
from actors.onnx.reading import Reading
from actors.spans import Document, Extraction, Moved, Tell, unheard
from actors.turns import CHARACTERS_PER_TOKEN, TURN_CHARACTERS, TURN_TOKENS

_LOG = logging.getLogger(__name__)

# Text taken out of the queue at a time, in batches' worth of tokens: enough windows to pack well,
# few enough that the first document of a long queue comes out soon. The long ones read as much at a
# time where nobody comes.
_BATCHES_AHEAD = 16
# Of documents whose tokens are held at a time; the next long one waits until there are fewer.
_MOST_CHARACTERS = 16_000_000

_Asked = tuple[Document, Guideline | None, Future[Extraction]]
_UnderWay = dict[Future[Extraction], tuple[Reading, Guideline | None]]


class ModelLost(RuntimeError):
    """The model cannot go on in this process, such as after a fault of the card."""


class OnnxBackend:
    """A token classifier behind ``submit``. Its configuration says what it is (``OnnxModel``).

    ``threads``: CPU threads, None for all of this process. ``gpu``: the share of one card, 0 for
    none, None for whatever is visible. ``moved`` is called after each batch. Raises as
    ``Reader`` where the model cannot be loaded.
    """

    def __init__(
        self,
        config: OnnxModel,
        threads: int | None,
        gpu: float | None,
        moved: Moved = unheard,
    ) -> None:
        before = memory_held()
        self._reader = Reader(config, threads, gpu)
        self.took = taken_since(before)
        """Bytes that the process has grown by while the model was loaded and tried."""
        self._name = config.name
        self._moved = moved
        self._ahead = _BATCHES_AHEAD * config.session.batch_tokens
        self._short: deque[_Asked] = deque()
        self._long: deque[_Asked] = deque()
        self._changed = threading.Condition()
        self._closed = self._came = False
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
            long = len(document.text or "") > TURN_CHARACTERS
            (self._long if long else self._short).append((document, guideline, future))
            self._came = True
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
        under_way: _UnderWay = {}
        try:
            while self._wait(busy=bool(under_way)):
                self._open(under_way, self._take_short())
                self._read_short(under_way)
                self._open(under_way, self._take_long(under_way))
                self._read_long(under_way)
        except Exception as error:
            _LOG.error("model %s is lost: %s", self._name, type(error).__name__)
            lost = ModelLost(f"model {self._name} is lost: {type(error).__name__}")
            lost.__cause__ = error
            self._abandon(under_way, lost)
        else:
            self._abandon(under_way, None)

    def _open(self, under_way: _UnderWay, taken: Sequence[_Asked]) -> None:
        for document, guideline, future in taken:
            # Its future can be cancelled until it has its result.
            if future.cancelled():
                future.set_running_or_notify_cancel()
            else:
                under_way[future] = self._reader.open(document, future.cancelled), guideline

    def _read_short(self, under_way: _UnderWay) -> None:
        """Read to their end, and answer, the documents that have a turn left at most."""
        short = [future for future, (one, _) in under_way.items() if one.left <= TURN_TOKENS]
        self._read(under_way, short, TURN_TOKENS, lambda: not self._closed)

    def _read_long(self, under_way: _UnderWay) -> None:
        """Read on in the long ones until somebody comes; whose turn is over goes to the end."""
        turns = list(under_way)[: max(1, self._ahead // TURN_TOKENS)]
        tokens = max(TURN_TOKENS, self._ahead // max(1, len(turns)))
        self._read(under_way, turns, tokens, lambda: not (self._closed or self._came))
        for future in turns:
            if future in under_way and not under_way[future][0].waiting:
                under_way[future] = under_way.pop(future)

    def _read(
        self,
        under_way: _UnderWay,
        futures: Sequence[Future[Extraction]],
        tokens: int,
        go_on: Callable[[], bool],
    ) -> None:
        unread = [under_way[future][0] for future in futures if not under_way[future][0].done]
        self._reader.advance(unread, tokens, go_on, self._moved)
        for future in futures:
            reading, guideline = under_way[future]
            if reading.done:
                self._answer(future, reading, guideline)
                del under_way[future]

    def _answer(
        self, future: Future[Extraction], reading: Reading, guideline: Guideline | None
    ) -> None:
        """Give a reading that is done to its future, unless that is cancelled."""
        found = None
        if not reading.given_up():
            found = narrowed(self._reader.extraction(reading), guideline)
        # From here on it cannot be cancelled any more, so that the result always finds its place.
        if future.set_running_or_notify_cancel() and found is not None:
            future.set_result(found)

    def _wait(self, busy: bool) -> bool:
        """Whether to go on; sleeps until there is something to do."""
        with self._changed:
            while not (busy or self._short or self._long or self._closed):
                self._changed.wait()
            return not self._closed

    def _take_short(self) -> list[_Asked]:
        with self._changed:
            taken = _first(self._short, self._ahead * CHARACTERS_PER_TOKEN)
            self._came = bool(self._short)
            return taken

    def _take_long(self, under_way: _UnderWay) -> list[_Asked]:
        held = sum(len(reading.document.text or "") for reading, _ in under_way.values())
        room = min(self._ahead * CHARACTERS_PER_TOKEN, _MOST_CHARACTERS - held)
        with self._changed:
            return _first(self._long, room)

    def _abandon(self, under_way: _UnderWay, lost: ModelLost | None) -> None:
        """Cancel every future that still waits, or give it the loss of the model."""
        with self._changed:
            self._lost = lost
            waiting = [future for queue in (self._short, self._long) for _, _, future in queue]
            self._short.clear()
            self._long.clear()
        for future in [*waiting, *under_way]:
            if lost is None:
                future.cancel()
            if future.set_running_or_notify_cancel():
                future.set_exception(lost)


def _first(queue: deque[_Asked], characters: int) -> list[_Asked]:
    """Taken from a queue: documents until there are so many characters."""
    taken: list[_Asked] = []
    while queue and characters > 0:
        taken.append(queue.popleft())
        characters -= len(taken[-1][0].text or "")
    return taken
