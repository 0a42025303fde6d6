"""What is asked of the engine and what it answers. Knows no model and no thread."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

FinishReason = Literal["stop", "length", "grammar"]
"""stop: an end token, a stop string, or a grammar that is complete. length: max_tokens or the
context is used up. grammar: the grammar reached a state that llguidance could not go on from."""


Likeliest = tuple[tuple[int, float], ...]
"""Tokens and their log probabilities, the likeliest first."""


PLACEHOLDER = -1
"""Stands in a prompt's tokens for each of the tokens that a picture takes."""


class Media(Protocol):
    """What stands in a prompt without being tokens of the vocabulary, such as a picture. The runner
    knows what it is; the engine knows how much room it takes."""

    @property
    def tokens(self) -> int:
        """How many tokens of the model's state it takes."""

    @property
    def whole(self) -> bool:
        """Whether all of it must be computed at once, because its tokens see each other."""


class EngineLost(RuntimeError):
    """The model failed fatally or was closed; nothing more can be asked of this engine."""


class RequestRefused(ValueError):
    """This request alone cannot be served; the message holds numbers, never text of a prompt."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is chosen; names and meaning are llama.cpp's, and so is the order of the chain.

    Order: penalties, top-k, typical-p, top-p, min-p, temperature, draw. A grammar's mask comes
    before all of them, so a draw is always from the allowed tokens, exactly. ``temperature`` 0
    takes the likeliest token (after penalties). ``repeat_last_n``: how many of the last tokens,
    prompt included, are penalised; 0 none, -1 all. ``min_keep``: tokens that top-p, typical-p and
    min-p leave at least. With a ``dynatemp_range`` the temperature lies that far around its value,
    by the entropy of what is left, from none to the largest possible, to the power of
    ``dynatemp_exponent``. ``seed`` determines all draws of this request, whatever runs beside it.
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
    """A bound on a thinking block: once ``budget`` tokens are printed and it is not closed, the
    tokens ``close`` are put there.

    ``open``: what an output that thinks begins with; empty where the prompt has opened the block.
    ``closed``: what ends it.
    """

    budget: int
    open: str
    closed: str
    close: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt, in tokens, to continue.

    ``prefix`` is the beginning that other requests share: it is computed once and its state is
    copied. ``grammar`` is a Lark grammar of llguidance or None. ``max_tokens`` None: as many as the
    context holds. ``n_probs``: how many of the likeliest tokens the Completion has at each place.
    ``media``: what stands at PLACEHOLDERs of ``suffix``, each with its first place in prefix +
    suffix, in order; the last token of a prompt is no placeholder. ``thinking``: the bound on its
    thinking; a grammar holds after it.
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

    ``text`` is without the stop string. ``tokens`` are the generated ids, without the end token.
    ``ends[i]`` is the length in bytes of the UTF-8 output after token i. ``logprobs[i]`` is the
    natural logarithm of the model's probability of token i among the tokens that the grammar
    allowed there, at temperature 1 before penalties; 0.0 for a forced token.
    ``likeliest[i]`` are the ids and log probabilities of the ``n_probs`` likeliest tokens there,
    falling; empty when not asked.
    ``seconds`` is the model time of this request: each step's time shared by tokens; ``waited``
    the time from submit to admission.
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
