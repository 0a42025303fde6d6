"""A loaded token classifier that reads documents: tokens, windows, batches, labels, entities.

Windows of different documents share batches. On the CPU a document's entities and scores do not
depend on its neighbours: padding is masked out and adds exact zeros. That holds for float and for
static int8 files; dynamic int8 takes one scale over the whole batch, so it cannot hold there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from actors.chunking import Window, windows
from actors.config import ConfigError, OnnxModel, fingerprint, results_of
from actors.guideline import Guideline
from actors.model_folder import FILES, Folder, ModelFileError, read_folder
from actors.onnx.batches import alone_where_it_fails, run_batches
from actors.onnx.decode import Decoder, Part, TokenSpan
from actors.onnx.entities import Chooser
from actors.onnx.labels import read_labels
from actors.onnx.narrowing import narrowed
from actors.onnx.packing import pack
from actors.onnx.reading import Reading
from actors.onnx.session import Session
from actors.onnx.tokenizer import TextTokenizer
from actors.spans import Document, Entity, Extraction, Failure, Moved, Status, Usage
from actors.weights import digest, fetch

_Outcome = tuple[list[TokenSpan], int] | Exception
_Work = tuple[Reading, Window]
# A window that was run: its logits, or why there are none, and its share of the seconds.
_Run = tuple[Reading, Window, npt.NDArray[np.float32] | Failure, float]


class Reader:
    """A model, loaded and tried. Not thread-safe; see ``OnnxBackend``.

    Raises ConfigError, ModelFileError, WeightsError or FileNotFoundError where it cannot be
    loaded as configured. ``fingerprint`` is of the settings and of the contents of the folder;
    where the weights lie and how they are run (``session``) are not in it.
    """

    def __init__(self, config: OnnxModel, threads: int | None, gpu: float | None) -> None:
        folder = read_folder(fetch(config.weights.model, config.weights.sha256, FILES))
        labels = read_labels(folder.labels, config.decode.scheme)
        self._config = config
        self._folder = folder
        self._chooser = Chooser(config.labels, labels.types, config.name)
        self._decoder = Decoder(labels, config.decode)
        self._tokenizer = TextTokenizer(folder.path)
        self._special = len(self._tokenizer.before) + len(self._tokenizer.after)
        self._session = Session(folder.model, config.session, threads, gpu)
        self._runners = ThreadPoolExecutor(self._session.parallel, f"onnx-{config.name}")
        self._size, self._overlap = self._window()
        self._probe()
        self.fingerprint = _fingerprint(config, folder)

    def open(
        self, document: Document, guideline: Guideline | None, given_up: Callable[[], bool]
    ) -> Reading:
        """The document in tokens; one that cannot be read has its failure already.

        ``guideline`` chooses among the model's labels.
        """
        began = time.perf_counter()
        try:
            if document.text is None:
                failure = Failure("MissingText", "there is no text")
                return Reading(document, guideline, given_up, failure=failure)
            document.text.encode()
            tokens = self._tokenizer.encode(document.text)
        except UnicodeEncodeError as error:
            message = f"a lone surrogate at character {error.start} is no text"
            return Reading(document, guideline, given_up, failure=Failure("InvalidText", message))
        except Exception as error:  # told by its type alone: its message may hold text
            message = "the text could not be tokenized"
            return Reading(
                document, guideline, given_up, failure=Failure(type(error).__name__, message)
            )
        cut = windows(len(tokens), self._size, self._overlap, tokens.words)
        return Reading(
            document, guideline, given_up, tokens, cut, seconds=time.perf_counter() - began
        )

    def advance(self, readings: Sequence[Reading], go_on: Callable[[], bool], moved: Moved) -> None:
        """Read the next windows of all of them, and decode what is complete.

        A long document takes several calls. Of one that is given up the windows are passed over.
        Returns early, to no effect, where ``go_on`` says no before a batch. Raises only where the
        model is lost to this process. ``moved`` is called after each batch.
        """
        work = [
            (reading, window)
            for reading in readings
            for window in reading.next_windows(len(self._folder.labels))
        ]
        for ran in self._run_all(work, go_on):
            moved()
            for reading, window, found, seconds in ran:
                if isinstance(found, Failure):
                    reading.failure = found
                else:
                    reading.put(window, found, seconds)
        if not go_on():
            return
        whole = [one for one in readings if one.failure is None and not one.given_up()]
        outcomes = _each_alone(self._decoder, [reading.part() for reading in whole])
        for reading, outcome in zip(whole, outcomes, strict=True):
            if isinstance(outcome, Exception):
                reading.failure = Failure(type(outcome).__name__, "its labels make no entities")
            else:
                reading.settle(*outcome)

    def extraction(self, reading: Reading) -> Extraction:
        """What came out of a reading that is done."""
        began = time.perf_counter()
        entities: list[Entity] = []
        failure = reading.failure
        if failure is None:
            text = reading.document.text or ""
            try:
                entities = self._chooser.entities(text, reading.tokens, reading.spans)
            except Exception as error:  # its message may hold text
                failure = Failure(type(error).__name__, "its spans make no entities")
        extraction = Extraction(
            document_id=reading.document.id,
            model=self._config.name,
            fingerprint=self.fingerprint,
            status=Status.OK if failure is None else Status.FAILED,
            entities=tuple(entities),
            failure=failure,
            usage=Usage(
                prompt_tokens=len(reading.tokens),
                seconds=reading.seconds + time.perf_counter() - began,
            ),
        )
        return narrowed(extraction, reading.guideline)

    def close(self) -> None:
        """End the threads that run batches."""
        self._runners.shutdown()

    def _run_all(self, work: Sequence[_Work], go_on: Callable[[], bool]) -> Iterator[list[_Run]]:
        """Run all windows in batches, as many at a time as the session takes."""
        lengths = [window.end - window.start + self._special for _, window in work]
        parallel = self._session.parallel
        # Few windows are shared out, so that no thread is idle while another has all of them.
        budget = min(self._config.session.batch_tokens, -(-sum(lengths) // parallel))
        packed = pack(lengths, max(budget, 1), self._session.rows)
        return run_batches(
            [[work[index] for index in batch] for batch in packed],
            lambda batch: alone_where_it_fails(batch, self._read, _failed),
            self._runners,
            parallel,
            wanted=lambda one: not one[0].given_up(),
            go_on=go_on,
        )

    def _read(self, batch: Sequence[_Work]) -> list[_Run]:
        began = time.perf_counter()
        logits = self._run([reading.tokens.ids[w.start : w.end] for reading, w in batch])
        seconds = (time.perf_counter() - began) / len(batch)
        skip = len(self._tokenizer.before)
        return [
            (reading, window, row[skip : skip + window.end - window.start], seconds)
            for row, (reading, window) in zip(logits, batch, strict=True)
        ]

    def _run(self, sequences: Sequence[npt.NDArray[np.int32]]) -> npt.NDArray[np.float32]:
        """Logits of token sequences, special tokens added here; shape (rows, length, labels)."""
        before, after = self._tokenizer.before, self._tokenizer.after
        width = self._session.length or max(len(ids) for ids in sequences) + self._special
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

    def _window(self) -> tuple[int, int]:
        """The window's tokens without the special ones, and how many neighbours share."""
        longest = self._folder.longest
        if self._session.length is not None:
            longest = min(longest, self._session.length)
        size = self._config.window.size or longest
        if size > longest:
            raise ConfigError(
                f"model {self._config.name}: window.size is {size}, but {self._folder.path} "
                f"takes at most {longest} tokens"
            )
        overlap = self._config.window.overlap
        overlap = size // 4 if overlap is None else overlap
        return size - self._special, min(overlap, (size - self._special) // 2)

    def _probe(self) -> None:
        """Run a window of special tokens alone: what does not fit together fails at once."""
        file, expected = self._folder.model, len(self._folder.labels)
        try:
            found = self._run([np.zeros(0, np.int32)]).shape[-1]
        except Exception as error:
            raise ModelFileError(f"{file}: onnxruntime cannot run it: {error}") from error
        if found != expected:
            raise ModelFileError(
                f"{file}: gives {found} logits a token, but id2label in config.json has {expected}"
            )


def _failed(work: _Work, failure: Failure) -> _Run:
    return (*work, failure, 0.0)


def _each_alone(decoder: Decoder, parts: Sequence[Part]) -> list[_Outcome]:
    """All parts decoded at once, or one by one where that fails: a document fails alone."""
    try:
        return list(decoder.decode(parts))
    except Exception as error:
        if len(parts) == 1:
            return [error]
        return [outcome for part in parts for outcome in _each_alone(decoder, [part])]


def _fingerprint(config: OnnxModel, folder: Folder) -> str:
    content = {"model": config.identity(), "results": results_of(config.kind)}
    there = sorted(path for path in folder.path.iterdir() if path.name.startswith(FILES))
    return fingerprint(content, **{path.name: digest(path) for path in there})
