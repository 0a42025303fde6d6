"""Turn a document into engine requests; text and images implement this differently."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, fields
from typing import Protocol

from actors.config import GgufModel
from actors.engine import Request, RequestRefused, Sampling, Thinking
from actors.gguf.llama_runner import LlamaRunner
from actors.gguf.model import LlamaModel
from actors.gguf.prompt_plans import PromptPlan, PromptPlans
from actors.gguf.prompted_document import cut
from actors.prompts import Prompt, PromptError
from actors.spans import Document, Extraction, utf8_error


class DocumentError(ValueError):
    """An unusable document; the message never quotes it."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model with resolved settings and its prompt settings by guideline."""

    config: GgufModel
    model: LlamaModel
    plans: PromptPlans

    @property
    def constrained(self) -> bool:
        """True if a grammar says which tokens may follow."""
        return self.plans.own.format.grammar(None) is not None


@dataclass(frozen=True, slots=True)
class Prepared:
    """The requests of a document, the text span that each covers, and notes on preprocessing, such
    as downscaled pages."""

    requests: Sequence[Request]
    places: list[tuple[int, int]]
    notes: list[str] = field(default_factory=list)


class Inputs(Protocol):
    """A way to present documents to a generative model."""

    @property
    def document_errors(self) -> tuple[type[Exception], ...]:
        """Errors caused by the document itself; their messages never quote it."""

    @property
    def digests(self) -> Mapping[str, str]:
        """Digests of additional weights, by purpose."""

    @property
    def memory_used(self) -> Mapping[str, int]:
        """Bytes that the additional weights take, by place and purpose."""

    def open(self, loaded: LoadedModel, threads: int, rows: int) -> LlamaRunner:
        """Open the context on the model; closing it closes the model. Called once, first."""

    def schedule(
        self, document: Document, future: Future[Extraction], prepare: Callable[[], None]
    ) -> None:
        """Call ``prepare`` now, or later if documents must queue."""

    def prepare(self, document: Document, plan: PromptPlan) -> Prepared:
        """Build the requests of a document; raises one of ``document_errors``."""

    def close(self) -> None:
        """Stop preparing; called before the runner is closed."""


class TextInputs:
    """Documents as text, in windows that fit the context."""

    document_errors: tuple[type[Exception], ...] = (PromptError, RequestRefused, DocumentError)
    digests: Mapping[str, str] = {}
    memory_used: Mapping[str, int] = {}

    def open(self, loaded: LoadedModel, threads: int, rows: int) -> LlamaRunner:
        """See Inputs.open."""
        self.bind(loaded)
        context = loaded.config.context
        return LlamaRunner(loaded.model, context, threads, rows, narrow=loaded.constrained)

    def bind(self, loaded: LoadedModel) -> None:
        """Prepare for a model with a context that is opened elsewhere."""
        self._loaded = loaded

    def schedule(
        self, document: Document, future: Future[Extraction], prepare: Callable[[], None]
    ) -> None:
        """See Inputs.schedule: runs in the caller's thread, immediately."""
        prepare()

    def prepare(self, document: Document, plan: PromptPlan) -> Prepared:
        """See Inputs.prepare."""
        text = document.text
        if text is None:
            raise DocumentError("the document has no text")
        if problem := utf8_error(text):
            raise DocumentError(problem)
        model, plans = self._loaded.model, self._loaded.plans
        tokens = model.tokenize_text(text)
        places = cut(text, tokens, model.pieces, *plans.window(plan, document.prompt))
        content = document.content_digest()
        requests = [
            self._request(content, document.prompt, plan, index, text[start:end])
            for index, (start, end) in enumerate(places)
        ]
        return Prepared(requests, places)

    def close(self) -> None:
        """See Inputs.close."""

    def _request(
        self, content: bytes, own_prompt: str | None, plan: PromptPlan, index: int, window: str
    ) -> Request:
        prompt = plan.format.render(window, own_prompt)
        prefix, suffix = self._loaded.plans.tokens(prompt)
        config, grammar = self._loaded.config, plan.format.grammar(window)
        return Request(
            prefix=prefix,
            suffix=suffix,
            grammar=grammar,
            sampling=request_sampling(config, content, index),
            max_tokens=config.sampling.limit,
            stop=() if grammar else config.sampling.stop,
            n_probs=config.sampling.n_probs,
            thinking=thinking(self._loaded, prompt, len(prefix) + len(suffix), bool(grammar)),
        )


def thinking(
    loaded: LoadedModel, prompt: Prompt, length: int, constrained: bool
) -> Thinking | None:
    """Return the budget of a thinking block, which the prompt of ``length`` tokens may have opened.

    A constrained answer starts after it, so without an explicit budget half of the available tokens
    are reserved for the answer.
    """
    config = loaded.config
    if prompt.thinking == "closed":
        return None
    opened = prompt.thinking == "opened"
    budget, limit = config.prompt.reasoning_budget, config.sampling.limit
    if constrained and budget < 0:
        available = config.context.length - length
        budget = (available if limit is None else min(available, limit)) // 2
    if constrained and not opened and (budget == 0 or not loaded.model.can_think):
        return None
    return loaded.model.thinking(budget, opened)


# Sampling fields that the model file and the engine share by name.
_SAMPLING = {field.name for field in fields(Sampling)} - {"seed"}


def request_sampling(config: GgufModel, content: bytes, window: int) -> Sampling:
    """Return the configured sampling, with a seed that depends only on the digest of the document's
    content and on the window: equal documents are sampled alike, wherever they come."""
    given = config.sampling
    name = b"%d\0%b\0%d" % (given.seed, content, window)
    seed = int.from_bytes(hashlib.sha256(name).digest()[:8], "big")
    return Sampling(**given.model_dump(include=_SAMPLING), seed=seed)
