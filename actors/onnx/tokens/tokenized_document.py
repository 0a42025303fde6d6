"""One in-flight document: its windows, pending logits, and decoded spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from actors.guideline import Guideline
from actors.onnx.tokenizer import NO_TOKENS, TokenizedText
from actors.onnx.tokens.label_decoder import LogitsPart, TokenSpan
from actors.spans import Document, Failure
from actors.windows import Window

# Maximum logits to buffer per document before decoding, in tokens: bounds a 10 MB document.
_SEGMENT = 16_384


@dataclass(slots=True, eq=False)
class TokenizedDocument:
    """A document, its tokens and windows, and the logits of the windows in flight.

    Tokens before ``settled`` have their ``spans``; tokens from there to ``read`` have ``logits``,
    except those of ``waiting``, the windows that were taken but not run yet. ``given_up()``:
    whether the caller has cancelled, so that windows may be skipped; never reverts.
    """

    document: Document
    guideline: Guideline | None
    cancelled: Callable[[], bool]
    tokens: TokenizedText = NO_TOKENS
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
        """True if every token is decoded, or processing has stopped."""
        return self.failure is not None or self.settled == len(self.tokens) or self.cancelled()

    @property
    def decodable(self) -> bool:
        """True if a segment worth decoding is complete."""
        whole = self.read == len(self.tokens) or self.read - self.settled >= _SEGMENT
        return whole and not self.waiting and self.failure is None and not self.cancelled()

    def next_windows(self, labels: int, tokens: int) -> list[Window]:
        """Return the windows to run next: the waiting ones, or new ones of this many tokens (at
        least one window), and allocate their logits."""
        if self.waiting:
            return self.waiting.copy()
        taken: list[Window] = []
        while not taken or taken[-1].last - self.read < min(tokens, _SEGMENT):
            window = next(self.windows, None)
            if window is None:
                break
            taken.append(window)
        if taken:
            grown = np.empty((taken[-1].last - self.settled, labels), np.float32)
            grown[: len(self.logits)] = self.logits.reshape(-1, labels)
            self.logits, self.read = grown, taken[-1].last
        self.waiting = taken.copy()
        return taken

    def put(self, window: Window, logits: npt.NDArray[np.float32], seconds: float) -> None:
        """Store what a window decides; ``logits`` has one row per token of the window."""
        self.waiting.remove(window)
        self.seconds += seconds
        decided = logits[window.first - window.start : window.last - window.start]
        if not np.isfinite(decided).all():
            self.failure = Failure("NotFinite", "the model's logits are not finite numbers")
            return
        self.logits[window.first - self.settled : window.last - self.settled] = decided

    def part(self) -> LogitsPart:
        """Return the tokens that wait to be decoded."""
        words = self.tokens.words[self.settled : self.read]
        return LogitsPart(self.logits, words, final=self.read == len(self.tokens))

    def settle(self, spans: list[TokenSpan], count: int) -> None:
        """Add the spans of the part; its first ``count`` tokens are final."""
        for span in spans:
            first, last = span.first + self.settled, span.last + self.settled
            self.spans.append(TokenSpan(first, last, span.type, span.score))
        self.logits = self.logits[count:].copy()
        self.settled += count
