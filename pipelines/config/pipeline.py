"""A pipeline file as a whole, and the section ``enrich``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from actors.config import ConfigSection
from actors.config.context import Context
from actors.config.linking import Linking
from actors.config.merge import Merge
from actors.config.relations import Relations
from pipelines.config.serve import Serve
from pipelines.config.sink import Sink
from pipelines.config.source import Source
from pipelines.config.steps import Ocr, Step
from pipelines.config.traces import Traces
from pipelines.deidentification import Deidentification
from pipelines.storage import Storage


class Enrich(ConfigSection):
    """Handling of model changes, failures and deletions by ``medspan enrich``."""

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
    max_drift: float | None = Field(
        None,
        ge=0,
        le=1,
        description="End a pass before its commit (exit code 3) if its documents differ from those "
        "of the live runs beyond chance, and by more than this: shares by their difference, rates "
        "and means relative to the larger one.",
    )


class Pipeline(ConfigSection):
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
        None, description="De-identifies every document, into separate tables."
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
        3600.0,
        gt=0,
        description="Abort the run (it can be resumed) after this time without progress: no unit, "
        "and no document, window or token within one.",
    )
    storage: Storage = Storage()
    traces: Traces | None = Field(
        None, description="Send OpenTelemetry traces of requests and runs; default: none."
    )
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
    def _deidentification_has_what_it_needs(self) -> Pipeline:
        section = self.deidentify
        if section is None:
            return self
        if section.pages and self.ocr is None:
            raise ValueError("deidentify.pages needs an `ocr` section: it finds the words to cover")
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
