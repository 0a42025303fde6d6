"""What can be asked for by name: each model alone, and the whole pipeline with its merge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.config import ConfigError, GgufModel, ModelConfig, load_model
from actors.config.load import load_guideline
from actors.config.merge import Merge
from actors.config.ocr import OcrModel
from actors.guideline import Guideline
from pipelines.config import LoadedPipeline, Pool, Serve
from pipelines.storage import Storage


@dataclass(frozen=True, slots=True)
class Target:
    """A name that a request may give: the models it stands for, and how they become one list."""

    name: str
    models: tuple[str, ...]
    merge: Merge
    pipeline: bool = False


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All names, the models behind them, and the replicas of each model.

    ``default`` is what a request without a name gets: the pipeline. ``ocr`` is what reads pictures,
    where the pipeline file has it, with its replicas. ``guidelines`` may be named, too.
    ``storage`` is for whoever loads weights.
    """

    default: str
    targets: Mapping[str, Target]
    models: Mapping[str, ModelConfig]
    pools: Mapping[str, Pool]
    serve: Serve
    ocr: tuple[OcrModel, Pool] | None = None
    guidelines: Mapping[str, Guideline] = field(default_factory=dict)
    storage: Storage = field(default_factory=Storage)

    def sees(self, model: str) -> bool:
        """Whether the model is shown the pictures themselves."""
        config = self.models[model]
        return isinstance(config, GgufModel) and config.sees

    def takes_pictures(self, target: Target) -> bool:
        """Whether a document may be a picture: one that is read first, or that all models see."""
        return self.ocr is not None or all(self.sees(model) for model in target.models)


def catalogue_of(loaded: LoadedPipeline) -> Catalogue:
    """The catalogue of a pipeline file; raises ConfigError where two names are the same."""
    pipeline, serve = loaded.pipeline, loaded.pipeline.serve
    steps = (*pipeline.steps, *serve.models)
    configs = (*loaded.models, *(load_model(step.model) for step in serve.models))
    models: dict[str, ModelConfig] = {}
    pools: dict[str, Pool] = {}
    for step, config in zip(steps, configs, strict=True):
        if config.name in models:
            raise ConfigError(f"{loaded.path}: serve.models: {config.name} is there twice")
        models[config.name] = config
        pools[config.name] = serve.pools.get(config.name, step.pool)
    readers = {loaded.ocr.name} if loaded.ocr is not None else set()
    unknown = sorted(set(serve.pools) - set(models) - readers)
    if unknown:
        raise ConfigError(f"{loaded.path}: serve.pools: no model is named {', '.join(unknown)}")
    if pipeline.name in models:
        raise ConfigError(
            f"{loaded.path}: name: {pipeline.name} is a model's name too; online a request names "
            "either, so they must differ"
        )
    targets = {name: Target(name, (name,), Merge()) for name in models}
    whole = Target(
        pipeline.name, tuple(m.name for m in loaded.models), pipeline.merge, pipeline=True
    )
    ocr = None
    if pipeline.ocr is not None and loaded.ocr is not None:
        pool = serve.pools.get(loaded.ocr.name, pipeline.ocr.pool)
        ocr = (loaded.ocr, pool)
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
        pools,
        serve,
        ocr,
        guidelines,
        pipeline.storage,
    )
