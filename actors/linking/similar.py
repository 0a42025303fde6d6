"""Approximate search: the names most similar to a mention, word by word.

A word of the mention matches a word of a name where it is the same stem, where the vocabulary
uses one for the other (`substitutes`), or where they share enough character trigrams (misspelling,
adjective and noun). The similarity of a mention and a name is the weight of matched words on both
sides over the weight of all words of both, the weight being the inverse document frequency. All
sums are of integers, so every processor gives the same ranking.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import numpy as np
from rapidfuzz.distance import LCSseq

from actors.arrays import Int32Array
from actors.linking import term_keys
from actors.linking.build import weight
from actors.linking.grams import grams
from actors.linking.index import VocabularyIndex
from actors.linking.substitutes import FULL

MENTION_SHARE = 35
"""Percent of a similarity that the mention's words decide; those of the name decide the rest, so
that "sporadic breast cancer" is nearer to breast cancer than to familial breast cancer."""
MOST_POSTINGS = 8_000
"""Names that are looked at for one mention, from its rarest words on: what bounds its time."""
MOST_CANDIDATES = 64
"""Names that are compared in full."""
MOST_WORDS = 24
"""Words of a mention that count; the longest names of the usual vocabularies have fewer."""
MOST_NEIGHBOURS = 12
LEAST_SIMILARITY = 55
ALIKE = 80
"""What the same spelling would be worth where a word is not in the vocabulary."""
DICE_SHARE = 90
"""What full agreement in trigrams is worth, in hundredths: less than a substitute."""
LEAST_DICE = 350
"""Thousandths of shared trigrams below which two words are not compared."""
MOST_GRAM_POSTINGS = 40_000
_TURNING = (
    "non", "hyper", "hypo", "anti", "pre", "post", "micro", "macro", "intra", "extra", "inter",
    "a", "an", "de", "dys", "in", "un",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Words of the vocabulary for one word of a mention, with similarities in [1, FULL].

    ``words`` are in ascending order. ``postings``: (number of names, word, similarity, the names).
    """

    words: Int32Array
    similarities: Int32Array
    weight: int
    postings: tuple[tuple[int, int, int, Int32Array], ...]


class Similar:
    """Finds similar names in an index."""

    def __init__(self, index: VocabularyIndex) -> None:
        self._index = index
        # One array for all mentions, zero between them: of a size that is not made each time.
        self._scores = np.zeros(len(index.concept_of), dtype=np.int32)
        self._scores_are_used = Lock()
        self._neighbours = lru_cache(maxsize=1 << 15)(self._find_neighbours)

    def find(self, stems: list[str]) -> tuple[Int32Array, Int32Array]:
        """(names, similarities in millionths), best first, then by the order of the vocabulary."""
        words = [self._neighbours(one) for one in dict.fromkeys(stems[:MOST_WORDS])]
        total = sum(one.weight for one in words)
        names = self._candidates(words, total)
        if not len(names):
            return names, names
        scores = self._compare(words, total, names)
        order = np.lexsort((names, -scores))
        return names[order], scores[order]

    def _candidates(self, words: list[Neighbours], total: int) -> Int32Array:
        index, scores = self._index, self._scores
        postings = [
            (size, at, one, similarity * word.weight, names)
            for at, word in enumerate(words)
            for size, one, similarity, names in word.postings
        ]
        postings.sort(key=lambda posting: posting[:3])
        touched: list[Int32Array] = []
        seen = 0
        with self._scores_are_used:
            for size, _, _, worth, names in postings:
                if touched and seen + size > MOST_POSTINGS:
                    break
                names = names[: MOST_POSTINGS - seen]
                scores[names] += worth
                touched.append(names)
                seen += size
            if not touched:
                return np.empty(0, dtype=np.int32)
            names = np.concatenate(touched)
            ranks = scores[names].astype(np.int64) * 1000 // (total + index.totals[names])
            scores[names] = 0
        return _best(names, ranks)

    def _compare(self, words: list[Neighbours], total: int, names: Int32Array) -> Int32Array:
        index = self._index
        flat, bounds = index.name_words.several(names)
        table = np.zeros((len(words), len(flat)), dtype=np.int32)
        for at, word in enumerate(words):
            if len(word.words):
                places = np.minimum(word.words.searchsorted(flat), len(word.words) - 1)
                table[at] = word.similarities[places] * (word.words[places] == flat)
        weights = index.weights[flat]
        # A word of the name answers for one word of the mention: the one it is most like.
        likest = table.argmax(axis=0)
        covered = table[likest, np.arange(len(flat))]
        table = np.where(np.arange(len(words))[:, None] == likest, table, 0)
        matched = np.add.reduceat(weights * covered, bounds).astype(np.int64)
        best = np.maximum.reduceat(table, bounds, axis=1)
        own = np.array([one.weight for one in words], dtype=np.int64)
        mention = (own[:, None] * best).sum(axis=0)
        rest = 100 - MENTION_SHARE
        whole = (MENTION_SHARE * total + rest * index.totals[names].astype(np.int64)) * FULL
        both = MENTION_SHARE * mention + rest * matched
        scores: Int32Array = (both * 1_000_000 // whole).astype(np.int32)
        return scores

    def _find_neighbours(self, stem: str) -> Neighbours:
        index = self._index
        own = index.word(term_keys.key(stem))
        found: dict[int, int] = {}
        if own is not None:
            found[own] = FULL
            for other, similarity in zip(
                index.substitutes[own].tolist(), index.similarities[own].tolist(), strict=True
            ):
                found[other] = similarity
        for other, similarity in self._similar_words(stem, known=own is not None):
            found[other] = max(found.get(other, 0), similarity)
        best = sorted(found.items(), key=lambda item: (-item[1], item[0]))[: MOST_NEIGHBOURS + 1]
        known = weight(0, len(index.concept_of)) if own is None else int(index.weights[own])
        if own is None and best:
            known = max(int(index.weights[one]) for one, _ in best)
        best.sort()
        names_of = [index.word_names[one] for one, _ in best]
        return Neighbours(
            np.array([one for one, _ in best], dtype=np.int32),
            np.array([similarity for _, similarity in best], dtype=np.int32),
            known,
            tuple(
                (len(names), one, similarity, names)
                for names, (one, similarity) in zip(names_of, best, strict=True)
            ),
        )

    def _similar_words(self, stem: str, *, known: bool) -> list[tuple[int, int]]:
        own = grams(stem)
        places = self._index.gram_places(own)
        lists = sorted((self._index.gram_words[at] for at in places), key=len)
        kept: list[Int32Array] = []
        seen = 0
        for words in lists:
            seen += len(words)
            if kept and seen > MOST_GRAM_POSTINGS:
                break
            kept.append(words)
        if not kept:
            return []
        words, shared = np.unique(np.concatenate(kept), return_counts=True)
        # A word has about as many trigrams as its spelling has letters.
        sizes = self._index.gram_counts[words]
        # Thousandths: integers, so that no processor rounds another way.
        dice = 2000 * shared // (len(own) + sizes)
        found = []
        for at in np.flatnonzero(dice >= LEAST_DICE).tolist():
            word = int(words[at])
            similarity = DICE_SHARE * int(dice[at]) // 1000
            spelling = self._index.spelling(word)
            similarity = max(similarity, _by_prefix(stem, spelling))
            if not known:
                similarity = max(similarity, _misspelt(stem, spelling))
            if similarity >= LEAST_SIMILARITY and not _opposite(stem, spelling):
                found.append((word, min(FULL - 5, similarity)))
        return found


def _by_prefix(one: str, other: str) -> int:
    """The similarity of words that differ in their ends only, such as a noun and its adjective."""
    different = (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    shared = next(different, min(len(one), len(other)))
    short, long = sorted((len(one), len(other)))
    if shared < 4 or shared < short - 2 or long - shared > 5:
        return 0
    return FULL * 2 * shared // (short + long)


def _opposite(one: str, other: str) -> bool:
    """True if two words differ in a prefix that turns the meaning: hypertension, hypotension."""
    (prefix, rest), (other_prefix, other_rest) = _prefix(one), _prefix(other)
    return prefix != other_prefix and rest == other_rest


def _prefix(word: str) -> tuple[str, str]:
    for prefix in _TURNING:
        if word.startswith(prefix):
            return prefix, word[len(prefix) :]
    return "", word


def _misspelt(one: str, other: str) -> int:
    """The similarity of spellings that may be of one word: that of their common subsequence."""
    return ALIKE * 2 * LCSseq.similarity(one, other) // (len(one) + len(other))


def _best(names: Int32Array, ranks: np.ndarray) -> Int32Array:
    """The names of the highest ranks, at most MOST_CANDIDATES; of equals the first."""
    if len(ranks) > 8 * MOST_CANDIDATES:
        # A name stands once for each of its words, so this keeps more than enough.
        least = np.partition(ranks, -8 * MOST_CANDIDATES)[-8 * MOST_CANDIDATES]
        names, ranks = names[ranks >= least], ranks[ranks >= least]
    names, first = np.unique(names, return_index=True)
    ranks = ranks[first]
    if len(names) <= MOST_CANDIDATES:
        return names
    order = np.lexsort((names, -ranks))[:MOST_CANDIDATES]
    return np.sort(names[order])
