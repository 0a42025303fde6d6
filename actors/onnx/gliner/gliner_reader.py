"""A loaded GLiNER model that reads documents: words, windows, batches, candidates, entities.

Windows of different documents share batches, and so do different labels where these stand in the
prompt. On the CPU a document's entities and scores do not depend on its neighbours: padding is
masked out and adds exact zeros, for float and for static int8 files. Where the spans of a model see
padding, only windows of as many words share a batch.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from actors.arrays import Float32Array, Int32Array
from actors.config import ConfigError, GlinerModel
from actors.gliner_folder import GLINER_FILES, read_gliner_folder
from actors.guideline import Guideline
from actors.model_folder import ModelFileError, pad_id
from actors.onnx.batches import alone_where_it_fails, run_batches
from actors.onnx.gliner.gliner_document import GlinerDocument, Task
from actors.onnx.gliner.gliner_session import BatchRow, GlinerSession
from actors.onnx.gliner.plans import Plan, Plans
from actors.onnx.gliner.prompts import LabelTooLong
from actors.onnx.gliner.span_decoding import Candidate, select, span_candidates, token_candidates
from actors.onnx.gliner.word_splitter import Splitter, WordSpans, split
from actors.onnx.gliner.word_windows import WordWindow, owner, word_windows
from actors.onnx.packing import pack
from actors.onnx.tokenizer import TextTokenizer, TokenizedText
from actors.onnx.tokens.label_decoder import TokenSpan
from actors.onnx.tokens.token_classifier import MOST_UNKNOWN
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

# A window that was read: its candidates, or why there are none, its tokens and its seconds.
_Run = tuple[Task, list[Candidate] | Failure, int, float]


class GlinerReader:
    """A model, loaded and tried. Its calls may come from several threads, each with readings of its
    own; see ``OnnxBackend``.

    Raises ConfigError, ModelFileError, WeightsError or FileNotFoundError where it cannot be loaded
    as configured. ``fingerprint`` is of the settings and of the contents of the folder.
    """

    def __init__(
        self,
        config: GlinerModel,
        threads: int | None,
        gpu: float | None,
        cpu_fallback: bool = False,
    ) -> None:
        folder = read_gliner_folder(fetch_model(config), config.weights.file)
        self._config, self._folder = config, folder
        self._splitter: Splitter = (
            "whitespace" if config.decode.splitter == "model" else config.decode.splitter
        )
        self._tokenizer = TextTokenizer(folder.path)
        self._pad = pad_id(folder.path)
        special = len(self._tokenizer.before) + len(self._tokenizer.after)
        self._size = self._window()
        self._budget = self._size - special
        self._session = GlinerSession(folder, config.session, threads, gpu, cpu_fallback)
        there = GLINER_FILES.chosen(config.weights.file).present(folder.path)
        try:
            self._plans = Plans(
                config,
                folder,
                self._tokenizer,
                self._session,
                budget=self._budget // 2,
                digests={path.name: digest(path) for path in there},
                pad=self._pad,
            )
        except LabelTooLong as error:
            raise ConfigError(f"model {config.name}: {error}") from error
        self._probe()
        self.fingerprint = self._plans.own.fingerprint

    def open(
        self, document: Document, guideline: Guideline | None, cancelled: Callable[[], bool]
    ) -> GlinerDocument:
        """The document in words; one that cannot be read has its failure already.

        ``guideline``: replaces that of the model file.
        """
        began = time.perf_counter()
        try:
            plan = self._plans.of(guideline)
        except LabelTooLong as error:  # its message holds words of the guideline alone
            failure = Failure(type(error).__name__, str(error))
            return GlinerDocument(document, None, cancelled, failure=failure)
        reading = GlinerDocument(document, plan, cancelled)
        try:
            reading.failure = text_failure(document.text)
            if reading.failure is not None or document.text is None:
                return reading
            self._cut(reading, plan, document.text)
        except Exception as error:  # reported by type alone: its message may hold text
            reading.failure = Failure(type(error).__name__, "the text could not be tokenized")
        reading.seconds = time.perf_counter() - began
        return reading

    @property
    def parallel(self) -> int:
        """Batches that fill its threads when they run at a time."""
        return self._session.parallel

    def advance(
        self,
        readings: Sequence[GlinerDocument],
        tokens: int,
        runners: ThreadPoolExecutor,
        go_on: Callable[[], bool],
        on_progress: OnProgress,
    ) -> None:
        """Read the next windows of all of them, ``tokens`` of each.

        A long document takes several calls. Once ``go_on`` returns False, no more batches start:
        the other windows wait for the next call. Raises only where the model is lost to this
        process.
        """
        runs = run_batches(
            self._batches([task for one in readings for task in one.next_tasks(tokens)]),
            lambda batch: alone_where_it_fails(batch, self._read, _failed),
            runners,
            self._session.parallel,
            wanted=lambda task: not task.reading.cancelled(),
            go_on=go_on,
        )
        for ran in runs:
            on_progress()
            for task, found, count, seconds in ran:
                task.reading.waiting.remove(task)
                task.reading.tokens += count
                task.reading.seconds += seconds
                if isinstance(found, Failure):
                    task.reading.failure = found
                else:
                    task.reading.found += found

    def extraction(self, reading: GlinerDocument) -> Extraction:
        """Return the extraction of a finished document."""
        began = time.perf_counter()
        entities: list[Entity] = []
        failure, plan = reading.failure, reading.plan
        if failure is None and plan is not None:
            try:
                entities = self._entities(reading, plan)
            except Exception as error:  # its message may hold text
                failure = Failure(type(error).__name__, "its entities could not be built")
        return Extraction(
            document_id=reading.document.id,
            model=self._config.name,
            fingerprint=self.fingerprint if plan is None else plan.fingerprint,
            status=Status.OK if failure is None else Status.FAILED,
            entities=tuple(entities),
            failure=failure,
            problems=() if failure is not None else reading.problems,
            usage=Usage(
                prompt_tokens=reading.tokens,
                seconds=reading.seconds + time.perf_counter() - began,
                unknown_tokens=reading.unknown,
            ),
        )

    def _cut(self, reading: GlinerDocument, plan: Plan, text: str) -> None:
        """Give the reading its words, their pieces and its windows."""
        places = split(text, self._splitter)
        spans = zip(places.starts.tolist(), places.ends.tolist(), strict=True)
        ids, pieces, unknown = self._tokenizer.encode_words(
            [text[start:end] for start, end in spans]
        )
        # What has no piece, such as a control character, is no word to the model.
        known = pieces > 0
        reading.places = WordSpans(places.starts[known], places.ends[known])
        pieces = pieces[known]
        reading.ids, reading.unknown = ids, unknown
        reading.before = np.concatenate([[0], np.cumsum(pieces)]).astype(np.int32)
        budgets = [self._budget - len(prompt.ids) for prompt in plan.prompts]
        reading.windows = tuple(self._windows(pieces, budget) for budget in budgets)
        reading.problems = tuple(
            _problems(int((pieces > min(budgets, default=self._budget)).sum()), unknown, len(ids))
        )

    def _windows(self, pieces: Int32Array, budget: int) -> list[WordWindow]:
        overlap = self._config.window.overlap
        overlap = budget // 4 if overlap is None else overlap
        shared = 0 if self._folder.token_level else self._folder.width
        return word_windows(
            pieces, budget, self._folder.most_words, min(overlap, budget // 2), shared
        )

    def _batches(self, tasks: Sequence[Task]) -> list[list[Task]]:
        """Tasks that may go through the model together, packed by length."""
        groups: dict[object, list[Task]] = defaultdict(list)
        for task in tasks:
            window = task.reading.windows[task.prompt][task.window]
            labels = (id(task.reading.plan), task.prompt) if self._folder.two_encoders else None
            words = window.end - window.start if self._folder.sees_padding else None
            groups[labels, words].append(task)
        lengths = {key: [self._length(task) for task in group] for key, group in groups.items()}
        total = sum(map(sum, lengths.values()))
        # Few windows are shared out, so that no thread is idle while another has all of them.
        budget = min(self._config.session.batch_tokens, -(-total // self._session.parallel))
        return [
            [group[index] for index in batch]
            for key, group in groups.items()
            for batch in pack(lengths[key], max(budget, 1))
        ]

    def _length(self, task: Task) -> int:
        plan, window = _plan(task), task.reading.windows[task.prompt][task.window]
        text = int(task.reading.before[window.end] - task.reading.before[window.start])
        return min(
            self._size, len(plan.prompts[task.prompt].ids) + text + self._size - self._budget
        )

    def _read(self, batch: Sequence[Task]) -> list[_Run]:
        """The candidates of each window, of those spans that it decides."""
        began = time.perf_counter()
        rows = [self._row(task) for task in batch]
        first = batch[0]
        logits = self._session.run(rows, self._pad, _plan(first).encoded[first.prompt])
        seconds = (time.perf_counter() - began) / len(batch)
        return [
            (task, self._candidates(task, scores, row.words), len(row.ids), seconds)
            for task, row, scores in zip(batch, rows, logits, strict=True)
        ]

    def _row(self, task: Task) -> BatchRow:
        reading, prompt = task.reading, _plan(task).prompts[task.prompt]
        window = reading.windows[task.prompt][task.window]
        pieces = reading.pieces(window)[: self._budget - len(prompt.ids)]
        counts = np.diff(reading.before[window.start : window.end + 1])
        words = np.repeat(np.arange(1, len(counts) + 1), counts)[: len(pieces)]
        marks = words.copy()
        if self._folder.pooling == "first":
            marks[1:][words[1:] == words[:-1]] = 0
        elif self._folder.pooling == "last":
            marks[:-1][words[1:] == words[:-1]] = 0
        before = [*self._tokenizer.before, *prompt.ids.tolist()]
        after = self._tokenizer.after
        return BatchRow(
            np.array([*before, *pieces.tolist(), *after], np.int32),
            np.array([0] * len(before) + marks.tolist() + [0] * len(after), np.int32),
            len(counts),
        )

    def _candidates(
        self, task: Task, logits: Float32Array, words: int
    ) -> list[Candidate] | Failure:
        reading, prompt = task.reading, _plan(task).prompts[task.prompt]
        windows = reading.windows[task.prompt]
        start = windows[task.window].start
        labels = len(prompt.labels)
        token_level = self._folder.token_level
        logits = logits[:words, :labels] if token_level else logits[:words, :, :labels]
        if not np.isfinite(logits).all():
            return Failure("NotFinite", "the model's logits are not finite numbers")
        find = token_candidates if token_level else span_candidates
        count = len(reading.places)
        found = []
        for one in find(logits, words, prompt.floors):
            first, last = one.first + start, one.last + start
            if owner(windows, task.window, first, last, count) == task.window:
                found.append(Candidate(first, last, prompt.labels[one.label], one.score))
        return found

    def _entities(self, reading: GlinerDocument, plan: Plan) -> list[Entity]:
        best: dict[tuple[int, int, int], Candidate] = {}
        for one in reading.found:
            key = (one.first, one.last, one.label)
            if key not in best or one.score > best[key].score:
                best[key] = one
        decode = self._config.decode
        taken = select(best.values(), decode.overlaps == "nested", decode.multi_label)
        places = reading.places
        order = np.arange(len(places), dtype=np.int32)
        words = TokenizedText(ids=order, starts=places.starts, ends=places.ends, words=order)
        spans = [TokenSpan(c.first, c.last, plan.labels[c.label], c.score) for c in taken]
        return plan.chooser.entities(reading.document.text or "", words, spans)

    def _window(self) -> int:
        """Tokens of a window, all counted."""
        folder, size = self._folder, self._config.window.size or self._folder.longest
        if size > folder.longest:
            raise ConfigError(
                f"model {self._config.name}: window.size is {size}, but {folder.path} takes at "
                f"most {folder.longest} tokens"
            )
        return size

    def _probe(self) -> None:
        """Read one word under every prompt: what does not fit together fails at once."""
        reading = self.open(Document("probe", "a"), None, lambda: False)
        for task in reading.next_tasks(self._size * len(self._plans.own.prompts)):
            prompt = _plan(task).prompts[task.prompt]
            row = self._row(task)
            try:
                found = self._session.run([row], self._pad, _plan(task).encoded[task.prompt]).shape
            except Exception as error:
                raise ModelFileError(
                    f"{self._folder.model}: onnxruntime cannot run it: {error}"
                ) from error
            labels = len(prompt.labels)
            expected = (
                (1, row.words, labels, 3)
                if self._folder.token_level
                else (1, row.words, self._folder.width, labels)
            )
            if found != expected:
                raise ModelFileError(
                    f"{self._folder.model}: gives logits of shape {found} for one word and "
                    f"{labels} labels, not {expected}, as gliner_config.json says"
                )


def _problems(long: int, unknown: int, tokens: int) -> Iterator[str]:
    if long:
        yield f"words longer than a window, read only in part: {long}"
    if unknown > MOST_UNKNOWN * tokens:
        yield f"{unknown} of {tokens} tokens are unknown to the model"


def _plan(task: Task) -> Plan:
    plan = task.reading.plan
    assert plan is not None, "a reading without a plan has failed and gives out no tasks"
    return plan


def _failed(task: Task, failure: Failure) -> _Run:
    return task, failure, 0, 0.0
