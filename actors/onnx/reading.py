"""One document on its way through the model: its windows, what is decided, what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from actors.chunking import Window
from actors.guideline import Guideline
from actors.onnx.decode import Part, TokenSpan
from actors.onnx.tokenizer import NO_TOKENS, Tokens
from actors.spans import Document, Failure

# Logits held of one document before they are decoded, in tokens: what keeps one of 10 MB in bounds.
_SEGMENT = 16_384


@dataclass(slots=True, eq=False)
class Reading:
    """A document, its tokens and windows, and the logits of the windows that are being read.

    Tokens before ``settled`` have their ``spans``; those from there to ``read`` have ``logits``,
    but for those of ``waiting``, the windows that were taken and not run yet.
    ``given_up`` says whether nobody waits for it any more, which once true stays so: its windows
    may then be passed over.
    """

    document: Document
    guideline: Guideline | None
    given_up: Callable[[], bool]
    tokens: Tokens = NO_TOKENS
    windows: Iterator[Window] = field(default_factory=lambda: iter(()))
    waiting: list[Window] = field(default_factory=list)
    seconds: float = 0.0
    failure: Failure | None = None
    spans: list[TokenSpan] = field(default_factory=list)
    settled: int = 0
    read: int = 0
    logits: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))

    @property
    def done(self) -> bool:
        """Whether every token is settled, or none will be any more."""
        return self.failure is not None or self.settled == len(self.tokens) or self.given_up()

    @property
    def decodable(self) -> bool:
        """Whether a stretch was read that is worth decoding."""
        whole = self.read == len(self.tokens) or self.read - self.settled >= _SEGMENT
        return whole and not self.waiting and self.failure is None and not self.given_up()

    def next_windows(self, labels: int, tokens: int) -> list[Window]:
        """The windows to read next: those that wait, or others of so many tokens (one at least),
        with room made for their logits."""
        if self.waiting:
            return self.waiting.copy()
        taken: list[Window] = []
        while not taken or taken[-1].last - self.read < min(tokens, _SEGMENT):
            window = next(self.windows, None)
            if window is None:
                break
            taken.append(window)
        if taken:
            room = np.empty((taken[-1].last - self.settled, labels), np.float32)
            room[: len(self.logits)] = self.logits.reshape(-1, labels)
            self.logits, self.read = room, taken[-1].last
        self.waiting = taken.copy()
        return taken

    def put(self, window: Window, logits: npt.NDArray[np.float32], seconds: float) -> None:
        """Keep what a window decides; ``logits`` has a row per token of the window."""
        self.waiting.remove(window)
        self.seconds += seconds
        decided = logits[window.first - window.start : window.last - window.start]
        if not np.isfinite(decided).all():
            self.failure = Failure("NotFinite", "the model's logits are not finite numbers")
            return
        self.logits[window.first - self.settled : window.last - self.settled] = decided

    def part(self) -> Part:
        """What waits to be decoded."""
        words = self.tokens.words[self.settled : self.read]
        return Part(self.logits, words, final=self.read == len(self.tokens))

    def settle(self, spans: list[TokenSpan], count: int) -> None:
        """Take in the spans of the part, whose first ``count`` tokens are settled."""
        for span in spans:
            first, last = span.first + self.settled, span.last + self.settled
            self.spans.append(TokenSpan(first, last, span.type, span.score))
        self.logits = self.logits[count:].copy()
        self.settled += count
