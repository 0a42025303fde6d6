"""How the next token of one request is chosen: its thinking block, its grammar, its sampling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from actors.engine.grammar import Constraint
from actors.engine.output import Output
from actors.engine.request import Likeliest, Request, Thinking
from actors.engine.runner import Logits, Runner
from actors.engine.sampling import Ids, Sampler, likeliest, log_probability


@dataclass(frozen=True, slots=True)
class Choice:
    """A token with its log probability and the likeliest ones at its place."""

    token: int
    logprob: float = 0.0
    likeliest: Likeliest = ()


class Decoder:
    """Chooses the tokens of one request.

    Where it may think, the grammar is not in force until the thinking block is closed. A block that
    the prompt has opened is thought through first; one that the model may open itself is entered
    when its first token is the likeliest of the whole vocabulary.
    """

    def __init__(self, request: Request, runner: Runner, history: list[int]) -> None:
        """``history``: prompt and output so far, read and not owned. Raises RequestRefused for a
        grammar that does not compile."""
        self._request = request
        self._runner = runner
        self._grammar: Constraint | None = None
        if request.grammar is not None:
            self._grammar = Constraint(runner.constraint_tokenizer(), request.grammar)
        self._sampler = Sampler(request.sampling, history)
        self._thinking = request.thinking

    @property
    def failed(self) -> bool:
        """Whether the grammar was violated, or gave up at a limit of its own."""
        return self._grammar is not None and self._grammar.failed

    @property
    def complete(self) -> bool:
        """Whether the grammar lets nothing follow."""
        return self._thinking is None and self._grammar is not None and self._grammar.complete

    def choose(self, row: Logits, output: Output) -> Choice | None:
        """The next token by its logits [vocabulary]; None where the grammar allows none."""
        grammar = self._grammar
        if grammar is None or self._thinks(row, output):
            if self._request.sampling.ignore_eos or grammar is not None:
                row[list(self._runner.ends)] = -np.inf  # an answer is still to come
            place = self._sampler.choose(row, None)
            return self._choice(row, place, None)
        ids = grammar.allowed()
        if len(ids) == 0:
            return None
        candidates = row[ids]
        return self._choice(candidates, self._sampler.choose(candidates, ids), ids)

    def accept(self, token: int) -> bool:
        """Take a chosen token into the grammar; False when it does not allow it."""
        if self._grammar is None or self._thinking is not None:
            return True
        return self._grammar.consume(token)

    def forced(self, output: Output, generated: int, grammar: bool = True) -> Iterator[int]:
        """The tokens that must follow: the end of a thinking block whose budget is used up, then
        those that the grammar leaves no choice about, unless ``grammar`` is False. Each is to be
        accepted before the next is asked for."""
        if self._thinking is not None:
            yield from self._close(self._thinking, bytes(output), generated)
        if grammar and self._thinking is None and self._grammar is not None:
            while tokens := self._grammar.forced():
                yield from tokens

    def _thinks(self, row: Logits, output: Output) -> bool:
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
        begins = output.lstrip()[: len(opening)]
        if thinking.closed.encode() in output or not opening.startswith(begins):
            self._thinking = None
        elif generated >= thinking.budget and len(begins) == len(opening):
            yield from thinking.close
            self._thinking = None

    def _choice(self, logits: Logits, place: int, ids: Ids | None) -> Choice:
        token = place if ids is None else int(ids[place])
        logprob, count = log_probability(logits, place), self._request.n_probs
        return Choice(token, logprob, likeliest(logits, ids, count) if count else ())
