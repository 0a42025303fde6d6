"""How a model is asked under one guideline: its format, its windows, and what follows from them.

A model has the guideline of its file; a document may come with another. What belongs to a guideline
is made once and kept a while, so that its prompt is the same prefix each time: the engine computes
it once, and drops the one that was used longest ago.
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
from actors.prompts import ChatTemplate, Format, Prompt, PromptError, Segment, prompt_format

_KEPT = 32


@dataclass(frozen=True, slots=True)
class Asking:
    """A model under one guideline. ``size`` and ``overlap``: tokens of a document's window and of
    what neighbours share. ``fingerprint``: equal ones, equal entities."""

    format: Format
    labels: LabelFilter
    size: int
    overlap: int
    fingerprint: str


class Askings:
    """The ways to ask a loaded model, by guideline. Thread-safe."""

    def __init__(
        self, config: GgufModel, weights: Mapping[str, str], model: LlamaModel, chat: ChatTemplate
    ) -> None:
        """``weights``: their digests. Raises ConfigError where the file's own guideline does not
        fit the context, PromptError where it does not fit the format."""
        self._config, self._weights, self._model, self._chat = config, weights, model, chat
        self._kept: OrderedDict[str, Asking] = OrderedDict()
        self._lock = Lock()
        self._prefix = lru_cache(maxsize=_KEPT)(self._prefix_tokens)
        self.own = self._made(config)

    def under(self, guideline: Guideline | None) -> Asking:
        """How to ask under a guideline; None: the model file's own.

        Raises PromptError where this model cannot be asked so. Of the file's label filter only the
        general threshold holds under another guideline: the rest names the file's own labels.
        """
        if guideline is None or guideline == self._config.prompt.guideline:
            return self.own
        key = guideline.model_dump_json()
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                found = self._kept[key] = self._other(guideline)
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
        return found

    def prefix(self, prompt: Prompt) -> tuple[int, ...]:
        """The tokens of what all documents share."""
        return self._prefix(prompt.prefix)

    def tokens(self, prompt: Prompt) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """A prompt's tokens: those that all documents share, and the rest."""
        prefix = self._prefix(prompt.prefix)
        tokens = self._model.tokenize(prompt.prefix + prompt.suffix)
        if tuple(tokens[: len(prefix)]) != prefix:
            prefix = ()  # the document's first characters merged with the prefix's last
        return prefix, tuple(tokens[len(prefix) :])

    def _other(self, guideline: Guideline) -> Asking:
        section = self._config.prompt
        if section.format == "prose":
            raise PromptError("format prose asks with a prompt and takes no guideline")
        if self._model.names_control(json.dumps(guideline.model_dump(), ensure_ascii=False)):
            # The file's own is trusted; this one came with a document.
            raise PromptError("the guideline holds the text of a control token of this model")
        labels = LabelFilter.model_validate({"threshold": self._config.labels.threshold})
        prompt = section.model_copy(update={"guideline": guideline})
        try:
            return self._made(self._config.model_copy(update={"prompt": prompt, "labels": labels}))
        except ConfigError as error:
            raise PromptError(str(error)) from None

    def _made(self, config: GgufModel) -> Asking:
        form = prompt_format(config.prompt, self._chat)
        # Where every row brings its own prompt, how long it is shows when it comes.
        own = "?" if config.prompt.format == "prose" and not config.prompt.instruction else None
        size, overlap = self._window(form, own)
        return Asking(form, config.labels, size, overlap, _fingerprint(config, self._weights))

    def window(self, asking: Asking, prompt: str | None) -> tuple[int, int]:
        """Document tokens of one window at most, and how many neighbours share, for a document
        with a prompt of its own or without. Raises PromptError where the prompt leaves no room."""
        if prompt is None:
            return asking.size, asking.overlap
        try:
            return self._window(asking.format, prompt)
        except ConfigError as error:
            raise PromptError(f"with the document's own prompt: {error}") from None

    def _window(self, form: Format, prompt: str | None) -> tuple[int, int]:
        context, window = self._config.context.length, self._config.window
        empty = form.render("", prompt)
        around = len(self._model.tokenize(empty.prefix + empty.suffix))
        predict = self._config.sampling.n_predict
        output = min(predict, context // 2) if predict > 0 else context // 2
        # Eight tokens of slack: a window's own tokens may split differently at its edges.
        room = context - around - output - 8
        if room < 32:
            raise ConfigError(
                f"model {self._config.name}: n_ctx {context} has no room for a document beside "
                f"{around} tokens of instructions and {output} of output"
            )
        size = min(window.size or room, room)
        return size, size // 8 if window.overlap is None else min(window.overlap, size // 2)

    def _prefix_tokens(self, prefix: tuple[Segment, ...]) -> tuple[int, ...]:
        return tuple(self._model.tokenize(prefix))


def _fingerprint(config: GgufModel, weights: Mapping[str, str]) -> str:
    content = {"model": config.identity(), "results": results_of(config.kind)}
    return fingerprint(content, **weights)


def check_labels(config: GgufModel) -> None:
    """Raises ConfigError where a file's label filter names what its guideline has not."""
    guideline, labels = config.prompt.guideline, config.labels
    if not isinstance(guideline, Guideline):
        return
    if strange := labels.unknown(guideline.labels):
        raise ConfigError(
            f"model {config.name}: labels names {', '.join(strange)}; "
            f"the guideline has {', '.join(guideline.labels)}"
        )
