"""Load a pipeline file: its models, and absolute paths."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from actors.config import ConfigError, ModelConfig, OnnxModel, load_model
from actors.config.context import Context, EntityFilter
from actors.config.linking import resolve_linking
from actors.config.load import read_yaml, resolve, validate
from actors.config.ocr import load_ocr
from actors.guideline import Guideline
from pipelines.config.pipeline import Pipeline
from pipelines.config.serve import Serve
from pipelines.deidentification import resolve_deidentification
from pipelines.stages import UNPOOLED, Stage, second_looks
from pipelines.storage import refuse_secrets


@dataclass(frozen=True, slots=True)
class LoadedPipeline:
    """A pipeline with absolute paths, and its stages in execution order."""

    path: str
    pipeline: Pipeline
    stages: tuple[Stage, ...]

    @property
    def pooled(self) -> tuple[Stage, ...]:
        """The stages that run in actor pools."""
        return tuple(stage for stage in self.stages if stage.pool is not None)

    @property
    def models(self) -> tuple[Stage, ...]:
        """The stages of models that find entities."""
        return tuple(s for s in self.pooled if not s.reads_pictures and not s.second_look)

    @property
    def sees_pictures(self) -> bool:
        """True if some model is a vision model."""
        return any(stage.sees_pictures for stage in self.models)

    @property
    def burns_pages(self) -> bool:
        """True if de-identified pages are written."""
        return self.pipeline.deidentify is not None and self.pipeline.deidentify.pages

    @property
    def carries_pictures(self) -> bool:
        """True if an unchanged image may keep its results. Not where words in marks are masked or
        pages covered: no table has the places of all words."""
        section = self.pipeline.deidentify
        return section is None or not (section.pages or section.takes_marks)

    @property
    def takes_pictures(self) -> bool:
        """True if documents may be images: there is OCR, or all models are vision models."""
        return any(stage.reads_pictures for stage in self.stages) or all(
            stage.sees_pictures for stage in self.models
        )

    @property
    def extras(self) -> tuple[str, ...]:
        """The extras that its stages need (see ``actors.extras``)."""
        gguf = any(stage.kind == "gguf" for stage in self.stages)
        pages = self.sees_pictures or any(stage.reads_pictures for stage in self.stages)
        deidentify = any(stage.kind == "deidentify" for stage in self.stages)
        traces = self.pipeline.traces is not None
        names = {"gguf": gguf, "pages": pages, "deidentify": deidentify, "otel": traces}
        return tuple(name for name, needed in names.items() if needed)

    def as_json(self) -> str:
        """The pipeline as JSON, as stored in a run's plan and marker."""
        return json.dumps(
            {
                "file": self.path,
                "pipeline": self.pipeline.model_dump(mode="json"),
                "stages": [stage.as_dict() for stage in self.stages],
            }
        )

    @classmethod
    def from_json(cls, content: str) -> LoadedPipeline:
        """The inverse of ``as_json``, for resumed runs."""
        values = json.loads(content)
        return cls(
            path=values["file"],
            pipeline=Pipeline.model_validate(values["pipeline"]),
            stages=tuple(Stage.from_dict(stage) for stage in values["stages"]),
        )


def load_pipeline(path: str | Path) -> LoadedPipeline:
    """Load a pipeline file and its models; raises ConfigError, which names file and key."""
    path = Path(path)
    content = read_yaml(path)
    if "kind" in content and "weights" in content and "steps" not in content:
        raise ConfigError(
            f"{path}: a model file where a pipeline file is expected; name it in `steps` of one"
        )
    pipeline = validate(TypeAdapter(Pipeline), content, path)
    places = pipeline.source.path
    places = (places,) if isinstance(places, str) else places
    if pipeline.source.catalog is not None and pipeline.source.format != "iceberg":
        raise ConfigError(f"{path}: source.catalog needs source.format: iceberg")
    named = pipeline.source.catalog is not None  # names of tables, not paths
    source = tuple(place if named else resolve(place, path) for place in places)
    try:
        for place in source:
            refuse_secrets(place, "source.path")
        refuse_secrets(pipeline.sink.path, "sink.path")
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    steps = tuple(
        step.model_copy(update={"model": resolve(step.model, path)}) for step in pipeline.steps
    )
    ocr = pipeline.ocr
    if ocr is not None:
        ocr = ocr.model_copy(update={"model": resolve(ocr.model, path)})
    pipeline = pipeline.model_copy(
        update={
            "source": pipeline.source.model_copy(update={"path": source}),
            "steps": steps,
            "ocr": ocr,
            "context": pipeline.context and _resolved_context(pipeline.context, path),
            "linking": pipeline.linking and resolve_linking(pipeline.linking, path),
            "deidentify": pipeline.deidentify
            and resolve_deidentification(pipeline.deidentify, path),
            "sink": pipeline.sink.model_copy(update={"path": resolve(pipeline.sink.path, path)}),
            "serve": _resolved(pipeline.serve, path),
        }
    )
    stages = _stages(pipeline)
    names = [stage.name for stage in stages]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{path}: two stages share a name: {', '.join(twice)}")
    loaded = LoadedPipeline(str(path.resolve()), pipeline, stages)
    unknown = sorted(set(pipeline.merge.priority) - {stage.name for stage in loaded.models})
    if unknown:
        raise ConfigError(f"{path}: merge.priority: unknown model {', '.join(unknown)}")
    if pipeline.source.image is not None and not loaded.takes_pictures:
        raise ConfigError(
            f"{path}: source.image needs an `ocr` section, unless every step is a vision model"
        )
    return loaded


def _stages(pipeline: Pipeline) -> tuple[Stage, ...]:
    """The stages of a pipeline file: OCR, one stage per step, those without a model, and those with
    actors again for the second look of de-identification."""
    stages: list[Stage] = []
    if pipeline.ocr is not None:
        reader = load_ocr(pipeline.ocr.model)
        stages.append(Stage(reader.name, reader, pipeline.ocr.pool))
    for step in pipeline.steps:
        model = load_model(step.model)
        stages.append(Stage(model.name, model, step.pool))
    for kind in UNPOOLED:
        config = getattr(pipeline, kind)
        if isinstance(config, Context):
            models = [stage.model for stage in stages if not stage.reads_pictures]
            hints = [hint for model in models for hint in _hints(model)]
            config = config.model_copy(update={"filters": (*config.filters, *hints)})
        if config is not None:
            stages.append(Stage(kind, config, None))
    return (*stages, *second_looks(stages))


def _hints(model: ModelConfig) -> Iterator[EntityFilter]:
    """The sections that a model's guideline states for its labels, as filters of entities."""
    if isinstance(model, OnnxModel) or not isinstance(model.prompt.guideline, Guideline):
        return
    for name, label in model.prompt.guideline.labels.items():
        labels = (model.labels.replace.get(name, name),)
        if label.only_in:
            yield EntityFilter(labels=labels, only=label.only_in)
        if label.never_in:
            yield EntityFilter(labels=labels, never=label.never_in)


def _resolved_context(context: Context, path: Path) -> Context:
    """The same with the path of a classifier's weights absolute."""
    classifier = context.classifier
    if classifier is None:
        return context
    model = resolve(classifier.weights.model, path)
    weights = classifier.weights.model_copy(update={"model": model})
    update = {"classifier": classifier.model_copy(update={"weights": weights})}
    return context.model_copy(update=update)


def _resolved(serve: Serve, path: Path) -> Serve:
    models = tuple(m.model_copy(update={"model": resolve(m.model, path)}) for m in serve.models)
    tokens = None if serve.tokens is None else resolve(serve.tokens, path)
    guidelines = tuple(resolve(file, path) for file in serve.guidelines)
    return serve.model_copy(update={"models": models, "tokens": tokens, "guidelines": guidelines})
