"""Detect letters that a recogniser cannot write: it leaves them out and is sure of the rest.

A recogniser whose alphabet lacks a letter writes "phi" for "phổi", each letter with a probability
of 0.99. What gives it away is ink without a letter: two neighbours are farther apart than their
widths explain, and there is ink between them. Some words of every page look like that; where many
do, the recogniser is wrong for the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from actors.ocr.recognized import RecognizedLine

# Widths of characters, of that of an average small letter; capitals not named have _CAPITAL.
_WIDTHS = {
    **dict.fromkeys("ilj'|", 0.45),
    **dict.fromkeys("I.,:;!", 0.5),
    **dict.fromkeys("tf-/()", 0.6),
    "r": 0.7,
    **dict.fromkeys("w", 1.4),
    **dict.fromkeys("mM%", 1.6),
    **dict.fromkeys("W@", 1.8),
}
_CAPITAL = 1.25
_ROOM = 0.7  # of a small letter's width, beyond what the neighbours explain
_INKED = 0.5  # share of the columns between two neighbours that have ink
# Of the words of a page. Measured on pages in Vietnamese: 0.09 to 0.33; on other pages, with
# handwriting and faxes: 0 to 0.04, and 3 words of 29 on one in a script font.
_MANY, _AT_LEAST = 0.12, 5
_LIKELY_WRONG = 0.1  # factor of the confidence of a word with room for a letter


@dataclass(frozen=True, slots=True)
class MissingLetters:
    """The words of a page, and how many of them have room for a letter that is not written."""

    words: int
    with_room: int

    @property
    def many(self) -> bool:
        """True if the recogniser is wrong for the page."""
        return self.with_room >= max(_AT_LEAST, _MANY * self.words)


def doubted(
    lines: Sequence[RecognizedLine], inks: Sequence[NDArray[np.bool_]]
) -> tuple[list[RecognizedLine], MissingLetters]:
    """Return the lines of a page, with less confidence if the recogniser is wrong for it.

    ``inks``: for each line, the columns of its crop that have ink. Words with room for a letter
    are likely wrong. Others may lack a letter at an end, which leaves no room between neighbours:
    measured, about as many of them as have room within.
    """
    rooms = [_rooms(line, ink) for line, ink in zip(lines, inks, strict=True)]
    found = MissingLetters(
        sum(len(line.text.split()) for line in lines), sum(len(room) for room in rooms)
    )
    if not found.many:
        return list(lines), found
    others = 1 - found.with_room / found.words
    changed = []
    for line, room in zip(lines, rooms, strict=True):
        factors = np.full(len(line.text), others, np.float32)
        for start, end in room:
            factors[start:end] = _LIKELY_WRONG
        changed.append(replace(line, probabilities=line.probabilities * factors))
    return changed, found


def _rooms(line: RecognizedLine, ink: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the words of a line that have room for a letter, as (start, end) in its text."""
    text, columns = line.text, line.places * len(ink)
    pairs = [i for i in range(len(text) - 1) if not (text[i] + text[i + 1]).count(" ")]
    if not pairs:
        return []
    expected = np.array([(_width(text[i]) + _width(text[i + 1])) / 2 for i in pairs])
    apart = np.array([columns[i + 1] - columns[i] for i in pairs])
    unit = float(np.median(apart / expected))
    wide = {
        i
        for i, excess in zip(pairs, apart - expected * unit, strict=True)
        if excess > _ROOM * unit and ink[int(columns[i]) : int(columns[i + 1]) + 1].mean() > _INKED
    }
    words, start = [], 0
    for word in text.split(" "):
        end = start + len(word)
        if any(i in wide for i in range(start, end - 1)):
            words.append((start, end))
        start = end + 1
    return words


def _width(character: str) -> float:
    return _WIDTHS.get(character, _CAPITAL if character.isupper() else 1.0)
