"""Tell letters that are no language, such as those of a font with a wrong map to Unicode."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from string import ascii_lowercase

import numpy as np

# Letters a to z in per mille, without marks, counted in notes and abstracts of each language.
# Others that are written in Latin letters are near to one of them.
_FREQUENCIES = (
    "88 12 34 43 124 19 17 43 78 1 4 45 24 70 70 28 1 65 67 91 26 10 19 4 14 1",  # English
    "121 11 53 49 122 10 13 7 87 2 0 53 30 75 95 26 5 64 66 53 33 10 0 3 7 4",  # Spanish
    "92 10 37 37 174 8 16 12 80 2 1 54 33 77 57 29 8 57 66 72 53 14 0 6 5 0",  # French
    "66 23 25 36 148 17 31 39 81 1 21 46 33 93 41 19 1 75 58 66 43 11 9 3 4 12",  # German
    "120 15 62 11 54 1 50 100 74 0 13 26 29 119 94 20 5 20 13 69 67 19 0 3 15 1",  # Vietnamese
)
_PROFILES = np.array([line.split() for line in _FREQUENCIES], float)
_UNIT = _PROFILES / np.linalg.norm(_PROFILES, axis=1, keepdims=True)
_LEAST_LETTERS = 30  # fewer say nothing: a name, a heading, the units of a table
_MANY_LETTERS = 100
# Likeness to the nearest language. 300 letters of the five have 0.93 and more (German 0.84), 60
# have 0.73 and more; shifted letters have at most 0.66 to 0.79, 60 or more of them.
_ALIKE, _ALIKE_FEW = 0.8, 0.7
_LATIN = 0.5  # share of Latin letters from which a text is judged


def letters_of(text: str) -> str:
    """Return the letters a to z of a text: folded, without marks."""
    return "".join(c for c in unicodedata.normalize("NFD", text).casefold() if c in _LETTERS)


_LETTERS = frozenset(ascii_lowercase)


def is_no_language(words: Iterable[str]) -> bool | None:
    """Return True if the letters of some words are distributed as in no language; None if there are
    too few letters, or they are in another script than Latin. A repeated word counts once."""
    text = "".join(set(words))
    letters = letters_of(text)
    if len(letters) < _LEAST_LETTERS or len(letters) < _LATIN * len(text):
        return None
    counts = np.array([letters.count(letter) for letter in ascii_lowercase], float)
    alike = float((_UNIT @ (counts / np.linalg.norm(counts))).max())
    return alike < (_ALIKE if len(letters) >= _MANY_LETTERS else _ALIKE_FEW)
