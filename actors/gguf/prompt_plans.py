"""Prompt settings of a model under one guideline: format, window size and fingerprint.

A model has the guideline of its file; a request may bring another. Settings are built once per
guideline and cached, so a guideline's prompt is the same prefix every time and the engine computes
it once. The least recently used guideline is evicted.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

from actors.config import ConfigError, GgufModel, LabelFilter, fingerprint, results_of
from actors.gguf.model import LlamaModel
from actors.guideline import Guideline
from actors.prompts import ChatTemplate, Prompt, PromptError, PromptFormat, Segment, prompt_format

_KEPT = 32


@dataclass(frozen=True, slots=True)
class PromptPlan:
    """Prompt settings under one guideline. ``size`` and ``overlap`` are the tokens of a document
    window and of the overlap of neighbours. ``begun``: the prompt opens a thinking block.
    ``fingerprint``: equal fingerprints, equal entities."""

    format: PromptFormat
    labels: LabelFilter
    size: int
    overlap: int
    begun: bool
    fingerprint: str


class PromptPlans:
    """LRU cache of per-guideline prompt settings (format, window, fingerprint). Thread-safe."""

    def __init__(
        self, config: GgufModel, weights: Mapping[str, str], model: LlamaModel, chat: ChatTemplate
    ) -> None:
        """``weights`` are their digests. Raises ConfigError if the file's own guideline does not
        fit the context, PromptError if it does not fit the format."""
        self._config, self._weights, self._model, self._chat = config, weights, model, chat
        self._cache: OrderedDict[str, PromptPlan] = OrderedDict()
        self._lock = Lock()
        self._prefix = lru_cache(maxsize=_KEPT)(self._prefix_tokens)
        self.own = self._build(config)

    def under(self, guideline: Guideline | None) -> PromptPlan:
        """Return the settings for a guideline; None: the model file's own.

        Raises PromptError if this model does not support the guideline. Of the file's label filter,
        only the general threshold applies to another guideline: the rest refers to the file's own
        labels.
        """
        if guideline is None or guideline == self._config.prompt.guideline:
            return self.own
        key = guideline.model_dump_json()
        with self._lock:
            found = self._cache.get(key)
            if found is None:
                found = self._cache[key] = self._for_guideline(guideline)
                if len(self._cache) > _KEPT:
                    self._cache.popitem(last=False)
            self._cache.move_to_end(key)
        return found

    def prefix(self, prompt: Prompt) -> tuple[int, ...]:
        """Return the tokens of the prompt prefix shared by all documents."""
        return self._prefix(prompt.prefix)

    def tokens(self, prompt: Prompt) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return a prompt's tokens: the shared prefix and the rest."""
        prefix = self._prefix(prompt.prefix)
        tokens = self._model.tokenize(prompt.prefix + prompt.suffix)
        if tuple(tokens[: len(prefix)]) != prefix:
            prefix = ()  # the tokenizer merged the document's start with the prefix's end
        return prefix, tuple(tokens[len(prefix) :])

    def _for_guideline(self, guideline: Guideline) -> PromptPlan:
        section = self._config.prompt
        if section.format == "prose":
            raise PromptError("format prose takes a prompt, not a guideline")
        if self._model.names_control(json.dumps(guideline.model_dump(), ensure_ascii=False)):
            # The file's own guideline is trusted; this one came with a request.
            raise PromptError("the guideline contains the text of a control token of this model")
        labels = LabelFilter.model_validate({"threshold": self._config.labels.threshold})
        prompt = section.model_copy(update={"guideline": guideline})
        try:
            return self._build(self._config.model_copy(update={"prompt": prompt, "labels": labels}))
        except ConfigError as error:
            raise PromptError(str(error)) from None

    def _build(self, config: GgufModel) -> PromptPlan:
        prompt_form = prompt_format(config.prompt, self._chat)
        # If every row brings its own prompt, its length is only known per request.
        own = "?" if config.prompt.format == "prose" and not config.prompt.instruction else None
        size, overlap = self._window(prompt_form, own)
        begun = prompt_form.render("", own).thinking == "opened"
        return PromptPlan(
            prompt_form, config.labels, size, overlap, begun, _fingerprint(config, self._weights)
        )

    def window(self, plan: PromptPlan, prompt: str | None) -> tuple[int, int]:
        """Return the window size and overlap in document tokens, with the document's own prompt if
        it has one. Raises PromptError if the prompt leaves no space for the document."""
        if prompt is None:
            return plan.size, plan.overlap
        try:
            return self._window(plan.format, prompt)
        except ConfigError as error:
            raise PromptError(f"with the document's own prompt: {error}") from None

    def _window(self, prompt_form: PromptFormat, prompt: str | None) -> tuple[int, int]:
        context, window = self._config.context.length, self._config.window
        empty = prompt_form.render("", prompt)
        instruction_tokens = len(self._model.tokenize(empty.prefix + empty.suffix))
        predict = self._config.sampling.n_predict
        output = min(predict, context // 2) if predict > 0 else context // 2
        # Eight tokens of slack: a window may tokenize differently at its edges.
        space = context - instruction_tokens - output - 8
        if space < 32:
            raise ConfigError(
                f"model {self._config.name}: n_ctx {context} is too small: the instructions take "
                f"{instruction_tokens} tokens and the output {output}, which leaves no space for a "
                "document"
            )
        size = min(window.size or space, space)
        return size, size // 8 if window.overlap is None else min(window.overlap, size // 2)

    def _prefix_tokens(self, prefix: tuple[Segment, ...]) -> tuple[int, ...]:
        return tuple(self._model.tokenize(prefix))


def _fingerprint(config: GgufModel, weights: Mapping[str, str]) -> str:
    content = {"model": config.identity(), "results": results_of(config.kind)}
    return fingerprint(content, **weights)


def check_labels(config: GgufModel) -> None:
    """Raise ConfigError if the label filter names labels that the guideline lacks."""
    guideline, labels = config.prompt.guideline, config.labels
    if not isinstance(guideline, Guideline):
        return
    if unknown_labels := labels.unknown(guideline.labels):
        raise ConfigError(
            f"model {config.name}: unknown labels: {', '.join(unknown_labels)}; "
            f"the guideline defines {', '.join(guideline.labels)}"
        )
