"""Request and result types of the engine. Independent of models and threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

FinishReason = Literal["stop", "length", "grammar"]
"""stop: an end token, a stop string, or a completed grammar. length: max_tokens or the context is
exhausted. grammar: the grammar reached a state that llguidance could not continue from."""


Likeliest = tuple[tuple[int, float], ...]
"""Tokens and their log probabilities, most likely first."""


PLACEHOLDER = -1
"""Stands in for each prompt token of an image."""


class Media(Protocol):
    """Non-vocabulary prompt content, such as an image. The runner interprets it; the engine only
    needs its size in tokens."""

    @property
    def tokens(self) -> int:
        """Number of KV-cache tokens it occupies."""

    @property
    def whole(self) -> bool:
        """True if it must be computed in one batch, because its tokens attend to each other."""


class EngineLost(RuntimeError):
    """The model failed fatally or was closed; the engine accepts no further requests."""


class RequestRefused(ValueError):
    """Only this request cannot be served; the message holds numbers, never prompt text."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters, with llama.cpp's names, semantics and order of samplers.

    Order: penalties, top-k, typical-p, top-p, min-p, temperature, draw. A grammar's mask is applied
    before all of them, so a draw is always from exactly the allowed tokens. ``temperature`` 0 is
    greedy decoding (after penalties). ``repeat_last_n``: how many of the last tokens, prompt
    included, are penalised; 0 none, -1 all. ``min_keep``: minimum number of tokens that top-p,
    typical-p and min-p keep. With ``dynatemp_range`` the temperature varies by that much around its
    value: the entropy of the remaining candidates, relative to the maximum possible, is raised to
    ``dynatemp_exponent``. ``seed`` determines all draws of this request, whatever else is in
    flight.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    min_keep: int = 0
    repeat_penalty: float = 1.0
    repeat_last_n: int = 64
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    seed: int = 0
    ignore_eos: bool = False


@dataclass(frozen=True, slots=True)
class Thinking:
    """Budget of a thinking block: if it is still open after ``budget`` tokens, the engine appends
    the tokens ``close``.

    ``open``: the text that starts a thinking block in the output; empty if the prompt has opened
    it. ``closed``: the text that ends it.
    """

    budget: int
    open: str
    closed: str
    close: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt, in tokens, to continue.

    ``prefix`` is the part shared with other requests: it is computed once and its state is copied.
    ``grammar`` is a Lark grammar for llguidance, or None. ``max_tokens`` None: the rest of the
    context. ``n_probs``: how many of the most likely tokens the Completion lists per position.
    ``media``: the content behind the PLACEHOLDERs of ``suffix``, in order, each with its first
    position in prefix + suffix; a prompt cannot end with a placeholder. ``thinking``: the budget of
    the thinking block; a grammar applies after the block.
    """

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    grammar: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    media: tuple[tuple[int, Media], ...] = ()
    n_probs: int = 0
    thinking: Thinking | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """The continuation of one prompt.

    ``text`` excludes the stop string. ``tokens`` are the generated ids, without the end token.
    ``ends[i]`` is the length in bytes of the UTF-8 output after token i. ``logprobs[i]`` is the
    natural logarithm of the model's probability of token i among the tokens the grammar allowed
    there, at temperature 1 before penalties; 0.0 for a forced token. ``likeliest[i]`` are the ids
    and log probabilities of the ``n_probs`` most likely tokens there, descending; empty if not
    requested. ``seconds`` is the model time of this request: each step's time, split by tokens.
    ``waited`` is the time from submit to admission.
    """

    text: str
    tokens: tuple[int, ...]
    ends: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason
    prompt_tokens: int
    shared_tokens: int
    forced_tokens: int
    seconds: float
    waited: float
    likeliest: tuple[Likeliest, ...] = ()
