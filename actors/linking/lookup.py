"""The concepts of a name in one vocabulary, best first.

Keys are tried from the strictest on, and the first that finds something answers; then the keys of
the names that a mention combines; then similar names are searched, and last, with an embedding
model, those with the nearest vectors. Of equally good concepts the one comes first that: has a type
that the configuration lists earlier; has the name as its preferred one; has no number in its
preferred name; has fewer words in it; has the lower code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import itemgetter

import numpy as np

from actors.arrays import BoolArray, Float32Array, Int32Array
from actors.linking import term_keys
from actors.linking.composite import is_several, readings
from actors.linking.index import VocabularyIndex
from actors.linking.similar import Similar
from actors.linking.strengths import in_milligrams
from actors.linking.vectors import MILLION, NameVectors

EXACT, FOLDED, SIMILAR = "exact", "folded", "similar"
COMPOSITE, EMBEDDING = "composite", "embedding"
_SCORES = {"exact": 1.0, "folded": 0.97, "joined": 0.95, "bare": 0.9, COMPOSITE: 0.9}
MOST_SIMILAR = 0.89
"""The score of a similar name whose words all match: below that of any key."""

MOST_EQUAL = 64
"""Concepts of one name that are compared by their preferred names; more are in order of codes."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A concept found, by its number in the index; ``score`` is in [0, 1]."""

    concept: int
    score: float
    how: str


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vectors of an index's names, and the model that makes those of mentions.

    ``least``: the smallest cosine that counts, in millionths.
    """

    vectors: NameVectors
    encode: Callable[[str], Float32Array]
    least: int


class Lookup:
    """Looks names up in an index.

    ``types``: only concepts with one of these; none: all. ``drugs``: salts and forms may differ.
    ``embedded``: searched where nothing else finds a name.
    """

    def __init__(
        self,
        index: VocabularyIndex,
        similar: Similar,
        *,
        types: tuple[str, ...] = (),
        drugs: bool = False,
        embedded: Embedded | None = None,
    ) -> None:
        self._index = index
        self._similar = similar
        self._drugs = drugs
        self._rank_of = {
            index.types.index(name): at for at, name in enumerate(types) if name in index.types
        }
        self._all = not types
        self._embedded = embedded

    def find(self, text: str, most: int, threshold: float) -> tuple[Hit, ...]:
        """At most ``most`` concepts for a name, none below ``threshold``; best first.

        A mention that combines several names has one for each, even if that is more than ``most``.
        """
        words = term_keys.words(text)
        if not words:
            return ()
        stems = term_keys.stems(words)
        hits = self._by_any_key(words, stems, most, threshold)
        if len(hits) >= most:
            return tuple(hits)
        stems = self._similar.stems(words)
        if not hits and (hits := self._joined(text, stems, threshold)):
            most = max(most, len(hits))
        if not hits:
            similar = self._similar_concepts(stems, most, threshold)
            return similar or self._nearest(text, most)
        if len(hits) < most:
            known = {hit.concept for hit in hits}
            more = self._similar_concepts(stems, most + len(hits), threshold)
            hits += [hit for hit in more if hit.concept not in known]
        return tuple(hits[:most])

    def _by_any_key(
        self, words: list[str], stems: list[str], most: int, threshold: float
    ) -> list[Hit]:
        for names, how in self._by_key(words, stems):
            if _SCORES[how] >= threshold and (found := self._equal(names, most)):
                label = EXACT if how == "exact" else FOLDED
                concepts = dict.fromkeys((*self._of_kinds(names), *(one for one, _ in found)))
                return [Hit(concept, _SCORES[how], label) for concept in concepts][:most]
        return []

    def _of_kinds(self, names: Int32Array) -> list[int]:
        """The concept of which the concepts of these names are numbered kinds.

        "FRDA" is a name of Friedreich Ataxia 1 and of Friedreich Ataxia 2, and means neither.
        Empty where one has the name as its preferred one, or where no concept has the name without
        the numbers.
        """
        index = self._index
        if not 2 <= len(names) <= MOST_EQUAL or index.preferred[names].any():
            return []
        concepts = np.unique(index.concept_of[names])
        kinds = [
            frozenset(map(index.spelling, index.name_words[name].tolist()))
            for name in index.preferred_names(concepts).tolist()
        ]
        shared = {frozenset(word for word in kind if not word.isdigit()) for kind in kinds}
        if len(kinds) < 2 or len(shared) > 1 or shared & {frozenset(), *kinds}:
            return []
        above = index.names_of_key(term_keys.folded_key(list(*shared)))
        return [concept for concept, _ in self._equal(above, 1)]

    def _joined(self, text: str, stems: list[str], threshold: float) -> list[Hit]:
        """The best concept of each name that a mention combines, if keys find all of them.

        The concept most similar to the whole mention comes first if it is one of them, or has a
        name with all words of the mention: "breast and ovarian cancer" may also mean a syndrome,
        unlike "breast or ovarian cancer".
        """
        score = _SCORES[COMPOSITE]
        if score < threshold:
            return []
        concepts = next(filter(None, map(self._all_by_key, readings(text))), None)
        if concepts is None:
            return []
        whole: list[Hit] = []
        for hit in self._similar_concepts(stems, 1, threshold):
            if hit.concept in concepts:
                concepts = (hit.concept, *(one for one in concepts if one != hit.concept))
            elif not is_several(text) and self._has_all(hit.concept, stems):
                whole, score = [hit], hit.score
        return [*whole, *(Hit(concept, score, COMPOSITE) for concept in concepts)]

    def _all_by_key(self, names: tuple[str, ...]) -> tuple[int, ...]:
        """The best concept of each name; empty unless keys find all of them."""
        found: dict[int, None] = {}
        for name in names:
            words = term_keys.words(name)
            hits = self._by_any_key(words, term_keys.stems(words), 1, 0) if words else []
            if not hits:
                return ()
            found[hits[0].concept] = None
        return tuple(found)

    def _has_all(self, concept: int, stems: list[str]) -> bool:
        """True if one similar name of this concept has a word for each of these stems."""
        names, _ = self._similar.find(stems)
        own = names[self._index.concept_of[names] == concept].tolist()
        return any(self._similar.has_all(name, stems) for name in own)

    def _whole(self, names: Int32Array, stems: list[str]) -> BoolArray:
        """Which of some names have all of these stems."""
        wanted = {self._index.word(term_keys.key(one)) for one in stems}
        words = self._index.name_words
        return np.array([wanted <= set(words[name].tolist()) for name in names], dtype=bool)

    def _nearest(self, text: str, most: int) -> tuple[Hit, ...]:
        """The concepts whose names have the vectors nearest to that of a mention."""
        if self._embedded is None:
            return ()
        names, cosines = self._embedded.vectors.nearest(
            self._embedded.encode(text), self._embedded.least, self._names_of_types
        )
        found = self._ranked(names, cosines, most) if len(names) else []
        return tuple(
            Hit(concept, round(cosine / MILLION * MOST_SIMILAR, 4), EMBEDDING)
            for concept, cosine in found
        )

    @cached_property
    def _names_of_types(self) -> Int32Array | None:
        """The names of the concepts that this lookup may find; None: all."""
        if self._all:
            return None
        types = self._index.concept_types
        wanted = np.zeros(len(self._index.types) + 1, dtype=bool)
        wanted[list(self._rank_of)] = True
        owners = np.repeat(np.arange(len(types.starts) - 1), np.diff(types.starts))
        concepts = np.zeros(len(types.starts) - 1, dtype=bool)
        first, last = types.starts[0], types.starts[-1]
        concepts[owners[wanted[types.values[first:last]]]] = True
        return np.flatnonzero(concepts[self._index.concept_of]).astype(np.int32)

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
        kept = self._whole(names, stems)
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
        ordered: list[tuple[int, int]] = []
        first = sorted(best.values())[: most + MOST_EQUAL]
        for (score, *_), equals in groupby(first, key=itemgetter(0, 1, 2)):
            if len(ordered) >= most:
                break
            same = [concept for *_, concept in equals]
            if 1 < len(same) <= MOST_EQUAL:
                same.sort(key=self._particulars)
            ordered += [(concept, -score) for concept in same]
        return ordered[:most]

    def _particulars(self, concept: int) -> tuple[bool, int, int]:
        """Sort key that puts general concepts first: no number in the preferred name, few words."""
        words = term_keys.stems(term_keys.words(self._index.term(concept)))
        return any(map(str.isdigit, words)), len(words), concept

    def _type_rank(self, concept: int) -> int | None:
        if self._all:
            return 0
        ranks = [
            self._rank_of[one]
            for one in self._index.concept_types[concept].tolist()
            if one in self._rank_of
        ]
        return min(ranks, default=None)
