"""A vocabulary of any size, made of words that no one has: the same for the same size.

Words follow Zipf's law, and the names of a concept share most of their words, as in UMLS.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from actors.linking.vocabulary import Name

NAMES_OF_CONCEPT = 3
_SYLLABLES = [a + b for a in "bcdfglmnprstv" for b in ("a", "e", "i", "o", "ol", "an", "er", "ir")]


def names(terms: int) -> Iterator[Name]:
    """About ``terms`` names, three of each concept, of one to seven words."""
    random = np.random.default_rng(7)
    words = _words(random, max(1000, terms // 8))
    concepts = max(1, terms // NAMES_OF_CONCEPT)
    lengths = random.integers(1, 7, concepts)
    for concept in range(concepts):
        base = [words[at] for at in _zipf(random, int(lengths[concept]), len(words))]
        code = f"S{concept:08d}"
        yield Name(code, " ".join(base), "synthetic", concept + 1, preferred=True)
        extra, other = (words[at] for at in _zipf(random, 2, len(words)))
        yield Name(code, " ".join([*base, extra]), "synthetic", concept + 1)
        yield Name(code, " ".join([*base[:-1], other]), "synthetic", concept + 1)


def _zipf(random: np.random.Generator, count: int, words: int) -> list[int]:
    """Ranks below ``words`` with probabilities near 1 / rank."""
    return [int(rank) - 1 for rank in np.exp(random.random(count) * np.log(words))]


def _words(random: np.random.Generator, count: int) -> list[str]:
    """Distinct words of two to five syllables."""
    found: dict[str, None] = {}
    while len(found) < count:
        lengths = random.integers(2, 6, count)
        picks = random.integers(0, len(_SYLLABLES), (count, 5))
        for length, pick in zip(lengths.tolist(), picks.tolist(), strict=True):
            found["".join(_SYLLABLES[at] for at in pick[:length])] = None
    return list(found)[:count]
