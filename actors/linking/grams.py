"""Character trigrams of a word, as integers."""

from __future__ import annotations

_EDGE = "\x02"
LEAST = 4
"""Words shorter than this have none: a letter's change makes another word of them."""


def grams(word: str) -> list[int]:
    """The distinct trigrams of a word with an edge at both ends, sorted; empty for short words."""
    if len(word) < LEAST or word.isdigit():
        return []
    codes = [ord(character) for character in f"{_EDGE}{word}{_EDGE}"]
    return sorted(
        {codes[at] << 42 | codes[at + 1] << 21 | codes[at + 2] for at in range(len(word))}
    )
