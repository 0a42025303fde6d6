"""The GGUF Extractor backend: a document to windows, prompts, completions, and entities.

The prompt is made in the caller's thread, tokens in the engine's; parsing and grounding have a
thread of their own, so that no document's answer holds up the next step of the others.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, replace
from functools import partial
from threading import Lock
from time import perf_counter
from typing import ClassVar

from actors.config import GgufModel, LabelFilter
from actors.engine import (
    Completion,
    Engine,
    EngineLost,
    Request,
    RequestRefused,
    Sampling,
    Techniques,
    Thinking,
)
from actors.gguf.asking import Asking, Askings, check_labels
from actors.gguf.model import LlamaModel
from actors.gguf.reading import Reading, choices, cut, scored, united
from actors.gguf.runner import LlamaRunner
from actors.grounding import check, ground, mark_further
from actors.guideline import Guideline
from actors.memory import (
    card_memory,
    check_gguf,
    cores,
    is_open,
    output_rows,
    read_gguf,
    settled_gguf,
    usual_gguf,
)
from actors.merge import merge, merge_windows
from actors.prompts import Parsed, Prompt, PromptError, chat_template
from actors.spans import Document, Entity, Extraction, Failure, Status, Tell, Usage
from actors.weights import digest, fetch, open_weights


class Unreadable(ValueError):
    """A document that cannot be read; the message holds no text of it."""


_PROBLEM = {
    "length": "truncated: the output reached its limit of tokens",
    "grammar": "truncated: the grammar could not go on",
}


class GgufBackend:
    """A language model behind ``submit``. Its configuration says what it is (``GgufModel``).

    ``threads``: CPU threads, None for all of this process. ``gpu``: the share of one card, 0 for
    none, None for whatever is visible. ``techniques``: the engine's switches, for measuring.
    Raises ConfigError, FileNotFoundError or ValueError where the model cannot be loaded.
    """

    refusals: ClassVar[tuple[type[Exception], ...]] = (PromptError, RequestRefused, Unreadable)
    """What a document alone can be at fault for, with a message that quotes nothing of it."""

    def __init__(
        self,
        config: GgufModel,
        threads: int | None = None,
        gpu: float | None = None,
        techniques: Techniques | None = None,
    ) -> None:
        path = fetch(config.weights.model, config.weights.sha256)
        check_labels(config)
        self._config = config = _settled(config, gpu)
        weights = {"weights": config.weights.sha256 or digest(path), **self._digests()}
        self._model = model = LlamaModel(path, config.context, gpu=gpu != 0)
        try:
            for adapter in config.weights.lora:
                model.attach(fetch(adapter.model, adapter.sha256), adapter.scale)
            bos, eos = model.special_texts
            chat = chat_template(
                config.prompt.chat_template, gguf=model.chat_template, bos=bos, eos=eos
            )
            self._askings = Askings(config, weights, model, chat)
            runner = self._runner(threads or cores(), output_rows(config.context))
        except Exception:
            model.close()
            raise
        self._buffers = runner.buffers
        self._engine = Engine(runner, config.context.slots, techniques)
        self._answers = ThreadPoolExecutor(1, thread_name_prefix=f"gguf-{config.name}")

    def _digests(self) -> dict[str, str]:
        """The digests of further weights, by what they are."""
        return {
            f"lora {number}": f"{adapter.scale} {adapter.sha256 or digest(fetch(adapter.model))}"
            for number, adapter in enumerate(self._config.weights.lora)
        }

    def _runner(self, threads: int, rows: int) -> LlamaRunner:
        """The context on the model; closing it closes the model."""
        return LlamaRunner(self._model, self._config.context, threads, rows)

    @property
    def fingerprint(self) -> str:
        """Digest of the weights and of the settings that can change an answer.

        Where the weights lie and how many documents run beside each other are not in it.
        """
        return self._askings.own.fingerprint

    @property
    def took(self) -> dict[str, int]:
        """Bytes that llama.cpp says to have taken, by place and purpose, such as "CUDA0 KV"."""
        total: Counter[str] = Counter()
        for buffer in self._buffers:
            total[f"{buffer.place} {buffer.kind}"] += buffer.size
        return dict(total)

    @property
    def engine(self) -> Engine:
        """The engine, for its counters."""
        return self._engine

    def submit(
        self, document: Document, guideline: Guideline | None = None, tell: Tell | None = None
    ) -> Future[Extraction]:
        """Queue a document; thread-safe. The future has an exception only if the model is lost.

        Cancelling it frees the model for others at the next step. ``guideline`` takes the place of
        the model file's own; ``tell`` hears what is printed.
        """
        future: Future[Extraction] = Future()
        self._begin(document, future, guideline, tell)
        return future

    def _begin(
        self,
        document: Document,
        future: Future[Extraction],
        guideline: Guideline | None,
        tell: Tell | None,
    ) -> None:
        """Ask the engine; the future gets the answer, or the failure of what cannot be asked."""
        began = perf_counter()
        try:
            reading = self._read(document, future, self._askings.under(guideline), tell)
        except self.refusals as error:
            self._fail(future, document, Failure(type(error).__name__, str(error)))
            return
        except Exception as error:
            # Only the type: the message of an unforeseen error may quote the document.
            self._fail(future, document, Failure(type(error).__name__, "while making the prompt"))
            return
        reading.seconds = perf_counter() - began
        self._wait(reading)

    def close(self) -> None:
        """Release the model; documents still queued are cancelled."""
        self._engine.close()
        self._answers.shutdown()

    def _read(
        self, document: Document, future: Future[Extraction], asking: Asking, tell: Tell | None
    ) -> Reading:
        text = document.text
        if text is None:
            raise Unreadable("the document has no text")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Unreadable(f"a lone surrogate at character {error.start} is no text") from None
        tokens = self._model.tokenize_text(text)
        places = cut(
            text, tokens, self._model.pieces, *self._askings.window(asking, document.prompt)
        )
        requests = [
            self._request(document, asking, index, text[start:end])
            for index, (start, end) in enumerate(places)
        ]
        return self._asked(Reading(document, future, asking, places), requests, tell)

    def _asked(self, reading: Reading, requests: Sequence[Request], tell: Tell | None) -> Reading:
        """The reading, with the requests of its windows or pages in the engine."""
        reading.asked = [
            self._engine.submit(
                request, None if tell is None else partial(tell, index), asker=reading.future
            )
            for index, request in enumerate(requests)
        ]
        return reading

    def _request(self, document: Document, asking: Asking, index: int, window: str) -> Request:
        prompt = asking.format.render(window, document.prompt)
        prefix, suffix = self._askings.tokens(prompt)
        sampling, grammar = self._config.sampling, asking.format.grammar(window)
        return Request(
            prefix=prefix,
            suffix=suffix,
            grammar=grammar,
            sampling=request_sampling(self._config, document.id, index),
            max_tokens=sampling.n_predict if sampling.n_predict >= 0 else None,
            stop=() if grammar else sampling.stop,
            n_probs=sampling.n_probs,
            thinking=self._thinking(prompt, len(prefix) + len(suffix), bool(grammar)),
        )

    def _thinking(self, prompt: Prompt, length: int, constrained: bool) -> Thinking | None:
        """The bound on a thinking block, which the prompt of ``length`` tokens may have opened.

        A constrained answer begins after it, so without a stated budget half of what there is room
        for is kept for the answer.
        """
        opened = prompt.text.rstrip().endswith("<think>")
        budget, most = self._config.prompt.reasoning_budget, self._config.sampling.n_predict
        if constrained and budget < 0:
            room = self._config.context.length - length
            budget = (room if most < 0 else min(room, most)) // 2
        if constrained and not opened and (budget == 0 or not self._model.can_think):
            return None
        return self._model.thinking(budget, opened)

    def _wait(self, reading: Reading) -> None:
        """Have the reading answered once its last window is done."""
        left, lock = len(reading.asked), Lock()

        def one_done(_: Future[Completion]) -> None:
            nonlocal left
            with lock:  # the steps, the preparing and the caller's thread may all come here
                left -= 1
                last = left == 0
            if last:
                self._answers.submit(self._answer, reading)

        def all_off(future: Future[Extraction]) -> None:
            if future.cancelled():
                for asked in reading.asked:
                    asked.cancel()

        reading.future.add_done_callback(all_off)
        for asked in reading.asked:
            asked.add_done_callback(one_done)

    def _answer(self, reading: Reading) -> None:
        if any(asked.cancelled() for asked in reading.asked):
            reading.future.cancel()  # the backend was closed
        if not reading.future.set_running_or_notify_cancel():
            return
        try:
            extraction = self._extraction(reading, [asked.result() for asked in reading.asked])
        except EngineLost as lost:
            reading.future.set_exception(lost)
        except RequestRefused as refused:
            failure = Failure("RequestRefused", str(refused))
            reading.future.set_result(self._failed(reading.document, failure))
        except Exception as error:
            failure = Failure(type(error).__name__, "while reading the answer")
            reading.future.set_result(self._failed(reading.document, failure))
        else:
            reading.future.set_result(extraction)

    def _extraction(self, reading: Reading, completions: Sequence[Completion]) -> Extraction:
        began = perf_counter()
        text, asking = reading.document.text or "", reading.asking
        parts = [asking.format.parse(completion.text) for completion in completions]
        grounding = self._config.prompt.grounding
        found = [
            ground(
                [scored(said, completion, self._model.pieces) for said in part.said],
                text,
                grounding,
                model=self._config.name,
                window=place,
            )
            for part, completion, place in zip(parts, completions, reading.places, strict=True)
        ]
        problems = list(reading.notes)
        if self._config.prompt.check and text:
            found = [check(part.answer, text, model=self._config.name) for part in parts]
        elif self._config.prompt.check:
            problems.append("not checked: no text was read that the answer could be held against")
        entities = merge_windows(found, reading.places) if len(found) > 1 else found[0]
        if grounding.mark_all and not self._config.prompt.check:
            entities = mark_further(entities, text)
        entities = filtered(entities, asking.labels)
        if self._config.overlaps != "all":
            entities = merge([entities], self._config.overlaps)
        short = any(
            completion.finish_reason != "stop" or part.bounded
            for part, completion in zip(parts, completions, strict=True)
        )
        return Extraction(
            document_id=reading.document.id,
            model=self._config.name,
            fingerprint=asking.fingerprint,
            status=Status.TRUNCATED if short else Status.OK,
            entities=tuple(entities),
            completion="\n\n".join(map(_answered, parts, completions)),
            reasoning="\n\n".join(part.reasoning for part in parts if part.reasoning) or None,
            structured=united(parts),
            problems=(*problems, *_problems(parts, completions)),
            usage=Usage(
                prompt_tokens=sum(c.prompt_tokens for c in completions),
                completion_tokens=sum(len(c.tokens) for c in completions),
                seconds=reading.seconds
                + sum(c.seconds for c in completions)
                + perf_counter()
                - began,
            ),
            choices=tuple(choices(completions, self._model.pieces)),
        )

    def _failed(self, document: Document, failure: Failure) -> Extraction:
        return Extraction(
            document.id, self._config.name, self.fingerprint, Status.FAILED, failure=failure
        )

    def _fail(self, future: Future[Extraction], document: Document, failure: Failure) -> None:
        if future.set_running_or_notify_cancel():
            future.set_result(self._failed(document, failure))


def _settled(config: GgufModel, gpu: float | None) -> GgufModel:
    """The model with numbers for what its file leaves open, checked against a share that is stated.
    Pools have settled this before the actor began; a notebook has not."""
    card = card_memory() if gpu != 0 else None
    if card is not None and (gpu or is_open(config)):
        file = read_gguf(open_weights, config)
        # Nobody said that this process may take a whole card: it is not filled.
        config = settled_gguf(file, config, gpu or 1.0, card, grow=bool(gpu))
        if gpu:
            check_gguf(config.name, file, config, gpu, card)
        return config
    if config.context.n_ctx == "auto":
        return usual_gguf(read_gguf(open_weights, config), config)
    return config


def filtered(entities: Sequence[Entity], labels: LabelFilter) -> list[Entity]:
    """The entities that a label filter lets through, under the names that it gives them."""
    return [
        replace(entity, label=labels.replace.get(entity.label, entity.label))
        for entity in entities
        if (not labels.white_list or entity.label in labels.white_list)
        and entity.label not in labels.black_list
        and (entity.score is None or entity.score >= _least(entity, labels))
    ]


def _least(entity: Entity, labels: LabelFilter) -> float:
    return labels.thresholds.get(entity.label, labels.threshold)


def _answered(part: Parsed, completion: Completion) -> str:
    """What was printed; the answer alone where thinking came before it."""
    return completion.text if part.reasoning is None else part.answer


def _problems(parts: Sequence[Parsed], completions: Sequence[Completion]) -> tuple[str, ...]:
    problems = []
    for index, (part, completion) in enumerate(zip(parts, completions, strict=True), start=1):
        where = f"window {index} of {len(parts)}: " if len(parts) > 1 else ""
        if completion.finish_reason != "stop":
            problems.append(where + _PROBLEM[completion.finish_reason])
        problems += [where + problem for problem in part.problems]
    return tuple(problems)


# The parts of a file's sampling that the engine's has under the same names.
_SAMPLING = {field.name for field in fields(Sampling)} - {"seed"}


def request_sampling(config: GgufModel, document_id: str, window: int) -> Sampling:
    """The configured sampling with a seed of this window's own, whatever runs beside it."""
    given = config.sampling
    name = f"{given.seed}\0{document_id}\0{window}".encode("utf-8", "surrogatepass")
    seed = int.from_bytes(hashlib.sha256(name).digest()[:8], "big")
    return Sampling(**given.model_dump(include=_SAMPLING), seed=seed)
