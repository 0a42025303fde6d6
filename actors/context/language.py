"""Which of the configured languages a text is in: by its frequent words, or else by spelling."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import log
from unicodedata import normalize

from actors.context.phrases import lowered

SAMPLE = 1000
"""Characters of a text that are looked at."""

_LETTER = r"[^\W\d_]"
# A single letter is part of an abbreviation as often as it is a word: "64 y/o", "V.a.". One that
# is elided before a word is French: "d'embolie".
_WORD = re.compile(rf"{_LETTER}{{2,}}|\b[cdjlns]'(?={_LETTER})")
# The "non" of "non-reactive" is no word of French.
_APART = re.compile(
    rf"(?<!{_LETTER})(?<!{_LETTER}-){_LETTER}{{2,}}(?!{_LETTER}|-{_LETTER})"
    rf"|\b[cdjlns]'(?={_LETTER})"
)
# "UTI" is spelt alike in all.
_SHORT_FORM = re.compile(rf"(?<!{_LETTER})[A-Z]{{2,6}}(?!{_LETTER})")
_LONGEST = 4  # letters of an n-gram
_SMOOTHING = 0.5  # added to each count
_PRIOR = 4.0  # log odds of the first language


class LanguageChoice:
    """Chooses among languages by their function words; cheap for one language.

    Where that is undecided, as in a text of a few words, cues decide ("V.a. Thrombose"), and where
    there are none, spelling: a naive Bayes classifier over character n-grams (Cavnar and Trenkle,
    SDAIR 1994; Lui and Baldwin, ACL 2012) of the words of each language's lexicon.
    """

    def __init__(
        self,
        words: Mapping[str, Sequence[str]],
        cues: Mapping[str, Iterable[str]] | None = None,
        phrases: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        """Each maps a language: ``words`` to its function words, ``cues`` to its cues, ``phrases``
        to others by whose spelling it is recognised. The first language is the likeliest."""
        self._languages = tuple(words)
        self._of: dict[str, tuple[int, ...]] = {}
        for place, given in enumerate(words.values()):
            for word in dict.fromkeys(normalize("NFC", one.lower()) for one in given):
                self._of[word] = (*self._of.get(word, ()), place)
        cued = {one: [*(cues or {}).get(one, ())] for one in words}
        more = {one: [*(phrases or {}).get(one, ())] for one in words}
        self._cues = [_any_of(cued[one]) for one in words]
        self._spelling = _Spelling(
            [{*_words(" ".join([*words[one], *cued[one], *more[one]]), _WORD)} for one in words]
        )

    def __call__(self, text: str) -> str:
        """The language of a text: the one with the most function words in it."""
        if len(self._languages) == 1:
            return self._languages[0]
        sample = text[:SAMPLE]
        counts = [0] * len(self._languages)
        for word in _words(sample, _APART):
            for place in self._of.get(word, ()):
                counts[place] += 1
        tied = _most(range(len(counts)), counts)
        if len(tied) > 1:
            folded = normalize("NFC", lowered(sample))
            cued = [sum(map(len, cues.findall(folded))) for cues in self._cues]
            tied = _most(tied, cued)
        if len(tied) == 1:
            return self._languages[tied[0]]
        words = sample if sample.isupper() else _SHORT_FORM.sub(" ", sample)
        scores = self._spelling.scores(_words(words, _WORD))
        return self._languages[max(tied, key=lambda place: scores[place])]


def _most(places: Sequence[int], counts: Sequence[int]) -> list[int]:
    """Those of the places that have the largest count."""
    most = max(counts[place] for place in places)
    return [place for place in places if counts[place] == most]


def _any_of(phrases: Iterable[str]) -> re.Pattern[str]:
    folded = {normalize("NFC", lowered(one)) for one in phrases}
    longest_first = sorted(folded, key=lambda one: (-len(one), one))
    found = "|".join(map(re.escape, longest_first))
    return re.compile(rf"(?<![\w-])(?:{found})(?![\w-])" if found else "(?!)")


class _Spelling:
    """Log-likelihoods of words under languages, each given by some of its words."""

    def __init__(self, words: Sequence[Collection[str]]) -> None:
        counts = [Counter(gram for word in some for gram in _grams(word)) for some in words]
        different = len(set().union(*counts)) or 1
        sums = [count.total() + _SMOOTHING * different for count in counts]
        self._rare = [log(_SMOOTHING / total) for total in sums]
        self._known: dict[str, list[float]] = {
            gram: [
                log((count[gram] + _SMOOTHING) / total)
                for count, total in zip(counts, sums, strict=True)
            ]
            for gram in set().union(*counts)
        }

    def scores(self, words: Iterable[str]) -> list[float]:
        """The score of each language; the highest is the likeliest."""
        scores = [_PRIOR, *[0.0] * (len(self._rare) - 1)]
        for word in words:
            for gram in _grams(word):
                of_gram = self._known.get(gram, self._rare)
                scores = [score + one for score, one in zip(scores, of_gram, strict=True)]
        return scores


def _grams(word: str) -> list[str]:
    """The letters of a word, and its n-grams with a blank at both ends."""
    padded = f" {word} "
    return [
        *word,
        *(
            padded[at : at + length]
            for length in range(2, _LONGEST + 1)
            for at in range(len(padded) - length + 1)
        ),
    ]


def _words(text: str, pattern: re.Pattern[str]) -> list[str]:
    return pattern.findall(normalize("NFC", lowered(text)).replace("\u2019", "'"))
