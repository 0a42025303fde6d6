"""One document on its way through the model: its windows, what is decided, what came out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from actors.chunking import Window
from actors.onnx.decode import Part, TokenSpan
from actors.onnx.tokenizer import Tokens
from actors.spans import Document, Extraction

# Logits held of one document at a time, in tokens: what keeps a document of 10 MB in bounds.
_SEGMENT = 16_384


@dataclass(slots=True, eq=False)
class Reading:
    """A document, its tokens and windows, and the logits of the windows that are being read."""

    document: Document
    future: Future[Extraction]
    tokens: Tokens
    windows: Iterator[Window]
    spans: list[TokenSpan] = field(default_factory=list)
    seconds: float = 0.0
    error: Exception | None = None
    settled: int = 0
    """Tokens before this one have their spans."""
    read: int = 0
    """Tokens before this one have their logits, from ``settled`` on."""
    logits: npt.NDArray[np.float32] | None = None

    def next_windows(self, labels: int) -> list[Window]:
        """The next windows to read, with room for their logits made."""
        taken: list[Window] = []
        while not taken or taken[-1].last - self.read < _SEGMENT:
            window = next(self.windows, None)
            if window is None:
                break
            taken.append(window)
        if taken:
            kept = np.empty((0, labels), np.float32) if self.logits is None else self.logits
            room = np.empty((taken[-1].last - self.settled, labels), np.float32)
            room[: len(kept)] = kept
            self.logits, self.read = room, taken[-1].last
        return taken

    def put(self, window: Window, logits: npt.NDArray[np.float32]) -> None:
        """Keep what a window decides; ``logits`` has a row per token of the window."""
        decided = logits[window.first - window.start : window.last - window.start]
        if not np.isfinite(decided).all():
            raise ArithmeticError("the model's logits are not finite")
        assert self.logits is not None
        self.logits[window.first - self.settled : window.last - self.settled] = decided

    @property
    def done(self) -> bool:
        """Whether every token has its logits."""
        return self.read == len(self.tokens)

    def part(self) -> Part:
        """What waits to be decoded."""
        assert self.logits is not None
        return Part(self.logits, self.tokens.words[self.settled : self.read], self.done)

    def settle(self, spans: list[TokenSpan], count: int) -> None:
        """Take in the spans of the part, whose first ``count`` tokens are settled."""
        assert self.logits is not None
        for span in spans:
            self.spans.append(
                TokenSpan(
                    span.first + self.settled, span.last + self.settled, span.type, span.score
                )
            )
        self.logits = self.logits[count:].copy()
        self.settled += count
