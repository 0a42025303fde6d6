"""From a document to requests of the engine: what differs between text and pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, fields
from typing import Protocol

from actors.config import GgufModel
from actors.engine import Request, RequestRefused, Sampling, Thinking
from actors.gguf.asking import Asking, Askings
from actors.gguf.model import LlamaModel
from actors.gguf.reading import cut
from actors.gguf.runner import LlamaRunner
from actors.prompts import Prompt, PromptError
from actors.spans import Document, Extraction, utf8_error


class DocumentError(ValueError):
    """A document that the model cannot be asked about; the message holds no text of it."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model with its settings resolved, and its prompts by guideline."""

    config: GgufModel
    model: LlamaModel
    plans: Askings


@dataclass(frozen=True, slots=True)
class Prepared:
    """The requests of a document, the place in its text that each is about, and notes on what was
    done with the document, such as pages made smaller."""

    requests: Sequence[Request]
    places: list[tuple[int, int]]
    notes: list[str] = field(default_factory=list)


class Inputs(Protocol):
    """A way to put documents before a generative model."""

    @property
    def document_errors(self) -> tuple[type[Exception], ...]:
        """Errors caused by the document itself; their messages never quote it."""

    @property
    def digests(self) -> Mapping[str, str]:
        """Digests of weights beside the model's own, by what they are."""

    @property
    def memory_used(self) -> Mapping[str, int]:
        """Bytes that these weights take, by place and purpose."""

    def open(self, loaded: LoadedModel, threads: int, rows: int) -> LlamaRunner:
        """The context on the model; closing it closes the model. Called once, first."""

    def schedule(
        self, document: Document, future: Future[Extraction], prepare: Callable[[], None]
    ) -> None:
        """Have ``prepare`` called, now or when there is room for the document."""

    def prepare(self, document: Document, plan: Asking) -> Prepared:
        """The requests of a document; raises one of ``document_errors``."""

    def close(self) -> None:
        """Prepare no more; called before the runner is closed."""


class TextInputs:
    """Documents as text, in windows that fit the context."""

    document_errors: tuple[type[Exception], ...] = (PromptError, RequestRefused, DocumentError)
    digests: Mapping[str, str] = {}
    memory_used: Mapping[str, int] = {}

    def open(self, loaded: LoadedModel, threads: int, rows: int) -> LlamaRunner:
        """As Inputs.open."""
        self.bind(loaded)
        return LlamaRunner(loaded.model, loaded.config.context, threads, rows)

    def bind(self, loaded: LoadedModel) -> None:
        """Prepare for a model whose context somebody else opens."""
        self._loaded = loaded

    def schedule(
        self, document: Document, future: Future[Extraction], prepare: Callable[[], None]
    ) -> None:
        """As Inputs.schedule: in the caller's thread, at once."""
        prepare()

    def prepare(self, document: Document, plan: Asking) -> Prepared:
        """As Inputs.prepare."""
        text = document.text
        if text is None:
            raise DocumentError("the document has no text")
        if problem := utf8_error(text):
            raise DocumentError(problem)
        model, plans = self._loaded.model, self._loaded.plans
        tokens = model.tokenize_text(text)
        places = cut(text, tokens, model.pieces, *plans.window(plan, document.prompt))
        requests = [
            self._request(document, plan, index, text[start:end])
            for index, (start, end) in enumerate(places)
        ]
        return Prepared(requests, places)

    def close(self) -> None:
        """As Inputs.close."""

    def _request(self, document: Document, plan: Asking, index: int, window: str) -> Request:
        prompt = plan.format.render(window, document.prompt)
        prefix, suffix = self._loaded.plans.tokens(prompt)
        config, grammar = self._loaded.config, plan.format.grammar(window)
        return Request(
            prefix=prefix,
            suffix=suffix,
            grammar=grammar,
            sampling=request_sampling(config, document.id, index),
            max_tokens=config.sampling.limit,
            stop=() if grammar else config.sampling.stop,
            n_probs=config.sampling.n_probs,
            thinking=thinking(self._loaded, prompt, len(prefix) + len(suffix), bool(grammar)),
        )


def thinking(
    loaded: LoadedModel, prompt: Prompt, length: int, constrained: bool
) -> Thinking | None:
    """The bound on a thinking block, which the prompt of ``length`` tokens may have opened.

    A constrained answer begins after it, so without a stated budget half of what there is room for
    is kept for the answer.
    """
    config = loaded.config
    opened = prompt.text.rstrip().endswith("<think>")
    budget, limit = config.prompt.reasoning_budget, config.sampling.limit
    if constrained and budget < 0:
        room = config.context.length - length
        budget = (room if limit is None else min(room, limit)) // 2
    if constrained and not opened and (budget == 0 or not loaded.model.can_think):
        return None
    return loaded.model.thinking(budget, opened)


# The parts of a file's sampling that the engine's has under the same names.
_SAMPLING = {field.name for field in fields(Sampling)} - {"seed"}


def request_sampling(config: GgufModel, document_id: str, window: int) -> Sampling:
    """The configured sampling with a seed of this window's own, whatever runs beside it."""
    given = config.sampling
    name = f"{given.seed}\0{document_id}\0{window}".encode("utf-8", "surrogatepass")
    seed = int.from_bytes(hashlib.sha256(name).digest()[:8], "big")
    return Sampling(**given.model_dump(include=_SAMPLING), seed=seed)
