"""The search itself; its rules are in the package's own docstring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from actors.config.prompt import GroundingOptions
from actors.grounding.folding import Folded, fold
from actors.grounding.fuzzy import WordIndex
from actors.spans import Entity, Grounding, Mention
from actors.words import boundaries, is_mark

OCCURRENCE = "occurrence"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a mention is, and how it was found."""

    start: int
    end: int
    grounding: Grounding


def ground(
    mentions: Sequence[Mention],
    text: str,
    options: GroundingOptions | None = None,
    *,
    model: str = "",
    window: tuple[int, int] | None = None,
) -> list[Entity]:
    """The entities of ``mentions`` in ``text``, in the order of the mentions.

    ``window`` keeps the search to ``text[start:end]``; offsets stay those of the whole text.
    ``mark_all`` of the options is for whoever has all windows: see ``mark_further``. Repeats of
    one and the same entity come out once, with the best score.
    """
    options = options or GroundingOptions()
    offset, end = window or (0, len(text))
    search = _Search(text[offset:end], options.fuzzy_threshold)
    entities: dict[object, Entity] = {}
    for mention, place in zip(mentions, _assign(mentions, search), strict=True):
        entity = _entity(mention, text, place, offset, model)
        known = entities.get(key := _identity(entity))
        if known is None or (entity.score or 0) > (known.score or 0):
            entities[key] = entity
    return list(entities.values())


def mark_further(entities: Sequence[Entity], text: str) -> list[Entity]:
    """The entities, each with every further occurrence of its words after it.

    These have the attribute ``occurrence: further`` and their entity's score; words that an entity
    of the same label covers are no occurrence, and nothing is found by likeness.
    """
    search = _Search(text, fuzzy_threshold=1)
    covered: dict[str, _Cover] = {}
    for entity in entities:
        if entity.start is not None and entity.end is not None:
            cover = covered.setdefault(entity.label, _Cover(search.length))
            cover.take(entity.start, entity.end)
    further: list[list[Entity]] = [[] for _ in entities]
    # As in _assign: the longest choose first.
    for i in sorted(range(len(entities)), key=lambda i: (-len(entities[i].text), i)):
        entity = entities[i]
        if entity.start is None:
            continue
        cover = covered[entity.label]
        for place in search.places(entity.text):
            if cover.is_free(place):
                cover.take(place.start, place.end)
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


def _assign(mentions: Sequence[Mention], search: _Search) -> list[_Place | None]:
    """The place of each mention; the longest choose first, so that nested words look elsewhere."""
    placed: list[_Place | None] = [None] * len(mentions)
    covered: dict[str, _Cover] = {}
    taken: dict[tuple[str, str], set[int]] = {}
    for i in sorted(range(len(mentions)), key=lambda i: (-len(mentions[i].text), i)):
        mention = mentions[i]
        places = search.places(mention.text)
        if not places:
            continue
        cover = covered.setdefault(mention.label, _Cover(search.length))
        before = taken.setdefault((mention.label, mention.text), set())
        left = [k for k in range(len(places)) if k not in before]
        if not left:  # as often as the document has it, and once more: all begin anew
            before.clear()
            left = list(range(len(places)))
        at = next((k for k in left if cover.is_free(places[k])), left[0])
        before.add(at)
        cover.take(places[at].start, places[at].end)
        placed[i] = places[at]
    return placed


class _Cover:
    """The characters that entities of one label cover."""

    def __init__(self, length: int) -> None:
        self._flags = bytearray(length)

    def is_free(self, place: _Place) -> bool:
        return self._flags.find(1, place.start, place.end) < 0

    def take(self, start: int, end: int) -> None:
        self._flags[start:end] = b"\1" * (end - start)


class _Search:
    """One text, searched for many mentions; what a search needs is built when first needed."""

    def __init__(self, text: str, fuzzy_threshold: float) -> None:
        self.length = len(text)
        self._text = text
        self._threshold = fuzzy_threshold
        self._boundaries = boundaries(text)
        self._known: dict[str, list[_Place]] = {}

    @cached_property
    def _folded(self) -> Folded:
        return Folded(self._text)

    @cached_property
    def _words(self) -> WordIndex:
        return WordIndex(self._folded.text)

    def places(self, mention: str) -> list[_Place]:
        """Every place of a mention: exact ones first, each kind in the order of the text."""
        if mention not in self._known:
            self._known[mention] = self._find(mention.strip())
        return self._known[mention]

    def _find(self, mention: str) -> list[_Place]:
        if not mention:
            return []
        exact = list(self._exact(mention))
        found = [place for place in exact if self._is_whole(place)]
        folded_mention = fold(mention)
        if folded_mention:
            known = {(place.start, place.end) for place in found}
            found += [p for p in self._normalized(folded_mention) if (p.start, p.end) not in known]
        if not found:
            found = [place for place in exact if self._may_be_inside_a_word(place)]
        if not found and folded_mention and self._threshold < 1:
            found = list(self._fuzzy(folded_mention))
        return found

    def _exact(self, mention: str) -> Iterator[_Place]:
        at = self._text.find(mention)
        while at >= 0:
            yield _Place(at, at + len(mention), Grounding.EXACT)
            at = self._text.find(mention, at + 1)

    def _normalized(self, folded_mention: str) -> Iterator[_Place]:
        for span in self._folded.find(folded_mention):
            if self._is_whole(place := _Place(*span, Grounding.NORMALIZED)):
                yield place

    def _fuzzy(self, folded_mention: str) -> Iterator[_Place]:
        for start, end in self._words.similar(folded_mention, self._threshold):
            span = self._folded.stored(start, end)
            if span is not None and self._is_whole(place := _Place(*span, Grounding.FUZZY)):
                yield place

    def _is_whole(self, place: _Place) -> bool:
        return bool(self._boundaries[place.start] and self._boundaries[place.end])

    def _may_be_inside_a_word(self, place: _Place) -> bool:
        return self._may_cut(place.start) and self._may_cut(place.end)

    def _may_cut(self, at: int) -> bool:
        """Whether a match may end here: not between a letter and its mark, nor inside a number."""
        if self._boundaries[at]:
            return True
        before, after = self._text[at - 1], self._text[at]
        return not (before.isdecimal() or after.isdecimal() or is_mark(after))


def _entity(mention: Mention, text: str, place: _Place | None, offset: int, model: str) -> Entity:
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
