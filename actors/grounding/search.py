"""The grounding search; the package docstring has its rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from actors.config.prompt import GroundingOptions
from actors.graphemes import is_break
from actors.grounding.assign import CandidateSpan, Cover, assign
from actors.grounding.folding import Breaks, Folded, fold, is_broken
from actors.grounding.fuzzy import WordIndex
from actors.spans import Entity, Grounding, Mention
from actors.words import boundaries

OCCURRENCE = "occurrence"


def ground(
    mentions: Sequence[Mention],
    text: str,
    options: GroundingOptions | None = None,
    *,
    model: str = "",
    window: tuple[int, int] | None = None,
    in_order: bool = True,
) -> list[Entity]:
    """Ground ``mentions`` in ``text`` and return the entities in the order of the mentions.

    ``in_order``: all mentions are in the order of the text; otherwise only those of one label are.
    ``window`` restricts the search to ``text[start:end]``; offsets still refer to the whole text.
    ``mark_all`` in the options needs all windows and is applied by ``mark_further``. Identical
    entities are returned once, with the best score.
    """
    options = options or GroundingOptions()
    offset, end = window or (0, len(text))
    search = _Search(text[offset:end], options.fuzzy_threshold)
    entities: dict[object, Entity] = {}
    places = [search.places(mention.text) for mention in mentions]
    assigned = assign(mentions, places, search.length, in_order)
    for mention, place in zip(mentions, assigned, strict=True):
        entity = _entity(mention, text, place, offset, model)
        known = entities.get(key := _identity(entity))
        if known is None or (entity.score or 0) > (known.score or 0):
            entities[key] = entity
    return list(entities.values())


def mark_further(entities: Sequence[Entity], text: str) -> list[Entity]:
    """Return the entities, each followed by every further occurrence of its text.

    Further occurrences have the attribute ``occurrence: further`` and the score of their entity.
    Text covered by an entity of the same label is not an occurrence, and nothing is matched
    fuzzily.
    """
    search = _Search(text, fuzzy_threshold=1)
    covered: dict[str, Cover] = {}
    for entity in entities:
        if entity.start is not None and entity.end is not None:
            cover = covered.setdefault(entity.label, Cover(search.length))
            cover.mark(entity.start, entity.end)
    further: list[list[Entity]] = [[] for _ in entities]
    # The longest first, so that nested mentions look elsewhere.
    for i in sorted(range(len(entities)), key=lambda i: (-len(entities[i].text), i)):
        entity = entities[i]
        if entity.start is None:
            continue
        cover = covered[entity.label]
        for place in search.places(entity.text):
            if cover.is_free(place):
                cover.mark(place.start, place.end)
                marked = replace(
                    entity,
                    text=text[place.start : place.end],
                    start=place.start,
                    end=place.end,
                    grounding=place.grounding,
                    attributes={**entity.attributes, OCCURRENCE: "further"},
                )
                further[i].append(marked)
    return [one for entity, more in zip(entities, further, strict=True) for one in (entity, *more)]


class _Search:
    """One text searched for many mentions; indexes are built on first use."""

    def __init__(self, text: str, fuzzy_threshold: float) -> None:
        self.length = len(text)
        self._text = text
        self._threshold = fuzzy_threshold
        self._boundaries = boundaries(text)
        self._cache: dict[str, list[CandidateSpan]] = {}

    @cached_property
    def _folded(self) -> Folded:
        return Folded(self._text)

    @cached_property
    def _dehyphenated(self) -> list[Folded]:
        """The text with words joined that a hyphen breaks at a line end."""
        if not is_broken(self._text):
            return []
        return [Folded(self._text, breaks) for breaks in (Breaks.JOINED, Breaks.HYPHENATED)]

    @cached_property
    def _words(self) -> WordIndex:
        return WordIndex(self._folded.text)

    def places(self, mention: str) -> list[CandidateSpan]:
        """Return every place of a mention: exact ones first, each kind in text order."""
        if mention not in self._cache:
            self._cache[mention] = self._find(mention.strip())
        return self._cache[mention]

    def _find(self, mention: str) -> list[CandidateSpan]:
        if not mention:
            return []
        exact = list(self._exact(mention))
        found = [place for place in exact if self._is_whole(place)]
        folded_mention = fold(mention)
        if folded_mention:
            known = {(place.start, place.end) for place in found}
            others = sorted(set(self._normalized(folded_mention)), key=lambda place: place.start)
            found += [place for place in others if (place.start, place.end) not in known]
        if not found:
            found = [place for place in exact if self._may_be_inside_word(place)]
        if not found and folded_mention and self._threshold < 1:
            found = list(self._fuzzy(folded_mention))
        return found

    def _exact(self, mention: str) -> Iterator[CandidateSpan]:
        at = self._text.find(mention)
        while at >= 0:
            yield CandidateSpan(at, at + len(mention), Grounding.EXACT)
            at = self._text.find(mention, at + 1)

    def _normalized(self, folded_mention: str) -> Iterator[CandidateSpan]:
        for folded in (self._folded, *self._dehyphenated):
            for span in folded.find(folded_mention):
                if self._is_whole(place := CandidateSpan(*span, Grounding.NORMALIZED)):
                    yield place

    def _fuzzy(self, folded_mention: str) -> Iterator[CandidateSpan]:
        for start, end in self._words.similar(folded_mention, self._threshold):
            span = self._folded.stored(start, end)
            if span is not None and self._is_whole(place := CandidateSpan(*span, Grounding.FUZZY)):
                yield place

    def _is_whole(self, place: CandidateSpan) -> bool:
        return bool(self._boundaries[place.start] and self._boundaries[place.end])

    def _may_be_inside_word(self, place: CandidateSpan) -> bool:
        return self._may_cut(place.start) and self._may_cut(place.end)

    def _may_cut(self, at: int) -> bool:
        """Return True if a match may end here: not inside a character or a number."""
        if self._boundaries[at]:
            return True
        before, after = self._text[at - 1], self._text[at]
        return not (before.isdecimal() or after.isdecimal()) and is_break(self._text, at)


def _entity(
    mention: Mention, text: str, place: CandidateSpan | None, offset: int, model: str
) -> Entity:
    start = end = None
    words, grounding = mention.text, Grounding.UNGROUNDED
    if place is not None:
        start, end = place.start + offset, place.end + offset
        words, grounding = text[start:end], place.grounding
    return Entity(
        label=mention.label,
        text=words,
        start=start,
        end=end,
        score=mention.score,
        grounding=grounding,
        attributes=dict(mention.attributes),
        model=model,
    )


def _identity(entity: Entity) -> tuple[object, ...]:
    where = entity.text.casefold() if entity.start is None else (entity.start, entity.end)
    return (entity.label, where, entity.attributes.get("path"))
