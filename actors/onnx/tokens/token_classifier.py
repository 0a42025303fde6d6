"""A loaded token classifier: tokenize, split into windows, batch, decode labels, build entities.

Windows of different documents share batches. On the CPU a document's entities and scores do not
depend on its neighbours: padding is masked out and adds exact zeros, and a model without an
attention mask gets windows of equal length. This holds for float and static int8 models; dynamic
int8 uses one scale for the whole batch, so it cannot hold there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from actors.config import ConfigError, OnnxModel, OnnxSession, fingerprint, results_of
from actors.guideline import Guideline
from actors.model_folder import CLASSIFIER_FILES, ModelFileError, ModelFolder, read_folder
from actors.onnx.batches import alone_where_it_fails, run_batches
from actors.onnx.length import usable_length
from actors.onnx.packing import pack
from actors.onnx.session import Session
from actors.onnx.tokenizer import TextTokenizer
from actors.onnx.tokens.entities import EntityBuilder
from actors.onnx.tokens.label_decoder import LabelDecoder, LogitsPart, TokenSpan
from actors.onnx.tokens.label_selection import select_labels
from actors.onnx.tokens.labels import Labels, read_labels
from actors.onnx.tokens.tokenized_document import TokenizedDocument
from actors.spans import (
    Document,
    Entity,
    Extraction,
    Failure,
    OnProgress,
    Status,
    Usage,
    text_failure,
)
from actors.weights import digest, fetch_model
from actors.windows import Window, windows

_LOG = logging.getLogger(__name__)
_CUDA = "CUDAExecutionProvider"
MOST_UNKNOWN = 0.05
"""Fraction of a document's tokens that may be unknown to the model without a warning."""

_Outcome = tuple[list[TokenSpan], int] | Exception
_Work = tuple[TokenizedDocument, Window]
# A processed window: its logits, or a failure, and its share of the seconds.
_Run = tuple[TokenizedDocument, Window, npt.NDArray[np.float32] | Failure, float]


class TokenClassifier:
    """A loaded and probed model. Several threads may call it, each with its own documents; see
    ``OnnxBackend``.

    Raises ConfigError, ModelFileError, WeightsError or FileNotFoundError if it cannot be loaded as
    configured. ``fingerprint`` covers the settings and the contents of the folder, but not the
    location of the weights or how they are run (``session``).
    """

    def __init__(
        self,
        config: OnnxModel,
        threads: int | None,
        gpu: float | None,
        cpu_fallback: bool = False,
    ) -> None:
        folder = read_folder(fetch_model(config), config.weights.file)
        labels = read_labels(folder.labels, config.decode.scheme, config.decode.outside)
        _warn_of_doubtful_labels(config.name, labels)
        self._config = config
        self._folder = folder
        self._chooser = EntityBuilder(config.labels, labels.types, config.name)
        self._decoder = LabelDecoder(labels, config.decode)
        self._tokenizer = TextTokenizer(folder.path)
        self._special = len(self._tokenizer.before) + len(self._tokenizer.after)
        self._session = Session(folder.model, config.session, threads, gpu, cpu_fallback)
        self._probe()
        self._size, self._overlap = self._window()
        self.fingerprint = _fingerprint(config, folder)

    def open(
        self, document: Document, guideline: Guideline | None, cancelled: Callable[[], bool]
    ) -> TokenizedDocument:
        """Tokenize a document; an unreadable one already carries its failure.

        ``guideline`` selects from the model's labels.
        """
        began = time.perf_counter()
        try:
            failure = text_failure(document.text)
            if failure is not None or document.text is None:
                return TokenizedDocument(document, guideline, cancelled, failure=failure)
            tokens = self._tokenizer.encode(document.text)
        except Exception as error:  # only its type: the message may quote the text
            failure = Failure(type(error).__name__, "the text could not be tokenized")
            return TokenizedDocument(document, guideline, cancelled, failure=failure)
        cut = windows(len(tokens), self._size, self._overlap, tokens.words)
        seconds = time.perf_counter() - began
        return TokenizedDocument(document, guideline, cancelled, tokens, cut, seconds=seconds)

    @property
    def parallel(self) -> int:
        """Number of concurrent batches that keeps all threads busy."""
        return self._session.parallel

    def advance(
        self,
        readings: Sequence[TokenizedDocument],
        tokens: int,
        runners: ThreadPoolExecutor,
        go_on: Callable[[], bool],
        on_progress: OnProgress,
    ) -> None:
        """Run the next windows of all documents, ``tokens`` of each, and decode what is complete.

        A long document takes several calls. Windows of a cancelled document are skipped. Batches
        run on ``runners``, which has ``parallel`` threads. Once ``go_on`` returns False, no new
        batch starts and the other windows wait for the next call; each thread runs at least one
        batch. Raises only if the model is lost to this process. ``on_progress`` is called
        after each batch.
        """
        work = [
            (reading, window)
            for reading in readings
            for window in reading.next_windows(len(self._folder.labels), tokens)
        ]
        for ran in self._run_all(work, runners, go_on):
            on_progress()
            for reading, window, found, seconds in ran:
                if isinstance(found, Failure):
                    reading.failure = found
                else:
                    reading.put(window, found, seconds)
        ready = [reading for reading in readings if reading.decodable]
        outcomes = _decode_isolated(self._decoder, [reading.part() for reading in ready])
        for reading, outcome in zip(ready, outcomes, strict=True):
            if isinstance(outcome, Exception):
                reading.failure = Failure(type(outcome).__name__, "its labels could not be decoded")
            else:
                reading.settle(*outcome)

    def extraction(self, reading: TokenizedDocument) -> Extraction:
        """Build the Extraction of a finished document."""
        began = time.perf_counter()
        entities: list[Entity] = []
        failure = reading.failure
        if failure is None:
            text = reading.document.text or ""
            try:
                entities = self._chooser.entities(text, reading.tokens, reading.spans)
            except Exception as error:  # its message may hold text
                failure = Failure(type(error).__name__, "its entities could not be built")
        extraction = Extraction(
            document_id=reading.document.id,
            model=self._config.name,
            fingerprint=self.fingerprint,
            status=Status.OK if failure is None else Status.FAILED,
            entities=tuple(entities),
            failure=failure,
            problems=_problems(reading),
            usage=Usage(
                prompt_tokens=len(reading.tokens),
                seconds=reading.seconds + time.perf_counter() - began,
                unknown_tokens=reading.tokens.unknown,
            ),
        )
        return select_labels(extraction, reading.guideline)

    def _run_all(
        self, work: Sequence[_Work], runners: ThreadPoolExecutor, go_on: Callable[[], bool]
    ) -> Iterator[list[_Run]]:
        """Pack windows into batches and run them while ``go_on`` returns True."""
        lengths = [window.end - window.start + self._special for _, window in work]
        parallel = self._session.parallel
        # With few windows, share them out, so that no thread idles while another has all of them.
        budget = min(self._config.session.batch_tokens, -(-sum(lengths) // parallel))
        one = self._session
        packed = pack(lengths, max(budget, 1), one.rows, padded=one.masked)
        return run_batches(
            [[work[index] for index in batch] for batch in packed],
            lambda batch: alone_where_it_fails(batch, self._read, _failed),
            runners,
            parallel,
            wanted=lambda one: not one[0].cancelled(),
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

    def _run(
        self, sequences: Sequence[npt.NDArray[np.int32]], session: Session | None = None
    ) -> npt.NDArray[np.float32]:
        """Return the logits of token sequences, with special tokens added; shape (rows, length,
        labels).

        ``session``: another session of the same file, for probing.
        """
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
        probing = session is not None
        return (session or self._session).run(ids, mask, quiet=probing)[: len(sequences)]

    def _window(self) -> tuple[int, int]:
        """Return the window size without special tokens, and the overlap."""
        name, configured = self._config.name, self._config.window.size
        longest = self._folder.longest
        if self._session.length is not None:
            longest = min(longest, self._session.length)
        if configured is not None and configured > longest:
            raise ConfigError(
                f"model {name}: window.size is {configured}, but {self._folder.path} "
                f"takes at most {longest} tokens"
            )
        session = self._session
        if session.provider == _CUDA:  # a GPU does not report out-of-range positions
            settings = OnnxSession(provider="cpu")
            session = Session(self._folder.model, settings, None, 0)

        # A token of text: padding has no position, and config.json may not state its id.
        text = self._tokenizer.encode("a").ids[:1]

        def attempt(length: int) -> None:
            tokens = np.resize(text, length - self._special) if len(text) else text
            self._run([tokens], session)

        size = usable_length(attempt, configured or longest, self._special + 1)
        if configured is not None and size < configured:
            raise ConfigError(
                f"model {name}: window.size is {configured}, but {self._folder.path} "
                f"takes at most {size} tokens"
            )
        overlap = self._config.window.overlap
        overlap = size // 4 if overlap is None else overlap
        return size - self._special, min(overlap, (size - self._special) // 2)

    def _probe(self) -> None:
        """Run a window of special tokens alone, so that incompatible files fail at load."""
        file, expected = self._folder.model, len(self._folder.labels)
        try:
            found = self._run([np.zeros(0, np.int32)]).shape[-1]
        except Exception as error:
            raise ModelFileError(f"{file}: onnxruntime cannot run the model: {error}") from error
        if found != expected:
            raise ModelFileError(
                f"{file}: has {found} logits per token, but id2label in config.json has {expected}"
            )


def _warn_of_doubtful_labels(model: str, labels: Labels) -> None:
    """Warn about doubtful label tables, which nothing else would reveal."""
    if labels.unfit:
        _LOG.warning(
            "model %s: labels %s have no role, unlike the others: each is treated as its own type; "
            "add those that mean no entity to decode.outside",
            model,
            ", ".join(labels.unfit),
        )
    if ((labels.kind >= 0) | labels.ignored).all():
        _LOG.warning(
            "model %s: none of the labels %s means no entity, so every token is part of one; add "
            "the one that means no entity to decode.outside",
            model,
            ", ".join(labels.names),
        )


def _problems(reading: TokenizedDocument) -> tuple[str, ...]:
    unknown, tokens = reading.tokens.unknown, len(reading.tokens)
    if unknown <= MOST_UNKNOWN * tokens:
        return ()
    return (f"{unknown} of {tokens} tokens are unknown to the model",)


def _failed(work: _Work, failure: Failure) -> _Run:
    return (*work, failure, 0.0)


def _decode_isolated(decoder: LabelDecoder, parts: Sequence[LogitsPart]) -> list[_Outcome]:
    """Decode all parts at once, or one by one if that fails, so that a document fails alone."""
    try:
        return list(decoder.decode(parts))
    except Exception as error:
        if len(parts) == 1:
            return [error]
        return [outcome for part in parts for outcome in _decode_isolated(decoder, [part])]


def _fingerprint(config: OnnxModel, folder: ModelFolder) -> str:
    content = {"model": config.identity(), "results": results_of(config.kind)}
    there = CLASSIFIER_FILES.chosen(config.weights.file).present(folder.path)
    return fingerprint(content, **{path.name: digest(path) for path in there})
