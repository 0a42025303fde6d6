"""What follows the models: their entities merged, then refined by the stages that hold no model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from threading import Lock
from typing import Any

from actors.config.context import Context
from actors.config.linking import Linking
from actors.config.merge import Merge
from actors.config.relations import Relations
from actors.context import ContextStage
from actors.context.filters import apply_filters
from actors.merge import merge
from actors.spans import Annotations, Extraction, Refine
from pipelines.stages import Stage

_KEPT = 8


def annotate(
    text: str | None, extractions: Sequence[Extraction], policy: Merge, refine: Refine
) -> Annotations:
    """One list of entities from those of all models, refined where there is a text."""
    entities = merge([one.entities for one in extractions], policy.overlaps, policy.priority)
    annotations = Annotations(entities=tuple(entities))
    return annotations if text is None else refine(text, annotations)


def refiner(stages: Sequence[Stage]) -> Refine:
    """The stages without actors, one after the other; made once a process for equal stages.

    The result may be shared by threads. Raises ConfigError or VocabularyError where a stage cannot
    be made.
    """
    content = [stage.as_dict() for stage in stages if stage.pool is None]
    return _refiner(json.dumps(content, sort_keys=True))


@lru_cache(maxsize=_KEPT)
def _refiner(content: str) -> Refine:
    steps = [_step(Stage.from_dict(values).config) for values in json.loads(content)]

    def refine(text: str, annotations: Annotations) -> Annotations:
        for step in steps:
            annotations = step(text, annotations)
        return annotations

    return refine


def _step(config: Any) -> Refine:
    if isinstance(config, Context):
        return _with_filters(config)
    if isinstance(config, Relations):
        from actors.relations import RelationStage

        return RelationStage(config).refine
    if isinstance(config, Linking):
        return _one_at_a_time(config)
    raise TypeError(f"{type(config).__name__} refines nothing")


def _with_filters(config: Context) -> Refine:
    stage = ContextStage(config)

    def refine(text: str, annotations: Annotations) -> Annotations:
        return apply_filters(stage.refine(text, annotations), config.filters)

    return refine


def _one_at_a_time(config: Linking) -> Refine:
    from actors.linking import LinkingStage  # its libraries are needed by who links alone

    stage, lock = LinkingStage(config), Lock()

    def refine(text: str, annotations: Annotations) -> Annotations:
        with lock:
            return stage.refine(text, annotations)

    return refine
