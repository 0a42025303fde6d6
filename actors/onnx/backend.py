"""The ONNX Extractor backend: a thread that packs the windows of whatever is queued.

Windows of different documents share batches. On the CPU a document's entities and scores do not
depend on its neighbours: padding is masked out and adds exact zeros. That holds for float and for
static int8 files; dynamic int8 takes one scale over the whole batch, so it cannot hold there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError, Future

import numpy as np
import numpy.typing as npt

from actors.chunking import Window, windows
from actors.config import ConfigError, OnnxModel, OnnxSession, fingerprint
from actors.onnx.decode import Decoder, Part, TokenSpan
from actors.onnx.entities import Chooser
from actors.onnx.folder import FILES, Folder, ModelFileError, read_folder
from actors.onnx.labels import read_labels
from actors.onnx.packing import pack
from actors.onnx.reading import Reading
from actors.onnx.session import Session, is_fatal
from actors.onnx.tokenizer import TextTokenizer
from actors.spans import Document, Extraction, Failure, Status, Usage
from actors.weights import digest, fetch

_LOG = logging.getLogger(__name__)

# Text taken out of the queue at a time, in batches' worth of tokens: enough windows to pack well,
# few enough that the first document of a long queue comes out soon.
_BATCHES_AHEAD = 16
_CHARACTERS_PER_TOKEN = 4


_Outcome = tuple[list[TokenSpan], int] | Exception


class ModelLost(RuntimeError):
    """The model cannot go on in this process, such as after a fault of the card."""


class OnnxBackend:
    """A token classifier behind ``submit``. Its configuration says what it is (``OnnxModel``).

    ``threads``: CPU threads, None for all of this process. ``gpu``: the share of one card, 0 for
    none, None for whatever is visible. Raises ConfigError, ModelFileError or FileNotFoundError
    where the model cannot be loaded as configured.
    """

    def __init__(self, config: OnnxModel, threads: int | None, gpu: float | None) -> None:
        folder = read_folder(fetch(config.weights.model, config.weights.sha256, FILES))
        self._config = config
        self._folder = folder
        self._tokenizer = TextTokenizer(folder.path)
        table = read_labels(folder.labels, config.decode.scheme)
        self._decoder = Decoder(table, config.decode)
        self._chooser = Chooser(config.labels, table.types, config.name)
        self._session = Session(folder.model, config.session, threads, gpu)
        if self._session.labels not in (None, len(folder.labels)):
            raise _width_error(folder, self._session.labels)
        self._size, self._overlap = self._window()
        self._probe()
        self._fingerprint = _fingerprint(config, folder)
        self._queue: deque[tuple[Document, Future[Extraction]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._lost: Exception | None = None
        self._thread = threading.Thread(target=self._work, name=f"onnx-{config.name}", daemon=True)
        self._thread.start()

    @property
    def fingerprint(self) -> str:
        """Digest of the model file's settings and the weights, tokenizer and labels.

        Where the weights lie and how they are run (``session``) are not in it.
        """
        return self._fingerprint

    def submit(self, document: Document) -> Future[Extraction]:
        """Queue a document; thread-safe. The future has an exception only if the model is lost."""
        future: Future[Extraction] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError(f"model {self._config.name} is closed")
            if self._lost is not None:
                future.set_exception(self._lost)
                return future
            self._queue.append((document, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """End the thread after the batch that it runs; what is not done by then is cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _window(self) -> tuple[int, int]:
        """The window's tokens without the special ones, and how many neighbours share."""
        special = len(self._tokenizer.before) + len(self._tokenizer.after)
        longest = self._folder.longest
        if self._session.length is not None:
            longest = min(longest, self._session.length)
        size = self._config.window.size or longest
        if size > longest:
            raise ConfigError(
                f"model {self._config.name}: window.size {size} exceeds the {longest} tokens that "
                f"{self._folder.path} allows"
            )
        overlap = self._config.window.overlap
        overlap = size // 4 if overlap is None else overlap
        return size - special, min(overlap, (size - special) // 2)

    def _probe(self) -> None:
        """Run nothing but special tokens, so that a file that does not fit fails at once."""
        try:
            logits = self._run([np.zeros(0, np.int32)])
        except Exception as error:
            raise ModelFileError(f"{self._folder.model}: cannot run: {error}") from error
        if logits.shape[-1] != len(self._folder.labels):
            raise _width_error(self._folder, logits.shape[-1])

    def _work(self) -> None:
        readings: list[Reading] = []
        try:
            while self._wait(busy=bool(readings)):
                readings += self._open(self._take())
                readings = self._round(readings)
            stopped: Exception = CancelledError()
        except Exception as error:
            _LOG.error("model %s is lost: %s", self._config.name, type(error).__name__)
            stopped = ModelLost(f"model {self._config.name} is lost: {error}")
            stopped.__cause__ = error
        with self._changed:
            self._lost = stopped
            waiting = [future for _, future in self._queue]
            self._queue.clear()
        for future in waiting:
            if isinstance(stopped, ModelLost) and future.set_running_or_notify_cancel():
                future.set_exception(stopped)
            else:
                future.cancel()
        for reading in readings:
            if not reading.future.done():
                reading.future.set_exception(stopped)

    def _wait(self, busy: bool) -> bool:
        """Whether to go on; sleeps until there is something to do."""
        with self._changed:
            while not (busy or self._queue or self._closed):
                self._changed.wait()
            return not self._closed

    def _take(self) -> list[tuple[Document, Future[Extraction]]]:
        room = _BATCHES_AHEAD * self._config.session.batch_tokens * _CHARACTERS_PER_TOKEN
        taken = []
        with self._changed:
            while self._queue and room > 0:
                document, future = self._queue.popleft()
                room -= len(document.text or "") + 1
                taken.append((document, future))
        return [entry for entry in taken if entry[1].set_running_or_notify_cancel()]

    def _open(self, entries: Iterable[tuple[Document, Future[Extraction]]]) -> list[Reading]:
        """Readings of the documents that have tokens; the others are resolved here."""
        readings = []
        for document, future in entries:
            began = time.perf_counter()
            if document.text is None:
                self._fail(document, future, Failure("MissingText", "the document has no text"))
                continue
            try:
                document.text.encode()
                tokens = self._tokenizer.encode(document.text)
            except UnicodeEncodeError as error:
                message = f"a lone surrogate at character {error.start} is no text"
                self._fail(document, future, Failure("InvalidText", message))
                continue
            except Exception as error:  # said by its type alone: the message may hold text
                failure = Failure(type(error).__name__, "the text could not be tokenized")
                self._fail(document, future, failure)
                continue
            ranges = windows(len(tokens), self._size, self._overlap, tokens.words)
            reading = Reading(document, future, tokens, ranges)
            reading.seconds = time.perf_counter() - began
            if len(tokens):
                readings.append(reading)
            else:
                self._finish(reading)
        return readings

    def _round(self, readings: list[Reading]) -> list[Reading]:
        """Read the next windows of all, decode what is complete; returns those with more to read.

        Raises only where the model is lost.
        """
        work = [
            (reading, window)
            for reading in readings
            for window in reading.next_windows(len(self._folder.labels))
        ]
        budget = self._config.session.batch_tokens
        special = len(self._tokenizer.before) + len(self._tokenizer.after)
        lengths = [window.end - window.start + special for _, window in work]
        for batch in pack(lengths, budget, self._session.rows):
            if self._closed:
                return readings
            self._read([work[index] for index in batch])
        whole = [reading for reading in readings if reading.error is None]
        outcomes = _each_alone(self._decoder, [reading.part() for reading in whole])
        for reading, outcome in zip(whole, outcomes, strict=True):
            if isinstance(outcome, Exception):
                reading.error = outcome
            else:
                reading.settle(*outcome)
        going_on = []
        for reading in readings:
            if reading.error is not None:
                failure = Failure(type(reading.error).__name__, _message(reading.error))
                self._fail(reading.document, reading.future, failure)
            elif reading.done:
                self._finish(reading)
            else:
                going_on.append(reading)
        return going_on

    def _read(self, batch: Sequence[tuple[Reading, Window]]) -> None:
        """Run a batch and hand out its logits; where it fails, its windows one by one."""
        began = time.perf_counter()
        try:
            logits = self._run([reading.tokens.ids[w.start : w.end] for reading, w in batch])
        except Exception as error:
            if is_fatal(error):
                raise
            if len(batch) > 1:
                for one in batch:
                    self._read([one])
            else:
                batch[0][0].error = error
            return
        share = (time.perf_counter() - began) / len(batch)
        skip = len(self._tokenizer.before)
        for row, (reading, window) in zip(logits, batch, strict=True):
            reading.seconds += share
            try:
                reading.put(window, row[skip : skip + window.end - window.start])
            except ArithmeticError as error:
                reading.error = error

    def _run(self, sequences: Sequence[npt.NDArray[np.int32]]) -> npt.NDArray[np.float32]:
        """Logits of token sequences, special tokens added here; shape (rows, length, labels)."""
        before, after = self._tokenizer.before, self._tokenizer.after
        special = len(before) + len(after)
        width = self._session.length or max(len(ids) for ids in sequences) + special
        shape = (self._session.rows or len(sequences), width)
        ids = np.full(shape, self._folder.pad_id, np.int64)
        mask = np.zeros(shape, np.int64)
        for row, sequence in enumerate(sequences):
            end = len(before) + len(sequence)
            ids[row, : len(before)] = before
            ids[row, len(before) : end] = sequence
            ids[row, end : end + len(after)] = after
            mask[row, : end + len(after)] = 1
        return self._session.run(ids, mask)[: len(sequences)]

    def _finish(self, reading: Reading) -> None:
        began = time.perf_counter()
        text = reading.document.text or ""
        entities = self._chooser.entities(text, reading.tokens, reading.spans)
        reading.future.set_result(
            Extraction(
                document_id=reading.document.id,
                model=self._config.name,
                fingerprint=self._fingerprint,
                entities=tuple(entities),
                usage=Usage(
                    prompt_tokens=len(reading.tokens),
                    seconds=reading.seconds + time.perf_counter() - began,
                ),
            )
        )

    def _fail(self, document: Document, future: Future[Extraction], failure: Failure) -> None:
        future.set_result(
            Extraction(
                document_id=document.id,
                model=self._config.name,
                fingerprint=self._fingerprint,
                status=Status.FAILED,
                failure=failure,
            )
        )


def _each_alone(decoder: Decoder, parts: Sequence[Part]) -> list[_Outcome]:
    """All parts decoded at once, or one by one where that fails: a document fails alone."""
    try:
        return list(decoder.decode(parts))
    except Exception as error:
        if len(parts) == 1:
            return [error]
        return [outcome for part in parts for outcome in _each_alone(decoder, [part])]


def _message(error: Exception) -> str:
    """What may be said of an error in public: a runtime's own words, which hold no text."""
    if isinstance(error, ArithmeticError) or type(error).__module__.startswith("onnxruntime"):
        return str(error)[:300]
    return "the document could not be read"


def _width_error(folder: Folder, width: int | None) -> ModelFileError:
    return ModelFileError(
        f"{folder.model}: gives {width} labels, but id2label in config.json has "
        f"{len(folder.labels)}"
    )


def _fingerprint(config: OnnxModel, folder: Folder) -> str:
    settings = config.model_copy(
        update={
            "weights": config.weights.model_copy(update={"model": "", "sha256": None}),
            "session": OnnxSession(),
        }
    )
    there = sorted(path for path in folder.path.iterdir() if path.name.startswith(FILES))
    return fingerprint(settings, **{path.name: digest(path) for path in there})
