"""Group tokens into words of the stored text.

A tokenizer's own words follow its normaliser and pre-tokenizer: some treat a whole text as one
word, some add spaces that the text lacks. Here words are separated by whitespace. In addition a
word begins at every character of a script without spaces, after an elided article ("l'insuline"),
and where the tokenizer splits at punctuation, but never inside a number ("5.97").
"""

from __future__ import annotations

import re

import numpy as np

from actors.arrays import BoolArray, Int32Array
from actors.words import is_mark, is_unspaced

_ELIDED = re.compile(
    r"(?<![^\W_])(?:[cdjlmnst]|(?:jus|lors|puis|quoi)?qu|un|gl|(?:a|da|de|ne|su|co|que|be)ll|"
    r"quest|sant|senz|anch)['’ʼ](?=[^\W\d_])",
    re.IGNORECASE,
)
_SEPARATED = re.compile(r"\d+(?:[.,]\d+)+")
_WHITE, _UNSPACED, _WORD, _PUNCTUATION = range(4)


def word_index(text: str, starts: Int32Array, ends: Int32Array, cuts: BoolArray) -> Int32Array:
    """Return the word index of each token of ``text``, from 1 on, non-decreasing.

    ``cuts``: where the tokenizer itself begins a word. All arrays have one row per token.
    """
    fresh = np.ones(len(starts), bool)
    if len(starts) > 1:
        kinds = _kinds(text)
        edge = np.zeros(len(text) + 1, np.int32)
        apart = kinds <= _UNSPACED
        edge[1:-1] = apart[1:] | apart[:-1]
        for match in _ELIDED.finditer(text):
            edge[match.end()] = 1
        inside = np.zeros(len(text) + 1, bool)
        for match in _SEPARATED.finditer(text):
            inside[match.start() + 1 : match.end()] = True
        # A token that is only whitespace belongs to the following word.
        places = np.arange(len(text), dtype=np.int32)
        ahead = np.full(len(text) + 1, len(text), np.int32)
        ahead[:-1] = np.where(kinds == _WHITE, len(text), places)
        ahead = np.minimum.accumulate(ahead[::-1])[::-1]
        behind = np.maximum.accumulate(np.where(kinds == _WHITE, -1, places))
        first = ahead[starts]
        last = np.maximum(first, behind[np.maximum(ends - 1, 0)])
        before, after = last[:-1], first[1:]
        edges = np.cumsum(edge)
        kinds = np.append(kinds, np.int32(_WHITE))
        punctuated = (kinds[before] == _PUNCTUATION) | (kinds[after] == _PUNCTUATION)
        cut = cuts[1:] & punctuated & ~inside[after]
        fresh[1:] = (after > before) & ((edges[after] > edges[before]) | cut)
    return np.cumsum(fresh, dtype=np.int32)


def _kinds(text: str) -> Int32Array:
    """Return the class of each character: whitespace, unspaced script, word, or punctuation."""
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    found, places = np.unique(codes, return_inverse=True)
    return np.array([_kind(chr(code)) for code in found], np.int32)[places]


def _kind(character: str) -> int:
    if character.isspace():
        return _WHITE
    if is_unspaced(character):
        return _UNSPACED
    return _WORD if character.isalnum() or is_mark(character) else _PUNCTUATION
