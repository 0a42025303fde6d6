"""The model interface that the engine needs: tokens to logits, and state per sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from actors.arrays import Float32Array, Int64Array
from actors.engine.request import Media

Logits = Float32Array


@dataclass(slots=True)
class Block:
    """A run of consecutive tokens of one sequence, starting at position ``start``.

    Logits are computed for the last ``rows`` tokens; 0: none. If only the logits of certain tokens
    matter, ``wanted`` has their ids, ascending. With ``media`` the tokens are placeholders for the
    part of it that starts at ``offset``, and no logits are computed.
    """

    sequence: int
    start: int
    tokens: list[int]
    rows: int
    media: Media | None = None
    offset: int = 0
    wanted: Int64Array | None = None


class Runner(Protocol):
    """A model with a state (KV cache) per sequence id. One thread calls all methods, except
    ``constraint_tokenizer``, which must be safe to call concurrently."""

    @property
    def sequences(self) -> int:
        """Number of sequences; their ids are 0 to sequences - 1."""

    @property
    def context(self) -> int:
        """Maximum tokens of one sequence."""

    @property
    def capacity(self) -> int | None:
        """Total KV-cache tokens when sequences share a unified cache; a token that was copied
        between sequences counts once. None: each sequence has its own KV cache of ``context``
        tokens. A step is then cheapest if its blocks are in the order of their sequences, without
        gaps and of equal length: each distinct length is a separate computation."""

    @property
    def batch(self) -> int:
        """Maximum tokens per ``decode``, except for media that must be computed whole."""

    @property
    def pieces(self) -> Sequence[bytes]:
        """The bytes of every token in output text; empty for control tokens. Its length is the
        vocabulary size."""

    @property
    def ends(self) -> frozenset[int]:
        """Tokens that end a generation."""

    def constraint_tokenizer(self) -> Any:
        """Return the ``llguidance.LLTokenizer`` of this vocabulary."""

    def decode(self, blocks: Sequence[Block]) -> Sequence[Logits]:
        """Compute the blocks and return the requested rows of logits in their order, each float32
        [vocabulary], or [wanted] where its block says which. The caller may modify them until the
        next call. Any exception means that the model is lost."""

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first ``length`` tokens of ``source`` to the empty sequence ``target``."""

    def trim(self, sequence: int, length: int) -> None:
        """Drop all but the first ``length`` tokens of a sequence."""

    def close(self) -> None:
        """Release the model."""
