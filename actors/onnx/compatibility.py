"""Expand compatibility characters that a vocabulary does not know.

Ligatures come from the text layers of PDFs, styled letters and full-width forms from pasted text.
Characters in the vocabulary stay, so that the model sees what it was trained on.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import numpy as np

from actors.arrays import Int32Array


class Spelling:
    """Expands characters for one vocabulary.

    ``unknown`` returns how many tokens of a text are unknown to the vocabulary.
    """

    def __init__(self, unknown: Callable[[str], int]) -> None:
        self._unknown = unknown
        self._expanded: dict[str, str] = {}

    def spelt_out(self, text: str) -> tuple[str, Int32Array] | None:
        """Return the text for the model, and the index in ``text`` of the origin of each of its
        characters. None if the text stays as it is."""
        spelt = {c: s for c in set(text) if not c.isascii() and (s := self._of(c)) != c}
        if not spelt:
            return None
        parts = [spelt.get(character, character) for character in text]
        lengths = np.fromiter(map(len, parts), np.int32, len(parts))
        return "".join(parts), np.repeat(np.arange(len(text), dtype=np.int32), lengths)

    def _of(self, character: str) -> str:
        if character not in self._expanded:
            spelt = unicodedata.normalize("NFKC", character)
            keep = spelt == character or self._knows(character)
            self._expanded[character] = character if keep else spelt
        return self._expanded[character]

    def _knows(self, character: str) -> bool:
        # WordPiece may know a character on its own, inside a word, or both.
        inside = self._unknown("a" + character) <= self._unknown("a")
        return inside and not self._unknown(character)
