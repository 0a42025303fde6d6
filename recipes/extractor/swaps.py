"""Mentions that change places: a window in which entities have other words, with their spans.

A small corpus names the same drugs again and again, and a model that may remember them learns
little about where a drug stands in a sentence. Here a mention gives way to another of its label,
or to one that exists nowhere: the first half of a word before the second half of another's, and
digits drawn anew. Dai and Adel 2020 (An Analysis of Simple Data Augmentation for Named Entity
Recognition) found the first of these to help where there are few documents.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import pairwise

from corpora import Span, Text

WINDOWS, MENTIONS, INVENTED = 0.5, 0.6, 0.3
"""The share of windows that are changed, of their mentions, and of invented ones among these."""

DONORS = {
    ("bc5cdr", "Chemical"): [("phee", "Drug"), ("neurotrialner", "DRUG")],
    ("bc5cdr", "Disease"): [("ncbi_disease", "SpecificDisease"), ("ncbi_disease", "DiseaseClass")],
    ("neurotrialner", "DRUG"): [("phee", "Drug"), ("bc5cdr", "Chemical")],
    ("neurotrialner", "CONDITION"): [("bc5cdr", "Disease"), ("ncbi_disease", "SpecificDisease")],
    ("ctro_21", "Drug"): [("phee", "Drug"), ("bc5cdr", "Chemical")],
}
"""Labels of other corpora that mean the same."""

_SPLIT = 5
"""Letters that a word needs to be cut in two."""


class Mentions:
    """The distinct names of the entities of each corpus and label."""

    def __init__(self, corpora: Mapping[str, Sequence[Text]]) -> None:
        own: dict[tuple[str, str], set[str]] = {}
        for name, texts in corpora.items():
            for text in texts:
                for span in text.spans:
                    own.setdefault((name, span.label), set()).add(text.text[span.start : span.end])
        self._of = {
            key: sorted(words.union(*(own.get(donor, ()) for donor in DONORS.get(key, ()))))
            for key, words in own.items()
        }

    def changed(self, corpus: str, window: Text, rng: random.Random) -> Text:
        """The window, or one with other mentions; as it is where its entities overlap."""
        if rng.random() >= WINDOWS or any(a.end > b.start for a, b in pairwise(window.spans)):
            return window
        text, spans, read = "", [], 0
        now: dict[tuple[str, str], str] = {}  # the same words keep their likeness
        for span in window.spans:
            words = window.text[span.start : span.end]
            key = span.label, words
            if key not in now and rng.random() < MENTIONS:
                now[key] = self._another(corpus, span.label, words, rng)
            words = now.setdefault(key, words)
            text += window.text[read : span.start]
            spans.append(Span(len(text), len(text) + len(words), span.label))
            text += words
            read = span.end
        return Text(text + window.text[read:], tuple(spans))

    def _another(self, corpus: str, label: str, words: str, rng: random.Random) -> str:
        pool = self._of[corpus, label]
        other = rng.choice(pool)
        if rng.random() < INVENTED:
            other = _invented(other, rng.choice(pool), rng)
        if words[0].isupper() and not words[:2].isupper():
            other = other[0].upper() + other[1:]
        return other


def _invented(mention: str, other: str, rng: random.Random) -> str:
    """The longest word of a mention ends as the other's; digits are drawn anew."""
    word, ending = (max(m.split(), key=len) for m in (mention, other))
    if min(len(word), len(ending)) >= _SPLIT and (word + ending).isalpha():
        made = word[: len(word) // 2] + ending[len(ending) // 2 :]
        mention = mention.replace(word, made, 1)
    return "".join(str(rng.randrange(10)) if c.isdigit() and c != "0" else c for c in mention)
