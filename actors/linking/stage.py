"""The stage that links entities to codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from actors.config.linking import LinkedVocabulary, Linking, NameEmbedding, Pooling
from actors.config.onnx import FolderWeights
from actors.linking.index import Manifest, VocabularyIndex, read_manifest
from actors.linking.lookup import COMPOSITE, Embedded, Hit, Lookup
from actors.linking.lookup_terms import LookupTerms
from actors.linking.similar import Similar
from actors.linking.vectors import MILLION, Encoder
from actors.linking.vocabulary import VocabularyError
from actors.spans import Annotations, Code, Entity, Relation

ABBREVIATION, RELATIONS = "abbreviation", "relations"
STRENGTH_AND_FORM = frozenset({"strength", "form"})
"""Types of the relations whose tails choose the clinical drug."""
MOST_REMEMBERED = 1 << 16
"""Size of the cache of codes per vocabulary: a lake repeats the same mentions."""


LoadEncoder = Callable[[FolderWeights, Pooling], Encoder]


class LinkingStage:
    """Gives entities their codes; a pure function of the text's annotations.

    Construction maps the indexes into memory and reads no table, so every process may have one; it
    is pickled as its configuration. ``load_encoder`` loads the embedding models that the
    configuration names. Raises VocabularyError where an index cannot be used.
    """

    def __init__(self, config: Linking, load_encoder: LoadEncoder | None = None) -> None:
        self._config = config
        self._load_encoder = load_encoder
        self._links = tuple(_Links(config, one, load_encoder) for one in config.vocabularies)

    def __reduce__(self) -> tuple[type[LinkingStage], tuple[Linking, LoadEncoder | None]]:
        return LinkingStage, (self._config, self._load_encoder)

    def refine(self, text: str, annotations: Annotations) -> Annotations:
        """The annotations with the codes of every entity."""
        details = _details(annotations)
        mentions = LookupTerms(text, annotations)
        entities = tuple(
            self._linked(entity, details.get(at, ()), mentions)
            for at, entity in enumerate(annotations.entities)
        )
        return replace(annotations, entities=entities)

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """Name, version and size of every vocabulary, in the order of the configuration."""
        return tuple(links.manifest for links in self._links)

    def _linked(self, entity: Entity, details: tuple[str, ...], mentions: LookupTerms) -> Entity:
        codes: list[Code] = []
        for links in self._links:
            if entity.label in links.labels:
                long = mentions.written_out(entity)
                aside = mentions.aside(entity) if long is None else None
                codes += links.codes(entity.label, entity.text, long, aside, details)
        return replace(entity, codes=tuple(codes)) if codes else entity


class _Links:
    """One vocabulary with its lookups, one for each way in which labels restrict it."""

    def __init__(
        self, config: Linking, vocabulary: LinkedVocabulary, load_encoder: LoadEncoder | None
    ) -> None:
        folder = Path(vocabulary.index)
        self.manifest = read_manifest(folder)
        self.labels = frozenset(vocabulary.labels)
        self._index = VocabularyIndex(folder)
        self._config = config
        similar = Similar(self._index)
        embedded = None
        if vocabulary.embedding is not None:
            embedded = _embedded(self._index, folder, vocabulary.embedding, load_encoder)
        ways = {
            label: (types, label in vocabulary.drugs) for label, types in vocabulary.labels.items()
        }
        lookups = {
            way: Lookup(self._index, similar, types=way[0], drugs=way[1], embedded=embedded)
            for way in dict.fromkeys(ways.values())
        }
        self._lookups = {label: lookups[way] for label, way in ways.items()}
        self.codes = lru_cache(maxsize=MOST_REMEMBERED)(self._codes)

    def _codes(
        self,
        label: str,
        text: str,
        long: str | None,
        aside: str | None,
        details: tuple[str, ...],
    ) -> tuple[Code, ...]:
        lookup = self._lookups[label]
        most, threshold = self._config.top_k, self._config.threshold
        hits: tuple[Hit, ...] = ()
        if long is not None:
            # What the document defines goes before what others mean by the same letters.
            hits = _by(ABBREVIATION, lookup.find(long, most, threshold))
        if not hits and aside is not None and not lookup.knows(text):
            hits = _by(ABBREVIATION, lookup.find(aside, most, threshold))
        if not hits:
            hits = lookup.find(text, most, threshold)
        if details and (product := lookup.product(long or text, details)):
            rest = tuple(hit for hit in hits if hit.concept != product.concept)
            hits = (*_by(RELATIONS, (product,)), *rest)[:most]
        return tuple(self._code(hit) for hit in hits)

    def _code(self, hit: Hit) -> Code:
        index = self._index
        parents: tuple[str, ...] = ()
        if self._config.parents:
            parents = tuple(index.code(one) for one in index.parents[hit.concept].tolist())
        code, term = index.code(hit.concept), index.term(hit.concept)
        return Code(self.manifest.name, code, term, hit.score, hit.how, parents)


def _by(how: str, hits: tuple[Hit, ...]) -> tuple[Hit, ...]:
    """The same hits, found in this way; composites keep theirs, which explains several codes."""
    return tuple(hit if hit.how == COMPOSITE else Hit(hit.concept, hit.score, how) for hit in hits)


def _embedded(
    index: VocabularyIndex,
    folder: Path,
    embedding: NameEmbedding,
    load_encoder: LoadEncoder | None,
) -> Embedded:
    """The vectors of an index with their model.

    Raises VocabularyError where the index has none, or those of another model.
    """
    vectors, made = index.vectors(), index.manifest.embedding
    if load_encoder is None or made is None:
        raise TypeError("a vocabulary with an embedding needs load_encoder")
    encoder = load_encoder(embedding.weights, made.pooling)
    if encoder.digest != made.model:
        raise VocabularyError(
            f"{folder}: the vectors of its names are of another model (digest {made.model[:16]}) "
            f"than {embedding.weights.model} ({encoder.digest[:16]}); build the index with "
            "--embedding and this model"
        )
    least = round(embedding.threshold * MILLION)
    return Embedded(vectors, lambda text: encoder.encode([text])[0], least)


def _details(annotations: Annotations) -> dict[int, tuple[str, ...]]:
    """Strengths and forms by the ordinal of their drug, in the order of the relations."""
    found: dict[int, tuple[str, ...]] = {}
    for one in annotations.relations:
        if one.type in STRENGTH_AND_FORM:
            found[one.head] = (*found.get(one.head, ()), _tail(annotations, one))
    return found


def _tail(annotations: Annotations, relation: Relation) -> str:
    return annotations.entities[relation.tail].text
