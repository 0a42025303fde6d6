"""Words of a vocabulary that stand for a word of a mention.

The same stem; a word that the vocabulary uses in its place (`substitutes`); a word that differs in
its end only (noun and adjective); and, for words that the vocabulary lacks, a similar spelling.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from rapidfuzz.distance import LCSseq, Prefix

from actors.arrays import Int32Array, Int64Array
from actors.linking import term_keys
from actors.linking.build import weight
from actors.linking.grams import BEGINNING, LEAST, beginning, grams
from actors.linking.index import VocabularyIndex
from actors.linking.opposites import opposite
from actors.linking.substitutes import FULL
from actors.linking.wordclasses import HEREDITARY, alike, compound
from actors.linking.wordlists import FUNCTION_WORDS

MOST_NEIGHBOURS = 32
LEAST_SIMILARITY = 55
ALIKE = 80
"""Weight of an identical spelling of a word that the vocabulary lacks."""
DICE_SHARE = 90
"""Weight of full trigram agreement, in hundredths; less than a substitute's."""
LEAST_DICE = 350
"""Thousandths of shared trigrams below which two words are not compared."""
MOST_GRAM_POSTINGS = 40_000
MOST_COMPARED = 48
"""Spellings that are compared letter by letter."""
MOST_REMEMBERED = 1 << 15
_KINDS = ("it", "os", "om", "emi", "uri", "rhe")
"""Ends of stems (-itis, -osis, -oma, -emia, -uria, -rrhea) that say what is wrong: a steatitis is
no steatosis, and nothing gastric is a gastritis. Sclerosis and sclerotic are one word."""
_DERIVED = ("ion", "iv", "ory")
"""Ends of stems of one word: inflammation and inflammatory, obstruction and obstructive."""
DERIVED = 90
_NONE = np.empty(0, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Words of the vocabulary for one word of a mention, with similarities in [1, FULL].

    ``words`` are in ascending order. ``postings``: (number of names, word, similarity, the names).
    """

    words: Int32Array
    similarities: Int32Array
    weight: int
    postings: tuple[tuple[int, int, int, Int32Array], ...]


class VocabularyWords:
    """Finds the neighbours of words in an index."""

    def __init__(self, index: VocabularyIndex) -> None:
        self.index = index
        self.neighbours = lru_cache(maxsize=MOST_REMEMBERED)(self._neighbours)
        self.knows = lru_cache(maxsize=MOST_REMEMBERED)(self._knows)

    def joined(self, words: list[str]) -> list[str]:
        """The words, with two neighbours as one if it is a word of the vocabulary and one of them
        is none: "neuro-logical", "hitch hiker"."""
        found: list[str] = []
        for word in words:
            if found and not FUNCTION_WORDS & {found[-1], word}:
                both = found[-1] + word
                alone = self.knows(found[-1]) and self.knows(word)
                if not alone and self.knows(both):
                    found[-1] = both
                    continue
            found.append(word)
        return found

    def _knows(self, word: str) -> bool:
        return self.index.word(term_keys.key(term_keys.stem(word))) is not None

    def _neighbours(self, stem: str) -> Neighbours:
        index = self.index
        own = index.word(term_keys.key(stem))
        found: dict[int, int] = {}
        if own is not None:
            found[own] = FULL
            for other, similarity in zip(
                index.substitutes[own].tolist(), index.similarities[own].tolist(), strict=True
            ):
                found[other] = similarity
        parts = compound(stem)
        for others in (alike(stem), parts):
            for other, similarity in others.items():
                at = index.word(term_keys.key(other))
                if at is not None:
                    found[at] = max(found.get(at, 0), similarity)
        # What a compound means is known; another of like spelling means something else. So does
        # *autosome* beside *autosomal*, which is in a list with all that it stands for.
        if not (parts and own is None) and stem not in HEREDITARY:
            for at, similarity in self._similar(stem, known=own is not None):
                found[at] = max(found.get(at, 0), similarity)
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

    def _similar(self, stem: str, *, known: bool) -> list[tuple[int, int]]:
        words, dice = self._ending_otherwise(stem) if known else self._alike_in_trigrams(stem)
        index = self.index
        found = []
        for word, shares in zip(words.tolist(), dice.tolist(), strict=True):
            spelling = index.spelling(word)
            similarity = _by_prefix(stem, spelling)
            if not known:
                similarity = max(similarity, DICE_SHARE * shares // 1000, _misspelt(stem, spelling))
            if similarity >= LEAST_SIMILARITY and not opposite(stem, spelling):
                found.append((word, min(FULL - 5, similarity)))
        return found

    def _ending_otherwise(self, stem: str) -> tuple[Int32Array, Int32Array]:
        """The words that begin with the same four letters: those that have the same trigrams."""
        places = self.index.gram_places(beginning(stem))
        if len(places) < BEGINNING:
            return _NONE, _NONE
        lists = [self.index.gram_words[at] for at in places]
        if sum(map(len, lists)) > MOST_GRAM_POSTINGS:
            return _NONE, _NONE
        words, *others = sorted(lists, key=len)
        for other in others:  # all are in ascending order
            found = other.searchsorted(words)
            words = words[other.take(found, mode="clip") == words]
        return words, words

    def _alike_in_trigrams(self, stem: str) -> tuple[Int32Array, Int32Array]:
        """The words that share most trigrams, and how many, in thousandths of all of both."""
        index = self.index
        own = grams(stem)
        lists = sorted((index.gram_words[at] for at in index.gram_places(own)), key=len)
        kept: list[Int32Array] = []
        seen = 0
        for words in lists:
            seen += len(words)
            if kept and seen > MOST_GRAM_POSTINGS:
                break
            kept.append(words)
        if not kept:
            return _NONE, _NONE
        words, shared = _counted(kept)
        # A word has about as many trigrams as its spelling has letters. Thousandths: integers, so
        # that no processor rounds another way.
        dice = 2000 * shared // (len(own) + index.gram_counts[words])
        near = np.flatnonzero(dice >= LEAST_DICE)
        if len(near) > MOST_COMPARED:
            order = (dice[near].astype(np.int64) << 32) - words[near]
            near = near[np.argpartition(order, -MOST_COMPARED)[-MOST_COMPARED:]]
        return words[near], dice[near]


def _counted(lists: list[Int32Array]) -> tuple[Int32Array, Int64Array]:
    """The distinct ids of lists in ascending order, and in how many lists each one is.

    Sorting reads memory in order: faster than counting by id among many.
    """
    ids = np.concatenate(lists)
    ids.sort()
    first = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1])))
    return ids[first], np.diff(first, append=len(ids))


def _by_prefix(one: str, other: str) -> int:
    """The similarity of words that differ in their ends only, such as a noun and its adjective."""
    short, long = len(one), len(other)
    if short > long:
        short, long = long, short
    if long - short > 5:
        return 0
    if (root := _root(one)) and root == _root(other):
        return DERIVED
    shared = Prefix.similarity(one, other)
    if _of_another_kind(one, other, shared):
        return 0
    if shared < 4 or shared < short - min(2, 2 * (shared - 4)) or long - shared > 5:
        return 0
    return FULL * 2 * shared // (short + long)


def _of_another_kind(one: str, other: str, shared: int) -> bool:
    """True if an end of `_KINDS` tells apart two words that share their first letters."""
    kinds = one.endswith(_KINDS), other.endswith(_KINDS)
    if all(kinds):
        return one[-2:] != other[-2:]
    if not any(kinds):
        return False
    kind, plain = (one, other) if kinds[0] else (other, one)
    adjective = kind.endswith("os") and kind[:-1] + "t" == plain[: len(kind)]
    return shared < len(kind) and not adjective


def _root(word: str) -> str:
    """A word without an end of `_DERIVED`; empty where it has none, or is nothing else."""
    for end in _DERIVED:
        if word.endswith(end) and len(word) - len(end) >= LEAST:
            return word[: -len(end)]
    return ""


def _misspelt(one: str, other: str) -> int:
    """The similarity of spellings that may be of one word: that of their common subsequence."""
    return ALIKE * 2 * LCSseq.similarity(one, other) // (len(one) + len(other))
