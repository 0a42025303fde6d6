"""The catalogue: the names a request may use, i.e. each model and the whole pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from actors.config import ConfigError, load_model
from actors.config.load import load_guideline
from actors.config.merge import Merge
from actors.guideline import Guideline
from pipelines.config import LoadedPipeline, Serve
from pipelines.config.traces import Traces
from pipelines.stages import Stage
from pipelines.storage import Storage


@dataclass(frozen=True, slots=True)
class Target:
    """A model or pipeline that a request can name: its models and how their entities merge."""

    name: str
    models: tuple[str, ...]
    merge: Merge
    pipeline: bool = False
    refining: tuple[Stage, ...] = ()
    """The refining stages after the merge; none for a single model."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All targets, the models behind them, and the replicas of each model.

    ``default``: the target of a request without a name, which is the pipeline. ``models``: the
    entity-finding stages by name. ``reader``: the OCR stage, if any. ``guidelines``: those that a
    request may name. ``storage``: options for loading weights.
    """

    default: str
    targets: Mapping[str, Target]
    models: Mapping[str, Stage]
    serve: Serve
    reader: Stage | None = None
    guidelines: Mapping[str, Guideline] = field(default_factory=dict)
    storage: Storage = field(default_factory=Storage)
    traces: Traces | None = None

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages that have replicas."""
        return (*self.models.values(), *(() if self.reader is None else (self.reader,)))

    def takes_pictures(self, target: Target) -> bool:
        """True if documents may be images: OCR reads them, or all models are vision models."""
        return self.reader is not None or all(
            self.models[model].sees_pictures for model in target.models
        )


def catalogue_of(loaded: LoadedPipeline) -> Catalogue:
    """The catalogue of a pipeline file; raises ConfigError for duplicate names."""
    pipeline, serve = loaded.pipeline, loaded.pipeline.serve
    more = (Stage(m.name, m, step.pool) for step in serve.models for m in [load_model(step.model)])
    models: dict[str, Stage] = {}
    for stage in (*loaded.models, *more):
        if stage.name in models:
            raise ConfigError(f"{loaded.path}: serve.models: duplicate model {stage.name}")
        models[stage.name] = _replicated(stage, serve)
    reader = next((stage for stage in loaded.stages if stage.reads_pictures), None)
    known = {*models, *(() if reader is None else (reader.name,))}
    unknown = sorted(set(serve.pools) - known)
    if unknown:
        raise ConfigError(f"{loaded.path}: serve.pools: unknown model {', '.join(unknown)}")
    if pipeline.name in models:
        raise ConfigError(
            f"{loaded.path}: name: {pipeline.name} is also the name of a model; requests name "
            "either, so the names must differ"
        )
    targets = {name: Target(name, (name,), Merge()) for name in models}
    whole = Target(
        pipeline.name,
        tuple(stage.name for stage in loaded.models),
        pipeline.merge,
        pipeline=True,
        refining=tuple(stage for stage in loaded.stages if stage.pool is None),
    )
    guidelines: dict[str, Guideline] = {}
    for file in serve.guidelines:
        guideline = load_guideline(file)
        if guideline.name in guidelines:
            raise ConfigError(f"{file}: serve.guidelines: duplicate guideline {guideline.name}")
        guidelines[guideline.name] = guideline
    return Catalogue(
        pipeline.name,
        {whole.name: whole} | targets,
        models,
        serve,
        None if reader is None else _replicated(reader, serve),
        guidelines,
        pipeline.storage,
        pipeline.traces,
    )


def _replicated(stage: Stage, serve: Serve) -> Stage:
    """The stage with its pool from serve.pools, if it has one there."""
    return replace(stage, pool=serve.pools.get(stage.name, stage.pool))
