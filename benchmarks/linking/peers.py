"""Peers over the same names: TF-IDF nearest neighbours as in scispaCy, and rapidfuzz.

scispaCy's candidate generator takes TF-IDF vectors of character trigrams and finds neighbours with
nmslib, approximately; here they are exact, so its accuracy is at least that of the original.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Protocol

import numpy as np

from actors.linking.vocabulary import Vocabulary

_NEIGHBOURS = 30
"""The default of scispaCy."""


class Peer(Protocol):
    """Finds the codes of a name, best first."""

    def find(self, text: str, most: int) -> list[str]:
        """At most ``most`` codes."""


class Tfidf:
    """Trigrams of characters, cosine similarity."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        # No part of the project's environment, and without types where it is there.
        vectorizer = import_module("sklearn.feature_extraction.text").TfidfVectorizer

        self._codes, names = _names(vocabulary)
        self._vectorizer = vectorizer(
            analyzer="char_wb", ngram_range=(3, 3), min_df=min(10, len(names)), dtype=np.float32
        )
        self._names = self._vectorizer.fit_transform(names).T.tocsr()

    def find(self, text: str, most: int) -> list[str]:
        """The codes of the names with the most similar vectors."""
        row = self._vectorizer.transform([text.casefold()]) @ self._names
        order = np.lexsort((row.indices, -row.data))[:_NEIGHBOURS]
        return _distinct((self._codes[row.indices[at]] for at in order), most)


class Rapidfuzz:
    """The ratio of two strings after their words are sorted (token_sort_ratio)."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._codes, names = _names(vocabulary)
        self._names = [_sorted(name) for name in names]

    def find(self, text: str, most: int) -> list[str]:
        """The codes of the names with the highest ratio."""
        from rapidfuzz import fuzz, process

        found = process.extract(
            _sorted(text.casefold()), self._names, scorer=fuzz.ratio, limit=_NEIGHBOURS
        )
        return _distinct((self._codes[at] for _, _, at in found), most)


def _names(vocabulary: Vocabulary) -> tuple[list[str], list[str]]:
    pairs = [
        (concept.code, term.casefold()) for concept in vocabulary.concepts for term in concept.terms
    ]
    return [code for code, _ in pairs], [term for _, term in pairs]


def _sorted(text: str) -> str:
    return " ".join(sorted(text.split()))


def _distinct(codes: Iterable[str], most: int) -> list[str]:
    return list(dict.fromkeys(codes))[:most]
