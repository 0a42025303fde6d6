"""The concepts of a name in one vocabulary, best first.

Keys are tried from the strictest on, and the first that finds something answers; only then are
similar names searched. Of equally good concepts the one comes first that: has a type that the
configuration lists earlier; has the name as its preferred one; has the lower code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from actors.arrays import Int32Array
from actors.linking import term_keys
from actors.linking.index import VocabularyIndex
from actors.linking.similar import Similar
from actors.linking.strengths import in_milligrams

EXACT, FOLDED, SIMILAR = "exact", "folded", "similar"
_SCORES = {"exact": 1.0, "folded": 0.97, "joined": 0.95, "bare": 0.9}
MOST_SIMILAR = 0.89
"""The score of a similar name whose words all match: below that of any key."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A concept found, by its number in the index; ``score`` is in [0, 1]."""

    concept: int
    score: float
    how: str


class Lookup:
    """Looks names up in an index.

    ``types``: only concepts with one of these; none: all. ``drugs``: salts and forms may differ.
    """

    def __init__(
        self,
        index: VocabularyIndex,
        similar: Similar,
        *,
        types: tuple[str, ...] = (),
        drugs: bool = False,
    ) -> None:
        self._index = index
        self._similar = similar
        self._drugs = drugs
        self._rank_of = {
            index.types.index(name): at for at, name in enumerate(types) if name in index.types
        }
        self._all = not types

    def find(self, text: str, most: int, threshold: float) -> tuple[Hit, ...]:
        """At most ``most`` concepts for a name, none below ``threshold``; best first."""
        words = term_keys.words(text)
        if not words:
            return ()
        stems = term_keys.stems(words)
        for names, how in self._by_key(words, stems):
            if _SCORES[how] < threshold:
                continue
            found = self._equal(names, most)
            if found:
                label = EXACT if how == "exact" else FOLDED
                hits = [Hit(concept, _SCORES[how], label) for concept, _ in found]
                if len(hits) < most:
                    known = {hit.concept for hit in hits}
                    more = self._similar_concepts(stems, most + len(hits), threshold)
                    hits += [hit for hit in more if hit.concept not in known]
                return tuple(hits[:most])
        return self._similar_concepts(stems, most, threshold)

    def knows(self, text: str) -> bool:
        """True if a concept has this name, ignoring case, accents, plural and word order."""
        words = term_keys.words(text)
        keyed = self._by_key(words, term_keys.stems(words)) if words else ()
        return any(self._equal(names, 1) for names, _ in keyed)

    def _similar_concepts(self, stems: list[str], most: int, threshold: float) -> tuple[Hit, ...]:
        names, scores = self._similar.find(stems)
        least = int(threshold / MOST_SIMILAR * 1e6)
        enough = scores >= least
        found = self._ranked(names[enough], scores[enough], most)
        return tuple(
            Hit(concept, round(score / 1e6 * MOST_SIMILAR, 4), SIMILAR) for concept, score in found
        )

    def product(self, text: str, details: tuple[str, ...]) -> Hit | None:
        """Return the concept most like a drug, among those with all words of it and of its details.

        "metformin" with "500 mg" and "tablet" gives "metformin hydrochloride 500 MG Oral Tablet",
        and a brand gives the branded product. Strengths are tried as they stand, then in
        milligrams.
        """
        converted = tuple(map(in_milligrams, details))
        found = self._product(text, details)
        return found if found or converted == details else self._product(text, converted)

    def _product(self, text: str, details: tuple[str, ...]) -> Hit | None:
        stems = term_keys.stems(term_keys.words(" ".join((text, *details))))
        names, scores = self._similar.find(stems)
        wanted = [self._index.word(term_keys.key(one)) for one in dict.fromkeys(stems)]
        whole = [set(wanted) <= set(self._index.name_words[name].tolist()) for name in names]
        kept = np.array(whole, dtype=bool)
        for concept, score in self._ranked(names[kept], scores[kept], 1):
            return Hit(concept, round(score / 1e6, 4), SIMILAR)
        return None

    def _by_key(self, words: list[str], stems: list[str]) -> Iterator[tuple[Int32Array, str]]:
        index = self._index
        yield index.names_of_key(term_keys.exact_key(words)), "exact"
        yield index.names_of_key(term_keys.folded_key(stems)), "folded"
        yield index.names_of_key(term_keys.joined_key(words)), "joined"
        if self._drugs and (bare := term_keys.bare_stems(stems)):
            yield index.names_of_key(term_keys.folded_key(bare)), "bare"
            yield index.names_of_key(term_keys.bare_key(bare)), "bare"

    def _equal(self, names: Int32Array, most: int) -> list[tuple[int, int]]:
        """`_ranked` of names that are equally good."""
        return self._ranked(names, np.ones(len(names), dtype=np.int32), most) if len(names) else []

    def _ranked(self, names: Int32Array, scores: Int32Array, most: int) -> list[tuple[int, int]]:
        """At most ``most`` (concept, score), each concept once, in order; names come best first."""
        index = self._index
        concepts, preferred = index.concept_of[names], index.preferred[names]
        best: dict[int, tuple[int, int, int, int]] = {}
        last = 0
        for concept, own, score in zip(
            concepts.tolist(), preferred.tolist(), scores.tolist(), strict=True
        ):
            if len(best) >= most and score < last:
                break
            rank = self._type_rank(concept)
            if rank is not None:
                order = (-score, rank, -own, concept)
                best[concept] = min(order, best.get(concept, order))
                last = score
        return [(order[3], -order[0]) for order in sorted(best.values())[:most]]

    def _type_rank(self, concept: int) -> int | None:
        if self._all:
            return 0
        ranks = [
            self._rank_of[one]
            for one in self._index.concept_types[concept].tolist()
            if one in self._rank_of
        ]
        return min(ranks, default=None)
