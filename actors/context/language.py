"""Which of the configured languages a text is in, by the share of its frequent words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from unicodedata import normalize

from actors.context.phrases import lowered

SAMPLE = 1000
"""Characters of a text that are looked at."""

# A single letter is part of an abbreviation as often as it is a word: "64 y/o", "V.a.". One that
# is elided before a word is French: "d'embolie".
_WORD = re.compile(r"[^\W\d_]{2,}|\b[cdjlns]'(?=[^\W\d_])")


class LanguageChoice:
    """Chooses among languages by their function words; cheap for one language.

    Where that is undecided, as in a text of a few words, the words of cues decide.
    """

    def __init__(
        self, words: Mapping[str, Sequence[str]], cues: Mapping[str, Iterable[str]] | None = None
    ) -> None:
        """``words``: language to its function words; ``cues``: to its cues. Ties that remain fall
        to the earlier language."""
        self._languages = tuple(words)
        self._of = self._places(words)
        self._cued = self._places(
            {language: _words(" ".join(cues[language])) for language in words} if cues else {}
        )

    def __call__(self, text: str) -> str:
        """The language of a text: the one with the most function words in it."""
        if len(self._languages) == 1:
            return self._languages[0]
        found = _words(text[:SAMPLE])
        counts = self._counted(found, self._of)
        most = max(counts)
        if counts.count(most) > 1:
            cued = self._counted(found, self._cued)
            counts = [c if n == most else -1 for n, c in zip(counts, cued, strict=True)]
            most = max(counts)
        return self._languages[counts.index(most)]

    def _places(self, words: Mapping[str, Iterable[str]]) -> dict[str, tuple[int, ...]]:
        of: dict[str, tuple[int, ...]] = {}
        for language, given in words.items():
            place = self._languages.index(language)
            for word in dict.fromkeys(normalize("NFC", one.lower()) for one in given):
                of[word] = (*of.get(word, ()), place)
        return of

    def _counted(self, words: Iterable[str], of: Mapping[str, tuple[int, ...]]) -> list[int]:
        counts = [0] * len(self._languages)
        for word in words:
            for place in of.get(word, ()):
                counts[place] += 1
        return counts


def _words(text: str) -> list[str]:
    return _WORD.findall(normalize("NFC", lowered(text)).replace("\u2019", "'"))
