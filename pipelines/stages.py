"""Stages: the processing steps that a pipeline applies to every document, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from actors.config import ConfigError, GgufModel, GlinerModel, ModelConfig, OnnxModel
from actors.config.context import Context
from actors.config.linking import Linking
from actors.config.ocr import OcrModel
from actors.config.relations import Relations
from pipelines.deidentification import Deidentification
from pipelines.pool import Pool

PooledConfig = OcrModel | OnnxModel | GlinerModel | GgufModel
"""Configurations of stages that run in actor pools."""
RefineConfig = Context | Relations | Linking
"""Configurations of stages that refine entities without a model."""
UnpooledConfig = RefineConfig | Deidentification
"""Configurations of all stages without a model of their own."""
StageConfig = PooledConfig | UnpooledConfig

_POOLED: TypeAdapter[PooledConfig] = TypeAdapter(
    Annotated[OcrModel | OnnxModel | GlinerModel | GgufModel, Field(discriminator="kind")]
)
UNPOOLED: Mapping[str, type[UnpooledConfig]] = {
    "context": Context,
    "relations": Relations,
    "linking": Linking,
    "deidentify": Deidentification,
}
"""The pipeline file's sections of stages without a model, in execution order."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A processing step with its settings and its actor pool.

    ``name`` is unique in a pipeline. ``pool`` is None for a stage without a model: it runs where a
    unit is written, or in the process that answers a request. ``second_look``: the model reads the
    de-identified text or page, not the document.
    """

    name: str
    config: StageConfig
    pool: Pool | None
    second_look: bool = False

    @property
    def kind(self) -> str:
        """The kind of its configuration: ocr, onnx, gguf, context, relations, linking..."""
        if isinstance(self.config, UnpooledConfig):
            return next(kind for kind, of in UNPOOLED.items() if isinstance(self.config, of))
        return self.config.kind

    @property
    def refines(self) -> bool:
        """True if it refines entities without a model."""
        return isinstance(self.config, RefineConfig)

    @property
    def reads_pictures(self) -> bool:
        """True if it is the OCR stage, which turns images into text."""
        return isinstance(self.config, OcrModel)

    @property
    def sees_pictures(self) -> bool:
        """True if it is a vision model, which needs the images themselves."""
        sees = isinstance(self.config, GgufModel) and self.config.sees
        return sees and not self.second_look

    @property
    def sequences(self) -> int:
        """Sequences that a language model generates at once; 0 for other stages."""
        return self.config.context.slots if isinstance(self.config, GgufModel) else 0

    @property
    def actors(self) -> Pool:
        """Its pool; raises ConfigError for a stage without one."""
        if self.pool is None:
            raise ConfigError(f"{self.name}: this stage has no actors of its own")
        return self.pool

    @property
    def model(self) -> ModelConfig:
        """The model of a stage that finds entities; raises ConfigError for any other."""
        if isinstance(self.config, OnnxModel | GlinerModel | GgufModel):
            return self.config
        raise ConfigError(f"{self.name}: this stage does not find entities")

    @property
    def pooled(self) -> PooledConfig:
        """The configuration of a stage with actors; raises ConfigError for any other."""
        if isinstance(self.config, UnpooledConfig):
            raise ConfigError(f"{self.name}: this stage has no actors of its own")
        return self.config

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "name": self.name,
            "kind": self.kind,
            "config": self.config.model_dump(mode="json"),
            "pool": None if self.pool is None else self.pool.model_dump(mode="json"),
            "second_look": self.second_look,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Stage:
        """The reverse of ``as_dict``."""
        pool, unpooled = values["pool"], UNPOOLED.get(values["kind"])
        config = (
            _POOLED.validate_python(values["config"])
            if unpooled is None
            else unpooled.model_validate(values["config"])
        )
        pool = None if pool is None else Pool.model_validate(pool)
        return cls(values["name"], config, pool, values["second_look"])


def second_looks(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The stages with actors once more: OCR to read the de-identified pages, if there are to be
    any, and models to read the de-identified texts, unless by ``second_look: rules``."""
    sections = [s.config for s in stages if isinstance(s.config, Deidentification)]
    pages = any(section.pages for section in sections)
    models = any(section.second_look == "models" for section in sections)
    return tuple(
        replace(stage, name=second_look_of(stage.name), second_look=True)
        for stage in stages
        if stage.pool is not None and (pages if stage.reads_pictures else models)
    )


def second_look_of(model: str) -> str:
    """The name of the stage in which a model reads the de-identified texts or pages."""
    return f"{model} (second look)"
