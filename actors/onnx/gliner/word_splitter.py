"""Text to words: the units that GLiNER's entities begin and end with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from actors.arrays import Int32Array

Splitter = Literal["whitespace", "punctuation"]

_PATTERNS: dict[Splitter, re.Pattern[str]] = {
    "whitespace": re.compile(r"\w+(?:[-_]\w+)*|\S"),
    "punctuation": re.compile(r"\d+(?:[.,]\d+)+|\w+|\S"),
}


@dataclass(frozen=True, slots=True)
class WordSpans:
    """Code point spans of the words of a text, ends exclusive."""

    starts: Int32Array
    ends: Int32Array

    def __len__(self) -> int:
        return len(self.starts)


def split(text: str, splitter: Splitter) -> WordSpans:
    """The words of a text in reading order; white space belongs to none."""
    spans = [match.span() for match in _PATTERNS[splitter].finditer(text)]
    table = np.array(spans, np.int32).reshape(-1, 2)
    return WordSpans(table[:, 0].copy(), table[:, 1].copy())
