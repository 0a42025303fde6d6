"""The pipeline half of the configuration: source, steps, pools, merge, sink.

One YAML file says what to do with models; batch, online, plan and evaluate read the same file.
Unknown keys are errors; relative paths are relative to the file that holds them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter, model_validator

from actors.config import ConfigError, ModelConfig, Section, load_model
from actors.config.load import read_yaml, resolve, validate
from actors.config.merge import Merge
from pipelines.storage import Storage, refuse_secrets


class Source(Section):
    """Where documents come from."""

    path: str | tuple[str, ...] = Field(
        description="A file, a folder, a glob, or a list of them: local, s3://, gs://, az://, "
        "any fsspec URL."
    )
    format: Literal["auto", "parquet", "jsonl", "csv", "text"] = Field(
        "auto", description="auto goes by the suffix: .parquet, .jsonl or .ndjson, .csv, .txt."
    )
    id: str | None = Field(
        None,
        description="Column with the document's id; without it, or where it is null, the id is "
        "<file>#<row>, the same at each run over the same files.",
    )
    text: str = Field("text", description="Column with the text; not used for plain-text files.")
    prompt: str | None = Field(None, description="Column with a prompt of the row's own.")
    keep: tuple[str, ...] = Field(
        (), description="Further columns to carry to the documents table."
    )
    unit_rows: int = Field(
        512,
        ge=1,
        description="Most documents in a unit of work: what is lost when a worker dies, and one "
        "file of each table.",
    )
    unit_mb: float = Field(16.0, gt=0, description="Most MB of text in a unit, by file size.")
    max_document_mb: float = Field(
        64.0, gt=0, description="A longer text is a failed row, not a killed worker."
    )


class Pool(Section):
    """The actors of one step, and what each may take."""

    min_actors: int = Field(1, ge=1)
    max_actors: int = Field(1, ge=1)
    num_cpus: float = Field(1.0, gt=0, description="CPUs an actor; also its threads, rounded down.")
    num_gpus: float = Field(0.0, ge=0, description="The fraction of a card an actor takes.")
    cpu_fallback: bool = Field(
        False, description="Run on the CPU, and say so, where the cluster has no GPU."
    )
    units_in_flight: int = Field(
        3, ge=1, description="Units an actor holds at a time, so that its model is never idle."
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> Pool:
        if self.max_actors < self.min_actors:
            raise ValueError("max_actors must be at least min_actors")
        return self

    @property
    def threads(self) -> int:
        """CPU threads of an actor's model."""
        return max(1, int(self.num_cpus))


class Step(Section):
    """One model applied to every document."""

    model: str = Field(description="A model file, or starter:<name>.")
    pool: Pool = Pool()


class Sink(Section):
    """Where the tables go."""

    path: str = Field(description="A folder, local or any fsspec URL.")


class Pipeline(Section):
    """A pipeline file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    source: Source
    steps: tuple[Step, ...] = Field(min_length=1)
    merge: Merge = Merge()
    sink: Sink
    max_failure_rate: float = Field(
        1.0, ge=0, le=1, description="End the run when more of its documents than this have failed."
    )
    storage: Storage = Storage()


@dataclass(frozen=True, slots=True)
class LoadedPipeline:
    """A pipeline with absolute paths, and the models of its steps, in order."""

    path: str
    pipeline: Pipeline
    models: tuple[ModelConfig, ...]

    def as_json(self) -> str:
        """Everything that decides the output, as JSON: what a run's plan and marker keep."""
        return json.dumps(
            {
                "file": self.path,
                "pipeline": self.pipeline.model_dump(mode="json"),
                "models": [model.model_dump(mode="json") for model in self.models],
            }
        )

    @classmethod
    def from_json(cls, content: str) -> LoadedPipeline:
        """The reverse of ``as_json``: what a resumed run works with."""
        values = json.loads(content)
        models: TypeAdapter[ModelConfig] = TypeAdapter(ModelConfig)
        return cls(
            path=values["file"],
            pipeline=Pipeline.model_validate(values["pipeline"]),
            models=tuple(models.validate_python(model) for model in values["models"]),
        )


def load_pipeline(path: str | Path) -> LoadedPipeline:
    """The pipeline in a file and its models; raises ConfigError, which names file and key."""
    path = Path(path)
    pipeline = validate(TypeAdapter(Pipeline), read_yaml(path), path)
    places = pipeline.source.path
    source = tuple(resolve(p, path) for p in ((places,) if isinstance(places, str) else places))
    try:
        for place in source:
            refuse_secrets(place, "source.path")
        refuse_secrets(pipeline.sink.path, "sink.path")
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    steps = tuple(
        step.model_copy(update={"model": resolve(step.model, path)}) for step in pipeline.steps
    )
    pipeline = pipeline.model_copy(
        update={
            "source": pipeline.source.model_copy(update={"path": source}),
            "steps": steps,
            "sink": Sink(path=resolve(pipeline.sink.path, path)),
        }
    )
    models = tuple(load_model(step.model) for step in steps)
    names = [model.name for model in models]
    if len(set(names)) != len(names):
        raise ConfigError(f"{path}: steps: two models share a name: {', '.join(names)}")
    unknown = sorted(set(pipeline.merge.priority) - set(names))
    if unknown:
        raise ConfigError(f"{path}: merge.priority: no step has the model {', '.join(unknown)}")
    return LoadedPipeline(str(path.resolve()), pipeline, models)
