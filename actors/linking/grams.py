"""Character trigrams of a word, as integers."""

from __future__ import annotations

_EDGE = "\x02"
LEAST = 4
"""Words shorter than this have none: a letter's change makes another word of them."""
BEGINNING = 3
"""Trigrams of the first four letters."""


def grams(word: str) -> list[int]:
    """The distinct trigrams of a word with an edge at both ends, sorted; empty for short words."""
    return sorted(set(_trigrams(word)))


def beginning(word: str) -> list[int]:
    """The distinct trigrams that begin a word, up to its fourth letter; empty for short words."""
    return list(dict.fromkeys(_trigrams(word)[:BEGINNING]))


def _trigrams(word: str) -> list[int]:
    if len(word) < LEAST or word.isdigit():
        return []
    codes = [ord(character) for character in f"{_EDGE}{word}{_EDGE}"]
    return [codes[at] << 42 | codes[at + 1] << 21 | codes[at + 2] for at in range(len(word))]
