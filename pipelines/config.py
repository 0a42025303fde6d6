"""The pipeline half of the configuration: source, steps, pools, merge, sink.

One YAML file says what to do with models; batch, online, plan and evaluate read the same file.
Unknown keys are errors; relative paths are relative to the file that holds them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, TypeAdapter, field_validator, model_validator

from actors.config import ConfigError, Section, load_model
from actors.config.context import Context
from actors.config.linking import Linking, resolve_linking
from actors.config.load import read_yaml, resolve, validate
from actors.config.merge import Merge
from actors.config.ocr import load_ocr
from actors.config.relations import Relations
from pipelines.pool import Pool
from pipelines.stages import REFINING, Stage
from pipelines.storage import Storage, refuse_secrets


class Source(Section):
    """Where documents come from."""

    path: str | tuple[str, ...] = Field(
        description="A file, a folder, a glob, or a list of them: local, s3://, gs://, az://, "
        "any fsspec URL."
    )
    format: Literal["auto", "parquet", "jsonl", "csv", "text", "image"] = Field(
        "auto",
        description="auto goes by the suffix: .parquet, .jsonl or .ndjson, .csv, .txt; and image, "
        "a document a file: .png, .jpg, .tiff, .webp, .bmp, .gif, .pdf, .dcm. An image file is "
        "read by what it holds, not by its suffix.",
    )
    id: str | None = Field(
        None,
        description="Column with the document's id; without it, or where it is null, the id is "
        "<file>#<row>, the same at each run over the same files.",
    )
    text: str = Field("text", description="Column with the text; not used for plain-text files.")
    image: str | None = Field(
        None, description="Parquet: column with the bytes of a picture or PDF, instead of a text."
    )
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
    unit_images: int = Field(
        16, ge=1, description="Most pictures or PDFs in a unit: they take seconds each."
    )
    unit_mb: float = Field(16.0, gt=0, description="Most MB of text in a unit, by file size.")
    max_document_mb: float = Field(
        64.0, gt=0, description="A longer text is a failed row, not a killed worker."
    )

    RUNNING = frozenset({"path", "format", "keep", "unit_rows", "unit_images", "unit_mb"})


class Step(Section):
    """One model applied to every document."""

    model: str = Field(description="A model file, or starter:<name>.")
    pool: Pool = Pool()


class Ocr(Section):
    """What reads the documents that are pictures, before the steps."""

    model: str = Field("starter:ocr", description="A model file of kind ocr, or starter:ocr.")
    pool: Pool = Pool()


class Sink(Section):
    """Where the tables go."""

    path: str = Field(
        description="A folder: local, s3://, gs://, az:// or abfs://. Below it are the Delta "
        "tables documents, entities, relations and units."
    )
    format: Literal["delta", "parquet"] = Field(
        "delta",
        description="parquet: plain files and no log, for one full run that nothing is added to: "
        "no enrich, no runs, no retry; any fsspec URL.",
    )
    entity_columns: tuple[str, ...] = Field(
        (), description="Columns of source.keep that the entities table has as well."
    )


class Limits(Section):
    """What a request may ask, and how much may wait. Beyond the queue the answer is a fast 429."""

    body_mb: float = Field(
        8.0, gt=0, description="Most MB of a request's body, and of what its urls bring."
    )
    documents: int = Field(64, ge=1, description="Most documents in a request.")
    characters: int = Field(1_000_000, ge=1, description="Most characters of one document.")
    queue_documents: int = Field(
        512, ge=1, description="Most documents that wait for one model or run in it."
    )
    queue_characters: int = Field(
        4_000_000, ge=1, description="Most characters that wait for one model or run in it."
    )
    megapixels: float = Field(
        200.0,
        gt=0,
        description="Most million pixels of all pictures of a request together, PDF pages that "
        "are rendered included; what goes beyond is a failed document.",
    )
    requests_per_minute: int | None = Field(
        None, ge=1, description="Most requests a minute of one token (of one address without)."
    )
    deadline_s: float = Field(60.0, gt=0, description="Of a request that names none.")
    max_deadline_s: float = Field(300.0, gt=0, description="The latest a request may name.")


class UrlSource(Section):
    """Addresses that a request's documents may be read from."""

    prefix: str = Field(
        description="https://host/path/: whatever is below it. http:// too, where that will do."
    )
    private: bool = Field(
        False,
        description="Whether the host may be at a private or loopback address; else a name that "
        "resolves to one is refused.",
    )

    @field_validator("prefix")
    @classmethod
    def _is_a_beginning(cls, prefix: str) -> str:
        parts = urlsplit(prefix)
        _ = parts.port  # raises where it is none
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("must be http:// or https:// and a host")
        if not parts.path.endswith("/") or parts.query or parts.fragment:
            raise ValueError("must end with a slash: a beginning of a path, without a query")
        return f"{parts.scheme}://{parts.netloc.lower()}{parts.path}"


class Serve(Section):
    """What only the online use needs; see ``medspan serve``."""

    host: str = Field("127.0.0.1", description="Address to bind; beyond loopback it needs tokens.")
    port: int = Field(8000, ge=0, le=65535)
    hosts: tuple[str, ...] = Field(
        (), description="Host names that are answered without tokens, beside those of loopback."
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = Field(
        (),
        description="Addresses or networks of reverse proxies, whose X-Forwarded-For says for whom "
        "limits.requests_per_minute counts; of others the header is not believed.",
    )
    tokens: str | None = Field(
        None, description="File of bearer tokens' digests, made with `medspan token`."
    )
    models: tuple[Step, ...] = Field(
        (), description="Models to choose by name beside those of the steps."
    )
    pools: dict[str, Pool] = Field(
        default_factory=dict,
        description="The replicas of a model, by its name, where they differ from its step's pool.",
    )
    guidelines: tuple[str, ...] = Field(
        (), description="Guideline files that a request may name, by the name in them."
    )
    urls: tuple[UrlSource, ...] = Field(
        (), description="Where documents may be read from by `url`; default: from nowhere."
    )
    ingress_replicas: int = Field(
        1, ge=1, description="Processes that speak HTTP; queue and rate limits hold in each."
    )
    target_ongoing_requests: float = Field(
        4.0, gt=0, description="Requests a replica that autoscaling aims at."
    )
    wedged_s: float = Field(
        120.0,
        gt=0,
        description="A replica that has work and gives no sign of life (a document, a page or "
        "a batch read, text printed) for so long is replaced.",
    )
    page: bool = Field(True, description="Whether / shows the page.")
    limits: Limits = Limits()


class Enrich(Section):
    """What ``medspan enrich`` does beside new and changed files."""

    on_model_change: Literal["reprocess", "keep"] = Field(
        "reprocess",
        description="When models, guidelines, merge or medspan's version are not those that made "
        "what holds: do everything again, or only what is new.",
    )
    failed: Literal["keep", "retry"] = Field(
        "keep", description="Whether each pass does failed documents again."
    )
    deleted: Literal["drop", "keep"] = Field(
        "drop",
        description="Documents of files that are gone: they leave the tables in the commit of the "
        "next pass; or they stay (then no unit mixes files).",
    )
    check_ids: Literal["lake", "pass"] = Field(
        "lake",
        description="Where a new document's id must not be already: in all that holds (which reads "
        "the ids of the lake in each pass that finds new files), or in the pass alone.",
    )
    max_deleted_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="When more of the known files than this are gone at once (and 20 at least), a "
        "wrong path is likelier: the pass is refused.",
    )


class Pipeline(Section):
    """A pipeline file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    source: Source
    ocr: Ocr | None = Field(
        None, description="Reads pictures and PDFs; needed where the source has any."
    )
    steps: tuple[Step, ...] = Field(min_length=1)
    merge: Merge = Merge()
    context: Context | None = Field(
        None, description="Finds sections, and the status of each entity: negated, historical..."
    )
    relations: Relations | None = Field(
        None, description="Relates entities: a dose to its drug, a value to its test."
    )
    linking: Linking | None = Field(None, description="Gives entities the codes of vocabularies.")
    sink: Sink
    max_failure_rate: float = Field(
        1.0, ge=0, le=1, description="End the run when more of its documents than this have failed."
    )
    enrich: Enrich = Enrich()
    most_tries: int = Field(
        2,
        ge=1,
        description="A document that ends its process this often, alone in it, is set aside as a "
        "failed one (PoisonDocument).",
    )
    cluster_wait_minutes: float = Field(
        0.0,
        ge=0,
        description="How long a run waits for a cluster that grows (an autoscaler, workers that "
        "join late) before it says that the least actors do not fit.",
    )
    stall_minutes: float = Field(
        60.0, gt=0, description="End the run (it can be resumed) when no unit was done for so long."
    )
    storage: Storage = Storage()
    serve: Serve = Serve()

    @model_validator(mode="after")
    def _entity_columns_are_kept(self) -> Pipeline:
        unknown = sorted(set(self.sink.entity_columns) - set(self.source.keep))
        if unknown:
            raise ValueError(f"sink.entity_columns: {', '.join(unknown)} is not in source.keep")
        return self


@dataclass(frozen=True, slots=True)
class LoadedPipeline:
    """A pipeline with absolute paths, and its stages in the order in which documents pass them."""

    path: str
    pipeline: Pipeline
    stages: tuple[Stage, ...]

    @property
    def pooled(self) -> tuple[Stage, ...]:
        """The stages that run in actors of their own."""
        return tuple(stage for stage in self.stages if stage.pool is not None)

    @property
    def models(self) -> tuple[Stage, ...]:
        """The stages whose models find entities."""
        return tuple(stage for stage in self.pooled if not stage.reads_pictures)

    @property
    def sees_pictures(self) -> bool:
        """Whether a model is shown the pictures themselves."""
        return any(stage.sees_pictures for stage in self.models)

    @property
    def takes_pictures(self) -> bool:
        """Whether documents may be pictures: they are read first, or all models see them."""
        return any(stage.reads_pictures for stage in self.stages) or all(
            stage.sees_pictures for stage in self.models
        )

    def as_json(self) -> str:
        """Everything that decides the output, as JSON: what a run's plan and marker keep."""
        return json.dumps(
            {
                "file": self.path,
                "pipeline": self.pipeline.model_dump(mode="json"),
                "stages": [stage.as_dict() for stage in self.stages],
            }
        )

    @classmethod
    def from_json(cls, content: str) -> LoadedPipeline:
        """The reverse of ``as_json``: what a resumed run works with."""
        values = json.loads(content)
        return cls(
            path=values["file"],
            pipeline=Pipeline.model_validate(values["pipeline"]),
            stages=tuple(Stage.from_dict(stage) for stage in values["stages"]),
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
    ocr = pipeline.ocr
    if ocr is not None:
        ocr = ocr.model_copy(update={"model": resolve(ocr.model, path)})
    pipeline = pipeline.model_copy(
        update={
            "source": pipeline.source.model_copy(update={"path": source}),
            "steps": steps,
            "ocr": ocr,
            "linking": pipeline.linking and resolve_linking(pipeline.linking, path),
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
        raise ConfigError(f"{path}: merge.priority: no step has the model {', '.join(unknown)}")
    if pipeline.source.image is not None and not loaded.takes_pictures:
        raise ConfigError(
            f"{path}: source.image needs an `ocr` section, which reads the pictures, unless every "
            "step is a vision model"
        )
    return loaded


def _stages(pipeline: Pipeline) -> tuple[Stage, ...]:
    """The stages of a pipeline file: what reads pictures, one per step, then those that refine."""
    stages: list[Stage] = []
    if pipeline.ocr is not None:
        reader = load_ocr(pipeline.ocr.model)
        stages.append(Stage(reader.name, reader, pipeline.ocr.pool))
    for step in pipeline.steps:
        model = load_model(step.model)
        stages.append(Stage(model.name, model, step.pool))
    for kind in REFINING:
        config = getattr(pipeline, kind)
        if config is not None:
            stages.append(Stage(kind, config, None))
    return tuple(stages)


def _resolved(serve: Serve, path: Path) -> Serve:
    models = tuple(m.model_copy(update={"model": resolve(m.model, path)}) for m in serve.models)
    tokens = None if serve.tokens is None else resolve(serve.tokens, path)
    guidelines = tuple(resolve(file, path) for file in serve.guidelines)
    return serve.model_copy(update={"models": models, "tokens": tokens, "guidelines": guidelines})
