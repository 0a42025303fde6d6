"""What can be asked for by name: each model alone, and the whole pipeline with its merge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from actors.config import ConfigError, load_model
from actors.config.load import load_guideline
from actors.config.merge import Merge
from actors.guideline import Guideline
from pipelines.config import LoadedPipeline, Serve
from pipelines.stages import Stage
from pipelines.storage import Storage


@dataclass(frozen=True, slots=True)
class Target:
    """A name that a request may give: the models it stands for, and how they become one list."""

    name: str
    models: tuple[str, ...]
    merge: Merge
    pipeline: bool = False
    refining: tuple[Stage, ...] = ()
    """The stages without a model that follow the merge; a model alone has none."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All names, the models behind them, and the replicas of each model.

    ``default`` is what a request without a name gets: the pipeline. ``models``: the stages that
    find entities, by name. ``reader``: the stage that reads pictures, where the pipeline file has
    it. ``guidelines`` may be named, too. ``storage`` is for whoever loads weights.
    """

    default: str
    targets: Mapping[str, Target]
    models: Mapping[str, Stage]
    serve: Serve
    reader: Stage | None = None
    guidelines: Mapping[str, Guideline] = field(default_factory=dict)
    storage: Storage = field(default_factory=Storage)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Every stage with replicas."""
        return (*self.models.values(), *(() if self.reader is None else (self.reader,)))

    def takes_pictures(self, target: Target) -> bool:
        """Whether a document may be a picture: one that is read first, or that all models see."""
        return self.reader is not None or all(
            self.models[model].sees_pictures for model in target.models
        )


def catalogue_of(loaded: LoadedPipeline) -> Catalogue:
    """The catalogue of a pipeline file; raises ConfigError where two names are the same."""
    pipeline, serve = loaded.pipeline, loaded.pipeline.serve
    more = (Stage(m.name, m, step.pool) for step in serve.models for m in [load_model(step.model)])
    models: dict[str, Stage] = {}
    for stage in (*loaded.models, *more):
        if stage.name in models:
            raise ConfigError(f"{loaded.path}: serve.models: {stage.name} is there twice")
        models[stage.name] = _replicated(stage, serve)
    reader = next((stage for stage in loaded.stages if stage.reads_pictures), None)
    known = {*models, *(() if reader is None else (reader.name,))}
    unknown = sorted(set(serve.pools) - known)
    if unknown:
        raise ConfigError(f"{loaded.path}: serve.pools: no model is named {', '.join(unknown)}")
    if pipeline.name in models:
        raise ConfigError(
            f"{loaded.path}: name: {pipeline.name} is a model's name too; online a request names "
            "either, so they must differ"
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
            raise ConfigError(f"{file}: serve.guidelines: {guideline.name} is there twice")
        guidelines[guideline.name] = guideline
    return Catalogue(
        pipeline.name,
        {whole.name: whole} | targets,
        models,
        serve,
        None if reader is None else _replicated(reader, serve),
        guidelines,
        pipeline.storage,
    )


def _replicated(stage: Stage, serve: Serve) -> Stage:
    """The stage with the pool of its replicas, where that differs from its actors' in batch."""
    return replace(stage, pool=serve.pools.get(stage.name, stage.pool))
