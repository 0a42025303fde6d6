"""Which of the configured languages a text is in, by the share of its frequent words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from unicodedata import normalize

from actors.context.phrases import lowered

SAMPLE = 1000
"""Characters of a text that are looked at."""

_WORD = re.compile(r"[^\W\d_]+")


class LanguageChoice:
    """Chooses among languages by their function words; cheap for one language."""

    def __init__(self, words: Mapping[str, Sequence[str]]) -> None:
        """``words``: language to its function words; ties fall to the earlier language."""
        self._languages = tuple(words)
        self._of: dict[str, tuple[int, ...]] = {}
        for place, language in enumerate(self._languages):
            for word in words[language]:
                word = normalize("NFC", word.lower())
                self._of[word] = (*self._of.get(word, ()), place)

    def __call__(self, text: str) -> str:
        """The language of a text: the one with the most function words in it."""
        if len(self._languages) == 1:
            return self._languages[0]
        counts = [0] * len(self._languages)
        of = self._of
        for word in _WORD.findall(normalize("NFC", lowered(text[:SAMPLE]))):
            for place in of.get(word, ()):
                counts[place] += 1
        return self._languages[counts.index(max(counts))]
