"""Entities that a user wants only in some sections, or never in others.

Apart from the stage, which drops nothing: only who writes ``context.filters`` loses entities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from actors.config.context import SectionFilter
from actors.spans import Annotations, Entity


def apply_filters(annotations: Annotations, filters: Sequence[SectionFilter]) -> Annotations:
    """``annotations`` without the entities that a filter drops, and without their relations.

    Run it after sections are known. An entity outside any section is dropped by ``only`` and kept
    by ``never``; an ungrounded one is kept, since nobody knows where it stands.
    """
    if not filters:
        return annotations
    kept = [i for i, entity in enumerate(annotations.entities) if _kept(entity, filters)]
    place = {old: new for new, old in enumerate(kept)}
    return replace(
        annotations,
        entities=tuple(annotations.entities[i] for i in kept),
        relations=tuple(
            replace(relation, head=place[relation.head], tail=place[relation.tail])
            for relation in annotations.relations
            if relation.head in place and relation.tail in place
        ),
    )


def _kept(entity: Entity, filters: Sequence[SectionFilter]) -> bool:
    if entity.start is None:
        return True
    for one in filters:
        if entity.label in one.labels:
            if one.only and entity.section not in one.only:
                return False
            if entity.section in one.never:
                return False
    return True
