"""One document on its way through a GLiNER model: its words, its windows, what was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from actors.arrays import Int32Array
from actors.onnx.gliner.plans import Plan
from actors.onnx.gliner.span_decoding import Candidate
from actors.onnx.gliner.word_splitter import WordSpans
from actors.onnx.gliner.word_windows import WordWindow
from actors.spans import Document, Failure


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A window of a document under one of its prompts: what one row of a batch is."""

    reading: GlinerDocument
    prompt: int
    window: int


@dataclass(slots=True, eq=False)
class GlinerDocument:
    """A document in words and pieces, with its windows under each prompt of its plan.

    ``ids``: the pieces of all words, of which ``unknown`` are not in the vocabulary; ``before``:
    per word how many pieces come before it, and their number at the end. ``windows``: per prompt.
    ``next``: how many of all windows were taken, of which those of ``waiting`` have no result yet.
    """

    document: Document
    plan: Plan | None
    cancelled: Callable[[], bool]
    places: WordSpans = field(
        default_factory=lambda: WordSpans(np.zeros(0, np.int32), np.zeros(0, np.int32))
    )
    ids: Int32Array = field(default_factory=lambda: np.zeros(0, np.int32))
    unknown: int = 0
    before: Int32Array = field(default_factory=lambda: np.zeros(1, np.int32))
    windows: tuple[list[WordWindow], ...] = ()
    problems: tuple[str, ...] = ()
    failure: Failure | None = None
    found: list[Candidate] = field(default_factory=list)
    next: int = 0
    waiting: list[Task] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0

    @property
    def done(self) -> bool:
        """True if all windows were read, or none will be any more."""
        ended = self.next == self._count and not self.waiting
        return self.failure is not None or ended or self.cancelled()

    @property
    def _count(self) -> int:
        return sum(map(len, self.windows))

    def next_tasks(self, tokens: int) -> list[Task]:
        """The windows to read next: those that wait, or others of so many tokens, one at least."""
        if self.waiting:
            return self.waiting.copy()
        total = 0
        while self.next < self._count and total < tokens:
            prompt, at = 0, self.next
            while at >= len(self.windows[prompt]):
                at -= len(self.windows[prompt])
                prompt += 1
            window = self.windows[prompt][at]
            total += int(self.before[window.end] - self.before[window.start])
            self.waiting.append(Task(self, prompt, at))
            self.next += 1
        return self.waiting.copy()

    def pieces(self, window: WordWindow) -> Int32Array:
        """The ids of a window's pieces."""
        return self.ids[self.before[window.start] : self.before[window.end]]
