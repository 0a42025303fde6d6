"""Substitute and optional words, learned from a vocabulary's own synonyms without any text.

Two names of one concept that differ in little vote: *cancer of the breast* and *neoplasm of the
breast* for the pair (cancer, neoplasm), *Marfan syndrome* and *Marfan* for leaving *syndrome* out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

MOST_NAMES = 12
"""Names of a concept that are compared, in their order; more add pairs by the square."""
LEAST_CONCEPTS = 4
"""Concepts that must agree."""
LEAST_SHARE = 0.05
"""Of the concepts that have the rarer word, those that must agree."""
RARELY, RARE_SIMILARITY = 0.06, 65
"""A word that is used in another's place in a smaller share of that one's concepts is not worth
more: *hysteria* stands for *disorder* in one name, but *disorder* does not say hysteria."""
FULL = 100
"""The similarity of a word to itself; others are integers below it."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Words by number; every list is sorted.

    ``words``: (word, other, similarity), both ways.
    ``left_out``: for words that names do without, the share of their concepts where one does, in
    hundredths.
    """

    words: list[tuple[int, int, int]]
    left_out: dict[int, int]


def learn(
    concepts: Iterable[Sequence[Sequence[int]]],
    numbers: frozenset[int],
    opposed: Callable[[int, int], bool] = lambda left, right: False,
) -> Learned:
    """Learn from concepts, each a list of names as word numbers.

    ``numbers`` are words that are digits: type 1 and type 2 are never the same. ``opposed``: true
    for two words that no vote makes substitutes.
    """
    words: Counter[tuple[int, int]] = Counter()
    without: Counter[int] = Counter()
    seen: Counter[int] = Counter()
    for names in concepts:
        sets = list(map(frozenset, names))
        whole, distinct = set(sets), list(dict.fromkeys(sets[:MOST_NAMES]))
        seen.update(frozenset[int]().union(*distinct))
        votes: set[tuple[int, int]] = set()
        dropped: set[int] = set()
        for first, second in combinations(distinct, 2):
            one, other = sorted((first - second, second - first), key=len)
            if len(one) == 1 and len(other) == 1:
                if first & second in whole:
                    # Left out as often: *tactile* and *thermal hypesthesia* are kinds of it.
                    continue
                (left,), (right,) = one, other
                votes.add((min(left, right), max(left, right)))
            elif not one and len(other) == 1:
                dropped |= other
        words.update(votes)
        without.update(dropped)
    found = []
    for (left, right), count in words.items():
        share = count / min(seen[left], seen[right])
        enough = count >= LEAST_CONCEPTS and share >= LEAST_SHARE
        if enough and not (left in numbers and right in numbers) and not opposed(left, right):
            similarity = min(FULL - 5, round(FULL * (0.6 + share)))
            for word, instead in ((left, right), (right, left)):
                often = count >= RARELY * seen[word]
                worth = similarity if often else min(similarity, RARE_SIMILARITY)
                found.append((word, instead, worth))
    return Learned(
        sorted(found),
        {
            left: round(FULL * count / seen[left])
            for left, count in sorted(without.items())
            if count >= LEAST_CONCEPTS and left not in numbers
        },
    )
