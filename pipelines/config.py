"""The pipeline half of the configuration: source, steps, pools, merge, sink.

One YAML file says what to do with models; batch, online, plan and evaluate read the same file.
Unknown keys are errors; relative paths are relative to the file that holds them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, TypeAdapter, field_validator, model_validator

from actors.config import ConfigError, GgufModel, ModelConfig, Section, load_model
from actors.config.load import read_yaml, resolve, validate
from actors.config.merge import Merge
from actors.config.ocr import OcrModel, load_ocr
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


class Pool(Section):
    """The actors of one step, and what each may take."""

    min_actors: int = Field(1, ge=1)
    max_actors: int = Field(1, ge=1)
    num_cpus: float = Field(1.0, gt=0, description="CPUs an actor; also its threads, rounded down.")
    num_gpus: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        0.0,
        description="The fraction of a card an actor takes; auto: what its model needs, from its "
        "file. A fraction that is too small is an error before work starts.",
    )
    card_gb: float | None = Field(
        None, gt=0, description="Memory of a card (10^9 bytes); default: the cluster is asked."
    )
    fill: bool = Field(
        False,
        description="Use all of num_gpus: as many sequences (GGUF) or as large batches (ONNX) as "
        "fit, at least the model file's. Answers do not depend on it.",
    )
    cpu_fallback: bool = Field(
        False, description="Run on the CPU, and say so, where the cluster has no GPU."
    )
    units_in_flight: int = Field(
        3, ge=1, description="Units an actor holds at a time, so that its model is never idle."
    )

    recycle_documents: int | None = Field(
        None,
        ge=1,
        description="Begin an actor anew, between units, after so many documents. Online: replace "
        "a replica after so many to a quarter more, so that not all go at once.",
    )
    recycle_growth_mb: float | None = Field(
        None,
        gt=0,
        description="Begin an actor anew, between units, when its main memory has grown by so much "
        "since its first unit. Online: replace a replica, as by recycle_documents.",
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> Pool:
        if self.max_actors < self.min_actors:
            raise ValueError("max_actors must be at least min_actors")
        if self.fill and self.num_gpus in (0, "auto"):
            raise ValueError("fill needs num_gpus as a number: auto is the least that fits")
        return self

    @property
    def gpus(self) -> float:
        """``num_gpus`` as a number; raises ConfigError where auto was not resolved."""
        if self.num_gpus == "auto":
            raise ConfigError("pool.num_gpus is auto, and no card's memory is known")
        return self.num_gpus

    @property
    def threads(self) -> int:
        """CPU threads of an actor's model."""
        return max(1, int(self.num_cpus))


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

    path: str = Field(description="A folder, local or any fsspec URL.")


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
        description="Documents of files that are gone: they hold no longer, and are listed in the "
        "tombstones table; or they stay (then no unit mixes files).",
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


@dataclass(frozen=True, slots=True)
class LoadedPipeline:
    """A pipeline with absolute paths, and the models of its steps, in order."""

    path: str
    pipeline: Pipeline
    models: tuple[ModelConfig, ...]
    ocr: OcrModel | None = None

    @property
    def any_sees(self) -> bool:
        """Whether a step is shown the pictures themselves."""
        return any(_sees(model) for model in self.models)

    @property
    def all_see(self) -> bool:
        """Whether pictures need no text for any step."""
        return all(_sees(model) for model in self.models)

    @property
    def extras(self) -> tuple[str, ...]:
        """The extras of the distribution that its models need (see ``actors.extras``)."""
        gguf = any(isinstance(model, GgufModel) for model in self.models)
        pages = self.ocr is not None or self.any_sees
        return ("gguf",) * gguf + ("pages",) * pages

    def as_json(self) -> str:
        """Everything that decides the output, as JSON: what a run's plan and marker keep."""
        return json.dumps(
            {
                "file": self.path,
                "pipeline": self.pipeline.model_dump(mode="json"),
                "models": [model.model_dump(mode="json") for model in self.models],
                "ocr": None if self.ocr is None else self.ocr.model_dump(mode="json"),
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
            ocr=None if values.get("ocr") is None else OcrModel.model_validate(values["ocr"]),
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
            "sink": Sink(path=resolve(pipeline.sink.path, path)),
            "serve": _resolved(pipeline.serve, path),
        }
    )
    models = tuple(load_model(step.model) for step in steps)
    names = [model.name for model in models]
    if len(set(names)) != len(names):
        raise ConfigError(f"{path}: steps: two models share a name: {', '.join(names)}")
    unknown = sorted(set(pipeline.merge.priority) - set(names))
    if unknown:
        raise ConfigError(f"{path}: merge.priority: no step has the model {', '.join(unknown)}")
    reader = None if ocr is None else load_ocr(ocr.model)
    if reader is not None and reader.name in names:
        raise ConfigError(f"{path}: ocr: a step's model has the name {reader.name}, too")
    loaded = LoadedPipeline(str(path.resolve()), pipeline, models, reader)
    if pipeline.source.image is not None and reader is None and not loaded.all_see:
        raise ConfigError(
            f"{path}: source.image needs an `ocr` section, which reads the pictures, unless every "
            "step is a vision model"
        )
    return loaded


def _sees(model: ModelConfig) -> bool:
    return isinstance(model, GgufModel) and model.sees


def _resolved(serve: Serve, path: Path) -> Serve:
    models = tuple(m.model_copy(update={"model": resolve(m.model, path)}) for m in serve.models)
    tokens = None if serve.tokens is None else resolve(serve.tokens, path)
    guidelines = tuple(resolve(file, path) for file in serve.guidelines)
    return serve.model_copy(update={"models": models, "tokens": tokens, "guidelines": guidelines})
