"""The pipeline half of the configuration: source, steps, pools, merge, sink.

One YAML file describes the pipeline; batch, online, plan and evaluate read the same file.
Unknown keys are errors; relative paths are relative to the file that holds them.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, TypeAdapter, field_validator, model_validator

from actors.config import ConfigError, ModelConfig, OnnxModel, Section, load_model
from actors.config.context import Context, EntityFilter
from actors.config.linking import Linking, resolve_linking
from actors.config.load import read_yaml, resolve, validate
from actors.config.merge import Merge
from actors.config.ocr import load_ocr
from actors.config.relations import Relations
from actors.guideline import Guideline
from pipelines.deidentification import Deidentification, resolve_deidentification
from pipelines.pool import Pool
from pipelines.stages import UNPOOLED, Stage
from pipelines.storage import Storage, refuse_secret_names, refuse_secrets


class Between(Section):
    """An inclusive range of values, compared as numbers if both sides are numbers, else as text."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    from_: str | int | float | None = Field(None, alias="from")
    to: str | int | float | None = None


class Csv(Section):
    """The dialect of CSV files."""

    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="Default: a comma, or a tab for .tsv files."
    )
    quote: str = Field('"', min_length=1, max_length=1)
    escape: str | None = Field(
        None,
        min_length=1,
        max_length=1,
        description='Escape character before quotes within fields, such as "\\" in files of Spark; '
        "doubled quotes are accepted, too.",
    )


class IcebergCatalog(Section):
    """A catalog of Iceberg tables."""

    name: str = Field(
        "default",
        description="A catalog of pyiceberg: its secrets come from ~/.pyiceberg.yaml or the "
        "environment (PYICEBERG_CATALOG__<NAME>__TOKEN).",
    )
    properties: dict[str, str] = Field(
        default_factory=dict,
        description="pyiceberg's properties, without secrets: {type: rest, uri: https://...}. "
        "Default for a local sink: a SQL catalog in a file, _iceberg/catalog.db.",
    )

    @field_validator("properties")
    @classmethod
    def _no_secrets(cls, properties: dict[str, str]) -> dict[str, str]:
        refuse_secret_names(properties, "catalog.properties")
        if "uri" in properties:
            refuse_secrets(properties["uri"], "catalog.properties.uri")
        return properties


class Source(Section):
    """Where documents come from."""

    path: str | tuple[str, ...] = Field(
        description="A file, a folder, a glob, or a list of them: local, s3://, gs://, az://, "
        "any fsspec URL."
    )
    format: Literal[
        "auto", "parquet", "jsonl", "json", "csv", "tsv", "text", "image", "delta", "iceberg"
    ] = Field(
        "auto",
        description="auto uses the suffix: .parquet, .jsonl or .ndjson, .json, .csv, .tsv, .txt "
        "(except for Parquet also followed by .gz, .bz2, .xz or .zst); and image, one document per "
        "file: .png, .jpg, .tiff, .webp, .bmp, .gif, .heic, .avif, .jp2, .pdf, .dcm. Image files "
        "are decoded by content, not by suffix. delta, iceberg: a table's current snapshot.",
    )
    catalog: IcebergCatalog | None = Field(
        None,
        description="With format iceberg: the catalog in which path names a table; without it, "
        "path is the table's folder or one of its metadata files.",
    )
    strict: bool = Field(
        False, description="Treat files that would be skipped (unknown suffix, hidden) as errors."
    )
    where: dict[str, tuple[str | int | float, ...] | Between] = Field(
        default_factory=dict,
        description="Only files whose path has these Hive partition values: "
        "{site: [a, b], year: {from: 2024, to: 2025}} for site=a/year=2024/.",
    )
    encoding: str = Field(
        "utf-8",
        description="Encoding of text, JSON and CSV files without a byte-order mark, e.g. cp1252.",
    )
    csv: Csv = Field(Csv(), description="The dialect of CSV files.")
    markup: Literal["auto", "html", "rtf", "cda", "fhir", "hl7", "none"] = Field(
        "auto",
        description="Markup of the texts. The visible text is processed and stored, and offsets "
        "refer to it; the original's hash is stored. auto: detected from the start of each text.",
    )
    max_markup_s: float = Field(
        20.0,
        gt=0,
        description="Maximum CPU seconds to parse the markup of one text; beyond: BadMarkup. Only "
        "texts of more than 100,000 characters can take that long.",
    )
    max_inflated_mb: float = Field(
        16_000.0, gt=0, description="Maximum inflated MB of a compressed file; beyond: BadFile."
    )
    id: str | None = Field(
        None,
        description="Column with the document's id; without it, or if it is null, the id is "
        "<file>#<row>, which is stable across runs over the same files.",
    )
    on_duplicate: Literal["fail_row", "keep_first", "error"] = Field(
        "fail_row",
        description="Rows with an id of an earlier row, or of a live document of another file: "
        "fail them (DuplicateId), drop them, or raise an error before work starts.",
    )
    text: str = Field("text", description="Column with the text; not used for plain-text files.")
    image: str | None = Field(
        None, description="Parquet: column with the bytes of an image or PDF, instead of a text."
    )
    prompt: str | None = Field(None, description="Column with a prompt per row.")
    extra_columns: tuple[str, ...] = Field(
        (), description="Extra columns to copy to the documents table."
    )
    unit_rows: int = Field(
        512,
        ge=1,
        description="Maximum documents per unit of work. A unit is retried as a whole if a worker "
        "crashes, and is one file of each table.",
    )
    unit_images: int = Field(
        16, ge=1, description="Maximum images or PDFs per unit: each takes seconds."
    )
    unit_mb: float = Field(16.0, gt=0, description="Maximum MB of text per unit, by file size.")
    max_document_mb: float = Field(
        64.0, gt=0, description="A longer text fails its row instead of exhausting the worker."
    )

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise ValueError(f"{encoding!r} is not an encoding known to Python") from None
        return encoding

    RUNNING = frozenset(
        {
            "path",
            "format",
            "catalog",
            "strict",
            "where",
            "max_inflated_mb",
            "max_markup_s",
            "on_duplicate",
            "extra_columns",
            "unit_rows",
            "unit_images",
            "unit_mb",
        }
    )


class Step(Section):
    """One model applied to every document."""

    model: str = Field(description="A model file, or starter:<name>.")
    pool: Pool = Pool()


class Ocr(Section):
    """OCR of image documents, before the steps."""

    model: str = Field("starter:ocr", description="A model file of kind ocr, or starter:ocr.")
    pool: Pool = Pool()


class IcebergSink(Section):
    """Registers the tables' files in Iceberg tables after each commit."""

    catalog: IcebergCatalog = IcebergCatalog()
    namespace: str = Field(
        pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$",
        description="The tables are <namespace>.documents, .entities and .relations.",
    )


class Sink(Section):
    """Where the tables go."""

    path: str = Field(
        description="A folder: local, s3://, gs://, az:// or abfs://. Below it are the Delta "
        "tables documents, entities, relations and units, and with `deidentify` the folder "
        "deidentified with tables of its own."
    )
    format: Literal["delta", "parquet"] = Field(
        "delta",
        description="parquet: plain files and no log, for one full run that nothing is added to: "
        "no enrich, no runs, no retry; any fsspec URL.",
    )
    entity_columns: tuple[str, ...] = Field(
        (), description="Columns of source.extra_columns that the entities table has as well."
    )
    iceberg: IcebergSink | None = Field(
        None, description="Register the same files in Iceberg tables after each commit."
    )

    @model_validator(mode="after")
    def _iceberg_shows_delta(self) -> Sink:
        if self.iceberg is not None and self.format != "delta":
            raise ValueError("iceberg registers the files of Delta tables: set format to delta")
        return self


class Limits(Section):
    """Limits of requests and queues. Beyond the queue, requests get an immediate 429."""

    body_mb: float = Field(
        8.0, gt=0, description="Maximum MB of a request's body, and of the content of its urls."
    )
    documents: int = Field(64, ge=1, description="Maximum documents per request.")
    characters: int = Field(1_000_000, ge=1, description="Maximum characters per document.")
    queue_documents: int = Field(
        512, ge=1, description="Maximum documents queued or running per model."
    )
    queue_characters: int = Field(
        4_000_000, ge=1, description="Maximum characters queued or running per model."
    )
    megapixels: float = Field(
        200.0,
        gt=0,
        description="Maximum megapixels of all images of a request, rendered PDF pages included; "
        "documents beyond it fail.",
    )
    requests_per_minute: int | None = Field(
        None, ge=1, description="Rate limit per token, or per client address without tokens."
    )
    deadline_s: float = Field(60.0, gt=0, description="Default deadline of a request.")
    max_deadline_s: float = Field(300.0, gt=0, description="Maximum deadline of a request.")


class UrlSource(Section):
    """A URL prefix that documents of requests may be fetched from."""

    prefix: str = Field(
        description="A prefix such as https://host/path/; http:// is accepted, too."
    )
    private: bool = Field(
        False,
        description="Allow hosts that resolve to private or loopback addresses; by default they "
        "are rejected.",
    )

    @field_validator("prefix")
    @classmethod
    def _is_a_beginning(cls, prefix: str) -> str:
        parts = urlsplit(prefix)
        _ = parts.port  # raises where it is none
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("must be http:// or https:// and a host")
        if not parts.path.endswith("/") or parts.query or parts.fragment:
            raise ValueError("must be a path prefix that ends with a slash, without a query")
        return f"{parts.scheme}://{parts.netloc.lower()}{parts.path}"


class Serve(Section):
    """Settings of online serving; see ``medspan serve``."""

    host: str = Field(
        "127.0.0.1", description="Address to bind; a non-loopback address requires tokens."
    )
    port: int = Field(8000, ge=0, le=65535)
    hosts: tuple[str, ...] = Field(
        (), description="Host names served without tokens, in addition to loopback."
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = Field(
        (),
        description="Addresses or networks of reverse proxies whose X-Forwarded-For is trusted for "
        "limits.requests_per_minute; from others the header is ignored.",
    )
    tokens: str | None = Field(
        None, description="File with the digests of bearer tokens, see `medspan token`."
    )
    models: tuple[Step, ...] = Field((), description="Additional models that requests may name.")
    pools: dict[str, Pool] = Field(
        default_factory=dict,
        description="Replica pools by model name; they override the pools of the steps.",
    )
    guidelines: tuple[str, ...] = Field(
        (), description="Guideline files that requests may refer to by the name inside."
    )
    urls: tuple[UrlSource, ...] = Field(
        (), description="Allowed sources of documents given by `url`; default: none."
    )
    ingress_replicas: int = Field(
        1, ge=1, description="HTTP processes; queue and rate limits apply to each."
    )
    target_ongoing_requests: float = Field(
        4.0, gt=0, description="Autoscaling target of concurrent requests per replica."
    )
    stall_timeout_s: float = Field(
        120.0,
        gt=0,
        description="A replica with work in flight that makes no progress (documents, pages, "
        "batches, generated text) for this long is replaced.",
    )
    page: bool = Field(True, description="Serve the web page at /.")
    limits: Limits = Limits()


class Enrich(Section):
    """How ``medspan enrich`` treats model changes, failures and deletions."""

    on_model_change: Literal["reprocess", "keep"] = Field(
        "reprocess",
        description="If models, guidelines or merge differ from those that produced the live "
        "results: reprocess everything, or keep them and process only what is new.",
    )
    failed: Literal["keep", "retry"] = Field(
        "keep", description="Whether each pass retries failed documents."
    )
    deleted: Literal["drop", "keep"] = Field(
        "drop",
        description="Documents of deleted files: drop them from the tables with the next pass, or "
        "keep them (then no unit mixes files).",
    )
    unique_ids: Literal["lake", "run"] = Field(
        "lake",
        description="Where a new document's id must be unique: in the whole lake (each pass with "
        "new files then reads all live ids), or in the pass only.",
    )
    max_deleted_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Reject a pass if more than this share of the known files (and at least 20) "
        "is gone at once: the path is probably wrong.",
    )


class Pipeline(Section):
    """A pipeline file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    source: Source
    ocr: Ocr | None = Field(None, description="OCR; required if the source has images or PDFs.")
    steps: tuple[Step, ...] = Field(min_length=1)
    merge: Merge = Merge()
    context: Context | None = Field(
        None, description="Detects sections and each entity's status: negated, historical..."
    )
    relations: Relations | None = Field(
        None, description="Relates entities: a dose to its drug, a value to its test."
    )
    linking: Linking | None = Field(None, description="Links entities to codes of vocabularies.")
    deidentify: Deidentification | None = Field(
        None, description="De-identifies every document, into tables of their own."
    )
    sink: Sink
    max_failure_rate: float = Field(
        1.0, ge=0, le=1, description="Abort the run above this share of failed documents."
    )
    enrich: Enrich = Enrich()
    max_attempts: int = Field(
        2,
        ge=1,
        description="A document that crashes its worker this often when processed alone is "
        "quarantined as failed (PoisonDocument).",
    )
    cluster_timeout_s: float = Field(
        0.0,
        ge=0,
        description="How long a run waits for the cluster to scale up (autoscaler, late workers) "
        "before it fails because min_actors do not fit.",
    )
    no_progress_timeout_s: float = Field(
        60.0,
        gt=0,
        description="Abort the run (it can be resumed) after this time without progress: no unit, "
        "and no document, window or token within one.",
    )
    storage: Storage = Storage()
    serve: Serve = Serve()

    @model_validator(mode="after")
    def _entity_columns_are_kept(self) -> Pipeline:
        unknown = sorted(set(self.sink.entity_columns) - set(self.source.extra_columns))
        if unknown:
            raise ValueError(
                f"sink.entity_columns: {', '.join(unknown)} is not in source.extra_columns"
            )
        return self

    @model_validator(mode="after")
    def _deidentified_columns_are_kept(self) -> Pipeline:
        section = self.deidentify
        if section is None:
            return self
        patient = () if section.patient_column is None else (section.patient_column,)
        named = {
            "patient_column": patient,
            "name_columns": section.name_columns,
            "extra_columns": tuple(section.extra_columns),
        }
        for key, names in named.items():
            unknown = sorted(set(names) - set(self.source.extra_columns))
            if unknown:
                raise ValueError(
                    f"deidentify.{key}: {', '.join(unknown)} is not in source.extra_columns"
                )
        return self


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
        """The stages whose models find entities."""
        return tuple(stage for stage in self.pooled if not stage.reads_pictures)

    @property
    def sees_pictures(self) -> bool:
        """True if some model is a vision model."""
        return any(stage.sees_pictures for stage in self.models)

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
        return ("gguf",) * gguf + ("pages",) * pages + ("deidentify",) * deidentify

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
    pipeline = validate(TypeAdapter(Pipeline), read_yaml(path), path)
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
    """The stages of a pipeline file: OCR, one stage per step, then those without a model."""
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
    return tuple(stages)


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
