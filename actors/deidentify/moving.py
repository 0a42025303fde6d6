"""Annotations of the old text as annotations of the new one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from actors.deidentify.offset_map import OffsetMap
from actors.spans import Annotations, Assertion, Cue, Entity, Grounding, Section

Clean = Callable[[str], str]
"""A text without identifiers that stands beside the document, such as a normalised value."""


def move_annotations(
    annotations: Annotations,
    new_text: str,
    offsets: OffsetMap,
    clean: Clean,
    is_identifier: Callable[[Entity], bool],
) -> Annotations:
    """The annotations with their places and words in the new text; none is dropped, so relations
    still refer to them by number.

    A span that shares characters with an edit takes in all of it. An entity that was an identifier
    keeps its label, place and words in the new text, and no attributes or codes; one that is not
    in the text keeps its label alone.
    """

    def entity(old: Entity) -> Entity:
        identifier = is_identifier(old)
        if identifier:
            old = replace(old, attributes={}, codes=())
        attributes = _cleaned(old.attributes, clean)
        if old.start is None or old.end is None:
            # A model's own words for a name need not be any that the text has.
            words = f"[{old.label}]" if identifier else clean(old.text)
            return replace(old, text=words, attributes=attributes)
        start, end = offsets.to_new(old.start, old.end)
        same = new_text[start:end] == old.text
        return replace(
            old,
            text=new_text[start:end],
            start=start,
            end=end,
            grounding=old.grounding if same else Grounding.EXACT,
            attributes=attributes,
            assertion=None if old.assertion is None else _assertion(old.assertion, offsets),
        )

    return Annotations(
        entities=tuple(map(entity, annotations.entities)),
        sections=tuple(_section(section, offsets) for section in annotations.sections),
        relations=tuple(
            replace(relation, attributes=_cleaned(relation.attributes, clean))
            for relation in annotations.relations
        ),
        abbreviations={
            clean(short): clean(long) for short, long in annotations.abbreviations.items()
        },
    )


def _assertion(assertion: Assertion, offsets: OffsetMap) -> Assertion:
    def cue(old: Cue) -> Cue:
        start, end = offsets.to_new(old.start, old.end)
        return replace(old, start=start, end=end)

    return replace(assertion, cues=tuple(map(cue, assertion.cues)))


def _section(section: Section, offsets: OffsetMap) -> Section:
    start, end = offsets.to_new(section.start, section.end)
    heading_end = offsets.to_new(section.start, section.heading_end)[1]
    return replace(section, start=start, end=end, heading_end=heading_end)


def _cleaned(attributes: Mapping[str, str], clean: Clean) -> dict[str, str]:
    return {name: clean(value) for name, value in attributes.items()}
