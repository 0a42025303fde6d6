"""Merge the entities of all models, then refine them by the stages without a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from actors.config.context import Context
from actors.config.linking import Linking, Pooling
from actors.config.merge import Merge
from actors.config.onnx import FolderWeights
from actors.config.relations import Relations
from actors.context import ContextStage
from actors.context.filters import apply_filters
from actors.merge import merge
from actors.pages import OcrResult, find_fields, find_tables, place
from actors.spans import Annotations, Extraction, Refine, Section
from pipelines.stages import Stage

if TYPE_CHECKING:
    from actors.linking.vectors import Encoder

_KEPT = 8


def annotate(
    text: str | None,
    extractions: Sequence[Extraction],
    policy: Merge,
    refine: Refine,
    sections: Sequence[Section] = (),
    reading: OcrResult | None = None,
) -> Annotations:
    """Merge the entities of all models; refine them if the document has a text. ``sections``: those
    that the document's markup states. ``reading``: what was read of its pages, which gives
    entities their boxes."""
    entities = merge([one.entities for one in extractions], policy.overlaps, policy.priority)
    annotations = Annotations(entities=tuple(entities), sections=tuple(sections))
    if text is None:
        return annotations
    if reading is None:
        return refine(text, annotations)
    tables, fields = find_tables(reading), find_fields(reading)
    refined = refine(text, replace(annotations, tables=tables, fields=fields))
    return replace(refined, entities=tuple(place(refined.entities, reading, fields)))


def refiner(stages: Sequence[Stage]) -> Refine:
    """Compose the refining stages; cached per process for equal stages.

    The result is thread-safe. Raises ConfigError or VocabularyError if a stage cannot be created.
    """
    content = [stage.as_dict() for stage in stages if stage.refines]
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
        return _with_lock(config)
    raise TypeError(f"{type(config).__name__} is not a refining stage")


def _with_filters(config: Context) -> Refine:
    model = None
    if config.classifier is not None:
        from actors.assertion import AssertionModel  # imported here: only it needs onnxruntime

        model = AssertionModel(config.classifier)
    stage = ContextStage(config, model)

    def refine(text: str, annotations: Annotations) -> Annotations:
        return apply_filters(stage.refine(text, annotations), config.filters)

    return refine


def _load_encoder(weights: FolderWeights, pooling: Pooling) -> Encoder:
    from actors.onnx.text_embedding import TextEncoder  # imported here: only it needs onnxruntime

    return TextEncoder(weights, pooling)


def _with_lock(config: Linking) -> Refine:
    from actors.linking import LinkingStage  # imported here: only linking needs its libraries

    stage, lock = LinkingStage(config, _load_encoder), Lock()

    def refine(text: str, annotations: Annotations) -> Annotations:
        with lock:
            return stage.refine(text, annotations)

    return refine
