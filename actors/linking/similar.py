"""Approximate search: the names most similar to a mention, word by word.

A word of the mention matches a word of a name if `neighbours` pairs them. The similarity of a
mention and a name is the weight of matched words on both sides over the weight of all words of
both, the weight being the inverse document frequency. All sums are of integers, so every processor
gives the same ranking.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from actors.arrays import Int32Array
from actors.linking import term_keys
from actors.linking.index import VocabularyIndex
from actors.linking.neighbours import Neighbours, VocabularyWords
from actors.linking.substitutes import FULL
from actors.linking.sums_by_id import SumsById

MENTION_SHARE = 35
"""Percent of a similarity that the mention's words decide; those of the name decide the rest, so
that "sporadic breast cancer" is nearer to breast cancer than to familial breast cancer."""
MOST_POSTINGS = 3_000
"""Names that are looked at for one mention, from its rarest words on: what bounds its time."""
MOST_CANDIDATES = 48
"""Names that are compared in full."""
MOST_WORDS = 24
"""Words of a mention that count; the longest names of the usual vocabularies have fewer."""
MOST_REMEMBERED = 1 << 14
"""Size of the cache of similar names, by mention as a set of stems."""


class Similar:
    """Finds similar names in an index."""

    def __init__(self, index: VocabularyIndex) -> None:
        self._index = index
        self._words = VocabularyWords(index)
        self._sums = SumsById(len(index.concept_of))
        self._found = lru_cache(maxsize=MOST_REMEMBERED)(self._find)

    def find(self, stems: list[str]) -> tuple[Int32Array, Int32Array]:
        """(names, similarities in millionths), best first, then by the order of the vocabulary."""
        return self._found(tuple(sorted(dict.fromkeys(stems[:MOST_WORDS]))))

    def stems(self, words: list[str]) -> list[str]:
        """The stems to search for, of a mention's words in order."""
        return term_keys.stems(self._words.joined(words))

    def has_all(self, name: int, stems: list[str]) -> bool:
        """True if each stem matches a word of this name."""
        words = set(self._index.name_words[name].tolist())
        matched = (self._words.neighbours(stem).words.tolist() for stem in stems)
        return not any(words.isdisjoint(near) for near in matched)

    def _find(self, stems: tuple[str, ...]) -> tuple[Int32Array, Int32Array]:
        words = [self._words.neighbours(one) for one in stems]
        total = sum(one.weight for one in words)
        names = self._candidates(words, total)
        if not len(names):
            return names, names
        scores = self._compare(words, total, names)
        order = np.lexsort((names, -scores))
        return names[order], scores[order]

    def _candidates(self, words: list[Neighbours], total: int) -> Int32Array:
        postings = [
            (size, at, one, similarity * word.weight, names)
            for at, word in enumerate(words)
            for size, one, similarity, names in word.postings
        ]
        if not postings:
            return np.empty(0, dtype=np.int32)
        postings.sort()  # no two have the same word of the mention and of the vocabulary
        taken: list[Int32Array] = []
        sizes: list[int] = []
        left = MOST_POSTINGS
        for size, _, _, _, names in postings:
            if taken and size > left:
                break
            names = names[:left]
            taken.append(names)
            sizes.append(len(names))
            left -= len(names)
        worths = np.array([posting[3] for posting in postings[: len(taken)]], dtype=np.int32)
        names, sums = self._sums.add(np.concatenate(taken), np.repeat(worths, sizes))
        ranks = sums.astype(np.int64) * 1000 // (total + self._index.totals[names])
        return _best(names, ranks)

    def _compare(self, words: list[Neighbours], total: int, names: Int32Array) -> Int32Array:
        index = self._index
        flat, bounds = index.name_words.several(names)
        near = np.concatenate([word.words for word in words])
        similarities = np.concatenate([word.similarities for word in words])
        # A row a word of a name, a column a neighbour of a word of the mention.
        table = (flat[:, None] == near) * similarities
        columns = np.repeat(np.arange(len(words)), [len(word.words) for word in words])
        # A word of the name answers for one word of the mention: the one it is most like.
        likest = table.argmax(axis=1)
        covered = table[np.arange(len(flat)), likest]
        weights = index.weights[flat]
        matched = np.add.reduceat(weights * covered, bounds).astype(np.int64)
        best = np.zeros((len(names), len(words)), dtype=np.int64)
        name_of = np.zeros(len(flat), dtype=np.intp)
        name_of[bounds[1:]] = 1
        np.cumsum(name_of, out=name_of)
        np.maximum.at(best, (name_of, columns[likest]), covered)
        own = np.array([one.weight for one in words], dtype=np.int64)
        mention = best @ own
        rest = 100 - MENTION_SHARE
        whole = (MENTION_SHARE * total + rest * index.totals[names].astype(np.int64)) * FULL
        both = MENTION_SHARE * mention + rest * matched
        scores: Int32Array = (both * 1_000_000 // whole).astype(np.int32)
        return scores


def _best(names: Int32Array, ranks: np.ndarray) -> Int32Array:
    """The names of the highest ranks, at most MOST_CANDIDATES; of equals the first."""
    if len(names) <= MOST_CANDIDATES:
        return names
    # No two are equal, so that what is chosen does not depend on the order.
    order = (ranks << 32) - names
    return names[np.argpartition(order, -MOST_CANDIDATES)[-MOST_CANDIDATES:]]
