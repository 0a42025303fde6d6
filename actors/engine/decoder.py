"""Token selection for one request: thinking block, grammar, sampling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from actors.arrays import Int64Array
from actors.engine.constraint import Constraint
from actors.engine.output import OutputBuffer
from actors.engine.request import Likeliest, Request, Thinking
from actors.engine.runner import Logits, Runner
from actors.engine.sampling import Sampler, likeliest, log_probability


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen token, its log probability, and the most likely alternatives at its position."""

    token: int
    logprob: float = 0.0
    likeliest: Likeliest = ()


class Decoder:
    """Selects the tokens of one request.

    If the request may think, the grammar only applies once the thinking block is closed. A block
    that the prompt has opened comes first; a block that the model may open itself is entered if its
    first token is the most likely one of the whole vocabulary.
    """

    def __init__(self, request: Request, runner: Runner, history: list[int]) -> None:
        """``history`` is the prompt and the output so far; it is read, not owned. Raises
        RequestRefused for a grammar that does not compile."""
        self._request = request
        self._runner = runner
        self._grammar: Constraint | None = None
        if request.grammar is not None:
            self._grammar = Constraint(runner.constraint_tokenizer(), request.grammar)
        self._sampler = Sampler(request.sampling, history)
        self._thinking = request.thinking

    @property
    def failed(self) -> bool:
        """True if the grammar was violated or hit a limit of llguidance."""
        return self._grammar is not None and self._grammar.failed

    @property
    def complete(self) -> bool:
        """True if the grammar allows no further token."""
        return self._thinking is None and self._grammar is not None and self._grammar.complete

    def allowed(self) -> Int64Array | None:
        """Return the ids of the tokens that may come next, ascending; None if only their logits can
        tell, or if any may."""
        if self._grammar is None or self._thinking is not None:
            return None
        return self._grammar.allowed()

    def choose(
        self, row: Logits, allowed: Int64Array | None, output: OutputBuffer
    ) -> Choice | None:
        """Choose the next token from the logits of ``allowed``, or of the whole vocabulary if that
        is None; None if the grammar allows no token."""
        grammar = self._grammar
        if allowed is None:
            if grammar is None or self._is_thinking(row, output):
                if self._request.sampling.ignore_eos or grammar is not None:
                    row[list(self._runner.ends)] = -np.inf  # an answer is still to come
                place = self._sampler.choose(row, None)
                return self._choice(row, place, None)
            allowed = grammar.allowed()
            row = row[allowed]
        if len(allowed) == 0:
            return None
        return self._choice(row, self._sampler.choose(row, allowed), allowed)

    def accept(self, token: int) -> bool:
        """Advance the grammar by a chosen token; return False if the grammar rejects it."""
        if self._grammar is None or self._thinking is not None:
            return True
        return self._grammar.consume(token)

    def forced(self, output: OutputBuffer, generated: int, grammar: bool = True) -> Iterator[int]:
        """Yield the tokens that must follow: the end of a thinking block whose budget is exhausted,
        then the tokens the grammar forces, unless ``grammar`` is False. Accept each token before
        requesting the next."""
        if self._thinking is not None:
            yield from self._close(self._thinking, bytes(output), generated)
        if grammar and self._thinking is None and self._grammar is not None:
            while tokens := self._grammar.forced():
                yield from tokens

    def _is_thinking(self, row: Logits, output: OutputBuffer) -> bool:
        thinking = self._thinking
        if thinking is None:
            return False
        if output.ends or not thinking.open:
            return True
        piece = self._runner.pieces[int(row.argmax())]
        if piece and thinking.open.encode().startswith(piece):
            return True
        self._thinking = None
        return False

    def _close(self, thinking: Thinking, output: bytes, generated: int) -> Iterator[int]:
        opening = thinking.open.encode()
        opening_seen = output.lstrip()[: len(opening)]
        if thinking.closed.encode() in output or not opening.startswith(opening_seen):
            self._thinking = None
        elif generated >= thinking.budget and len(opening_seen) == len(opening):
            yield from thinking.close
            self._thinking = None

    def _choice(self, logits: Logits, place: int, ids: Int64Array | None) -> Choice:
        token = place if ids is None else int(ids[place])
        logprob, count = log_probability(logits, place), self._request.n_probs
        return Choice(token, logprob, likeliest(logits, ids, count) if count else ())
