"""Entities that a user wants only in some sections or with some status, or never.

Apart from the stage, which drops nothing: only who writes ``context.filters`` loses entities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from actors.config.context import EntityFilter
from actors.context.status import status_names
from actors.spans import Annotations, Entity


def apply_filters(annotations: Annotations, filters: Sequence[EntityFilter]) -> Annotations:
    """``annotations`` without the entities that a filter drops, and without their relations.

    Run it after sections and status are known. An entity outside any section is dropped by ``only``
    and kept by ``never``; an ungrounded one is kept, since nobody knows where it stands, and so is
    one without a status, by filters of status.
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


def _kept(entity: Entity, filters: Sequence[EntityFilter]) -> bool:
    if entity.start is None:
        return True
    names = {entity.label, entity.label.partition(".")[0]}
    status = None if entity.assertion is None else status_names(entity.assertion) or {"present"}
    for one in filters:
        if names.isdisjoint(one.labels):
            continue
        if one.only and entity.section not in one.only:
            return False
        if entity.section in one.never:
            return False
        if status is None:
            continue
        if one.only_status and not status <= set(one.only_status):
            return False
        if not status.isdisjoint(one.never_status):
            return False
    return True
