"""One request on its way: tokens known, tokens computed, and how a row becomes further tokens.

There is no prefill or decode phase: ``tokens`` are known, ``computed`` of them are in the model's
state, and the logits after the last one say how to go on.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from actors.engine.grammar import Constraint
from actors.engine.lookup import Lookup
from actors.engine.prefixes import Entry
from actors.engine.request import (
    PLACEHOLDER,
    Completion,
    FinishReason,
    Likeliest,
    Request,
    RequestRefused,
    Thinking,
)
from actors.engine.runner import Block, Logits, Runner
from actors.engine.sampling import Ids, Sampler, likeliest, log_probability
from actors.engine.telling import Tell, Telling


@dataclass(frozen=True, slots=True)
class Techniques:
    """What makes the engine fast, each with a switch so that its worth can be measured.

    ``share``: compute a common prefix once. ``forced``: tokens that the grammar leaves no choice
    about go in as a block. ``lazy``: ask for the grammar's mask only where the likeliest token is
    refused (greedy without logprobs; elsewhere the mask is needed anyway). ``lookup``: longest
    draft from the document, 0 for none. ``chunk``: prompt tokens of a step at most.
    """

    share: bool = True
    forced: bool = True
    lazy: bool = True
    lookup: int = 0
    chunk: int = 512


class SequenceState:
    """A request with its grammar compiled; later, one that holds a slot."""

    def __init__(
        self,
        request: Request,
        future: Future[Completion],
        runner: Runner,
        techniques: Techniques,
        tell: Tell | None = None,
    ) -> None:
        """Compile the grammar; raises RequestRefused for a grammar that does not compile."""
        self.request = request
        self.future = future
        self.tokens = [*request.prefix, *request.suffix]
        self.prompt_length = len(self.tokens)
        self.constraint: Constraint | None = None
        if request.grammar is not None:
            self.constraint = Constraint(runner.constraint_tokenizer(), request.grammar)
        self.lookup: Lookup | None = None
        if techniques.lookup and request.document:
            self.lookup = Lookup(request.document, techniques.lookup)
        # A state also needs room for the draft that is not accepted.
        self.limit = runner.context - self.prompt_length - techniques.lookup
        if request.max_tokens is not None:
            self.limit = min(self.limit, request.max_tokens)
        if self.limit < 1:
            raise RequestRefused(
                f"a prompt of {self.prompt_length} tokens leaves no room for output "
                f"in a context of {runner.context}"
            )
        if request.media and self.tokens[-1] == PLACEHOLDER:
            raise RequestRefused("a prompt cannot end with a picture")
        self.slot = -1
        self.entry: Entry | None = None
        self.reserved = 0
        self.computed = self.shared = 0
        self.draft: list[int] = []
        self.finish_reason: FinishReason | None = None
        self.stepped = 0
        self.seconds = 0.0
        self._queued = self._admitted = perf_counter()
        self._runner = runner
        self._techniques = techniques
        # As in llama.cpp, penalties know no pictures: they look at words only.
        self._words = self.tokens
        if request.media:
            self._words = [token for token in self.tokens if token != PLACEHOLDER]
        self._sampler = Sampler(request.sampling, self._words)
        self._stop = tuple(stop.encode() for stop in request.stop if stop)
        self._output = bytearray()
        self._ends: list[int] = []
        self._logprobs: list[float] = []
        self._likeliest: list[Likeliest] = []
        self._forced = self._drafted = self._accepted = 0
        self._cut: int | None = None
        self._answering = request.grammar is not None
        self._telling = Telling(tell, self._stop) if tell is not None else None

    @property
    def decoding(self) -> bool:
        """Whether the prompt is computed."""
        return self.computed >= self.prompt_length

    @property
    def pending(self) -> int:
        """Known tokens that are not computed."""
        return len(self.tokens) - self.computed

    @property
    def generated(self) -> int:
        """Output tokens so far."""
        return len(self.tokens) - self.prompt_length

    @property
    def room(self) -> int:
        """Tokens that this request's state may come to hold, from its first on."""
        return self.prompt_length + self.limit + self._techniques.lookup

    def admit(self, slot: int, shared: int) -> None:
        """Take a slot whose state already holds the first ``shared`` tokens."""
        self.slot, self.computed, self.shared = slot, shared, shared
        self._admitted = perf_counter()
        self._force()  # a forced opening rides along with the prompt

    def block(self, room: int) -> Block:
        """The next tokens to compute, at most ``room``, with a draft where one is at hand."""
        if self.request.media:
            part, room = self._part(room)
            if part is not None:
                return part
        pending = self.tokens[self.computed : self.computed + room]
        self.draft = []
        if self.computed + len(pending) < len(self.tokens):
            return Block(self.slot, self.computed, pending, 0)
        if self.lookup is not None and self.decoding:
            self._propose(min(room - len(pending), self.limit - self.generated - 1))
        return Block(self.slot, self.computed, pending + self.draft, 1 + len(self.draft))

    def _part(self, room: int) -> tuple[Block | None, int]:
        """The part of a picture that comes next, or how far the tokens before the next one go."""
        for place, media in self.request.media:
            end = place + media.tokens
            if self.computed < place:
                return None, min(room, place - self.computed)
            if self.computed < end:
                stop = end if media.whole else min(end, self.computed + room)
                tokens = self.tokens[self.computed : stop]
                self.draft = []
                return (
                    Block(self.slot, self.computed, tokens, 0, media, self.computed - place),
                    room,
                )
        return None, room

    def _propose(self, room: int) -> None:
        if self.lookup is None or room <= 0:
            return
        draft = self.lookup.draft(self.tokens[self.prompt_length :])[:room]
        if draft and self.constraint is not None:
            draft = draft[: self.constraint.longest(draft)]
        self.draft = draft
        self._drafted += len(draft)

    def advance(self, block: Block, rows: Logits) -> None:
        """Take the logits of ``block`` [block.rows, vocabulary]; afterwards ``computed`` counts
        only tokens that are part of the output, and ``finish_reason`` may be set."""
        self.computed += len(block.tokens) - len(self.draft)
        row = 0
        while row < block.rows and self.finish_reason is None:
            before = len(self.tokens)
            self._choose(rows[row])
            self._force()
            new = self.tokens[before:]
            guess = self.draft[row : row + len(new)]
            same = next((i for i, t in enumerate(guess) if t != new[i]), len(guess))
            self.computed += same
            self._accepted += same
            row += same
            if same < len(new) or same == 0:
                break

    def _choose(self, row: Logits) -> None:
        constraint, greedy = self.constraint, self._sampler.greedy
        if self.request.sampling.ignore_eos and constraint is None:
            row[list(self._runner.ends)] = -np.inf
        if constraint is None:
            token = place = self._sampler.choose(row, None)
            self._take(token, *self._chances(row, place, None))
            return
        if greedy and self._techniques.lazy and not (self.request.logprobs or self.request.n_probs):
            # An allowed argmax of everything is the argmax of what is allowed.
            token = int(row.argmax())
            if constraint.permits(token):
                self._take(token, 0.0)
                return
        ids = constraint.allowed()
        if len(ids) == 0:
            self.finish_reason = "grammar"
            return
        candidates = row[ids]
        place = self._sampler.choose(candidates, ids)
        self._take(int(ids[place]), *self._chances(candidates, place, ids))

    def _chances(self, logits: Logits, place: int, ids: Ids | None) -> tuple[float, Likeliest]:
        request = self.request
        return (
            log_probability(logits, place) if request.logprobs else 0.0,
            likeliest(logits, ids, request.n_probs) if request.n_probs else (),
        )

    def _take(self, token: int, logprob: float, others: Likeliest = ()) -> bool:
        """Make a token part of the output; False when the output ends here."""
        if token in self._runner.ends:
            self.finish_reason = "stop"
            return False
        if self.constraint is not None and not self.constraint.consume(token):
            self.finish_reason = "grammar"
            return False
        self.tokens.append(token)
        if self._words is not self.tokens:
            self._words.append(token)
        self._output += self._runner.pieces[token]
        self._ends.append(len(self._output))
        if self.request.logprobs:
            self._logprobs.append(logprob)
        if self.request.n_probs:
            self._likeliest.append(others or ((token, logprob),))
        if self._stop and self._stopped():
            self.finish_reason = "stop"
        elif self.constraint is not None and self.constraint.complete:
            self.finish_reason = "grammar" if self.constraint.failed else "stop"
        elif self.generated >= self.limit:
            self.finish_reason = "length"
        return self.finish_reason is None

    def _stopped(self) -> bool:
        begin = self._ends[-2] if len(self._ends) > 1 else 0
        places = [
            place
            for stop in self._stop
            if (place := self._output.find(stop, max(0, begin - len(stop) + 1))) >= 0
        ]
        if places:
            self._cut = min(places)
        return bool(places)

    def _force(self) -> None:
        thinking = self.request.thinking
        if thinking is not None and not self._answering:
            self._bound(thinking)
        if self.constraint is None or not self._techniques.forced:
            return
        while self.finish_reason is None and (tokens := self.constraint.forced()):
            for token in tokens:
                self._forced += 1
                if not self._take(token, 0.0):
                    return

    def tell(self) -> None:
        """Tell the listener, where there is one, what is new and sure of the output."""
        if self._telling is not None:
            end = len(self._output) if self._cut is None else self._cut
            self._telling.update(self._output, end, final=self.finish_reason is not None)

    def _bound(self, thinking: Thinking) -> None:
        """Close a thinking block that has used up its budget."""
        output = bytes(self._output)
        begins = output.lstrip()[: len(thinking.open)]
        if thinking.closed.encode() in output or not thinking.open.encode().startswith(begins):
            self._answering = True
        elif self.generated >= thinking.budget and len(begins) == len(thinking.open.encode()):
            self._answering = True
            for token in thinking.close:
                self._forced += 1
                if self.finish_reason is not None or not self._take(token, 0.0):
                    return

    def completion(self) -> Completion:
        """What there is to say once ``finish_reason`` is set."""
        if self.finish_reason is None:
            raise RuntimeError("the request has not finished")
        return Completion(
            text=self._output[: self._cut].decode("utf-8", "replace"),
            tokens=tuple(self.tokens[self.prompt_length :]),
            ends=tuple(self._ends),
            logprobs=tuple(self._logprobs),
            finish_reason=self.finish_reason,
            prompt_tokens=self.prompt_length,
            shared_tokens=self.shared,
            forced_tokens=self._forced,
            drafted_tokens=self._drafted,
            accepted_tokens=self._accepted,
            seconds=self.seconds,
            waited=self._admitted - self._queued,
            likeliest=tuple(self._likeliest),
        )
