"""One request in the engine: known tokens, computed tokens, and how logits extend them.

There is no prefill or decode phase: ``tokens`` are known, ``computed`` of them are in the KV cache,
and the logits after the last one determine the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from time import perf_counter

from actors.arrays import Int64Array
from actors.engine.decoder import Choice, Decoder
from actors.engine.output import OutputBuffer
from actors.engine.prefixes import SharedPrefix
from actors.engine.request import (
    PLACEHOLDER,
    Completion,
    FinishReason,
    Request,
    RequestRefused,
)
from actors.engine.runner import Block, Logits, Runner
from actors.engine.text_stream import OnOutput


@dataclass(frozen=True, slots=True)
class Techniques:
    """Optimisations of the engine, each with a switch so that its benefit can be measured.

    ``share``: compute a common prefix once. ``forced``: compute forced tokens as one
    block. ``narrow``: compute only the logits that the grammar allows. ``chunk``: maximum prompt
    tokens per step.
    """

    share: bool = True
    forced: bool = True
    narrow: bool = True
    chunk: int = 512


class SequenceState:
    """A request with a compiled grammar; holds a slot once admitted."""

    def __init__(
        self,
        request: Request,
        future: Future[Completion],
        runner: Runner,
        techniques: Techniques,
        on_text: OnOutput | None = None,
    ) -> None:
        """Compile the grammar; raises RequestRefused if it does not compile."""
        self.request = request
        self.future = future
        self.tokens = [*request.prefix, *request.suffix]
        self.prompt_length = len(self.tokens)
        self.limit = runner.context - self.prompt_length
        if request.max_tokens is not None:
            self.limit = min(self.limit, request.max_tokens)
        if self.limit < 1:
            raise RequestRefused(
                f"a prompt of {self.prompt_length} tokens leaves no space for output in a context "
                f"of {runner.context}"
            )
        if request.media and self.tokens[-1] == PLACEHOLDER:
            raise RequestRefused("a prompt cannot end with an image")
        self.slot = -1
        self.entry: SharedPrefix | None = None
        self.reserved = 0
        self.computed = self.shared = 0
        self.finish_reason: FinishReason | None = None
        self.stepped = 0
        self.seconds = 0.0
        self._queued = self._admitted = perf_counter()
        self._runner = runner
        self._techniques = techniques
        # As in llama.cpp, penalties ignore images: they only consider vocabulary tokens.
        self._words = self.tokens
        if request.media:
            self._words = [token for token in self.tokens if token != PLACEHOLDER]
        self._decoder = Decoder(request, runner, self._words)
        self._output = OutputBuffer(request.stop, on_text)
        self._forced = 0
        self._allowed: Int64Array | None = None

    @property
    def decoding(self) -> bool:
        """True if the whole prompt is computed."""
        return self.computed >= self.prompt_length

    @property
    def pending(self) -> int:
        """Number of known tokens that are not computed."""
        return len(self.tokens) - self.computed

    @property
    def generated(self) -> int:
        """Number of output tokens so far."""
        return len(self.tokens) - self.prompt_length

    @property
    def max_kv_tokens(self) -> int:
        """Maximum KV-cache tokens that this request may occupy."""
        return self.prompt_length + self.limit

    def admit(self, slot: int, shared: int) -> None:
        """Take a slot whose KV cache already holds the first ``shared`` tokens."""
        self.slot, self.computed, self.shared = slot, shared, shared
        self._admitted = perf_counter()
        self._force()  # forced opening tokens are computed with the prompt

    def block(self, space: int) -> Block:
        """Return the next tokens to compute, at most ``space``."""
        if self.request.media:
            part, space = self._media_part(space)
            if part is not None:
                return part
        pending = self.tokens[self.computed : self.computed + space]
        if self.computed + len(pending) < len(self.tokens):
            return Block(self.slot, self.computed, pending, 0)
        return Block(self.slot, self.computed, pending, 1, wanted=self._allowed)

    def _media_part(self, space: int) -> tuple[Block | None, int]:
        """Return the next part of an image, or how many tokens precede the next image."""
        for place, media in self.request.media:
            end = place + media.tokens
            if self.computed < place:
                return None, min(space, place - self.computed)
            if self.computed < end:
                stop = end if media.whole else min(end, self.computed + space)
                tokens = self.tokens[self.computed : stop]
                offset = self.computed - place
                return Block(self.slot, self.computed, tokens, 0, media, offset), space
        return None, space

    def advance(self, block: Block, rows: Sequence[Logits]) -> None:
        """Process the ``block.rows`` rows of logits of ``block``; may set ``finish_reason``."""
        self.computed += len(block.tokens)
        if not block.rows or self.finish_reason is not None:
            return
        choice = self._decoder.choose(rows[0], block.wanted, self._output)
        if choice is None:
            self.finish_reason = "grammar"
            return
        self._take(choice)
        self._force()

    def _take(self, choice: Choice) -> bool:
        """Append a token to the output; return False if the output ends here."""
        token = choice.token
        if token in self._runner.ends:
            self.finish_reason = "stop"
            return False
        if not self._decoder.accept(token):
            self.finish_reason = "grammar"
            return False
        self.tokens.append(token)
        if self._words is not self.tokens:
            self._words.append(token)
        others = choice.likeliest
        if self.request.n_probs:
            others = others or ((token, choice.logprob),)
        if self._output.append(self._runner.pieces[token], choice.logprob, others):
            self.finish_reason = "stop"
        elif self._decoder.complete:
            self.finish_reason = "grammar" if self._decoder.failed else "stop"
        elif self.generated >= self.limit:
            self.finish_reason = "length"
        return self.finish_reason is None

    def _force(self) -> None:
        """Append the tokens that must follow; then determine which may."""
        if self.finish_reason is not None:
            return
        for token in self._decoder.forced(
            self._output, self.generated, grammar=self._techniques.forced
        ):
            self._forced += 1
            if not self._take(Choice(token)):
                return
        if self._techniques.narrow:
            self._allowed = self._decoder.allowed()

    def stream(self) -> None:
        """Emit output text that is new and final."""
        self._output.stream(final=self.finish_reason is not None)

    def completion(self) -> Completion:
        """Build the Completion; requires ``finish_reason`` to be set."""
        if self.finish_reason is None:
            raise RuntimeError("the request has not finished")
        output = self._output
        return Completion(
            text=output.text,
            tokens=tuple(self.tokens[self.prompt_length :]),
            ends=tuple(output.ends),
            logprobs=tuple(output.logprobs),
            finish_reason=self.finish_reason,
            prompt_tokens=self.prompt_length,
            shared_tokens=self.shared,
            forced_tokens=self._forced,
            seconds=self.seconds,
            waited=self._admitted - self._queued,
            likeliest=tuple(output.likeliest) if self.request.n_probs else (),
        )
