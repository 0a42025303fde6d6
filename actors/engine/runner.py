"""The little that the engine needs of a model: tokens to logits, and state per sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from actors.engine.request import Media

Logits = NDArray[np.float32]


@dataclass(slots=True)
class Block:
    """A run of tokens of one sequence, at positions ``start`` and on.

    Logits are wanted after each of the last ``rows`` tokens; 0: none. With ``media`` the tokens
    are placeholders for the part of it from ``offset`` on, and no logits are wanted.
    """

    sequence: int
    start: int
    tokens: list[int]
    rows: int
    media: Media | None = None
    offset: int = 0


class Runner(Protocol):
    """A model with a state (KV cache) per sequence id. All methods are called by one thread,
    except ``constraint_tokenizer``, which must be safe beside the others."""

    @property
    def sequences(self) -> int:
        """Sequence ids 0 to sequences - 1 exist."""

    @property
    def context(self) -> int:
        """Tokens that one sequence can hold."""

    @property
    def capacity(self) -> int | None:
        """Tokens that all sequences hold together where they share one room; a token that was
        copied between sequences counts once. None: each has its own room of ``context``, and the
        blocks of a step are cheapest in the order of their sequences, without gaps and of equal
        length: every other length is a computation of its own."""

    @property
    def batch(self) -> int:
        """Tokens that one ``decode`` takes at most, but for media that must be computed whole."""

    @property
    def pieces(self) -> Sequence[bytes]:
        """The bytes of every token in output text; empty for control tokens. Its length is the
        size of the vocabulary."""

    @property
    def ends(self) -> frozenset[int]:
        """The tokens that end a generation."""

    def constraint_tokenizer(self) -> Any:
        """The ``llguidance.LLTokenizer`` of this vocabulary."""

    def decode(self, blocks: Sequence[Block]) -> Logits:
        """Compute the blocks; float32 [wanted rows, vocabulary] in their order, the caller's to
        change until the next call. Raises any exception when the model is lost."""

    def copy(self, source: int, target: int, length: int) -> None:
        """Give the empty sequence ``target`` the first ``length`` tokens of ``source``."""

    def trim(self, sequence: int, length: int) -> None:
        """Forget all but the first ``length`` tokens of a sequence."""

    def close(self) -> None:
        """Release the model."""
