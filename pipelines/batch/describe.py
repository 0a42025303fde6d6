"""The dry run: describe a run without executing it."""

from __future__ import annotations

from typing import Any

from actors.config import ConfigError
from pipelines.capacity.sequences import warn_of_idle_sequences
from pipelines.config import LoadedPipeline
from pipelines.release import releaser
from pipelines.source.ids import may_be_ids
from pipelines.source.units import SourcePlan
from pipelines.tables.delta_table import TABLES
from pipelines.tables.schema import DOCUMENTS, OF_DEIDENTIFICATION


def check_source(loaded: LoadedPipeline, plan: SourcePlan) -> None:
    """Raise ConfigError if the source has images that the pipeline cannot read, an extra column
    has the name of a column of the documents table, or patient_column is no column of ids."""
    taken = sorted(set(plan.keep.names) & set(DOCUMENTS.names))
    if taken:
        raise ConfigError(
            f"source.extra_columns: {', '.join(taken)} would collide with a column of "
            "the documents table"
        )
    section = loaded.pipeline.deidentify
    patient = None if section is None else section.patient_column
    if patient in plan.keep.names and not may_be_ids(plan.keep.field(patient).type):
        raise ConfigError(
            f"deidentify.patient_column: {patient} is {plan.keep.field(patient).type}, which "
            "cannot be an id"
        )
    picture = next((file for file in plan.files if file.format == "image"), None)
    if picture is not None and not loaded.takes_pictures:
        raise ConfigError(
            f"{picture.uri} is an image or PDF; add an `ocr` section to the pipeline to read it "
            "(vision models alone need none)"
        )


def describe(loaded: LoadedPipeline, plan: SourcePlan) -> dict[str, Any]:
    """The output of ``--dry-run``: documents, files, units, stages, pools, output paths."""
    check_source(loaded, plan)
    releaser(loaded.stages)  # raises without the key
    warn_of_idle_sequences(loaded.stages, [unit.rows for unit in plan.units])
    sink = loaded.pipeline.sink.path.rstrip("/")
    return {
        "name": loaded.pipeline.name,
        "documents": plan.rows,
        "files": len(plan.files),
        "passed_over": dict(plan.skipped),
        "megabytes": round(sum(file.size for file in plan.files) / 1e6, 3),
        "units": len(plan.units),
        "stages": [
            {
                "name": stage.name,
                "kind": stage.kind,
                "pool": None if stage.pool is None else stage.pool.model_dump(),
            }
            for stage in loaded.stages
        ],
        "merge": loaded.pipeline.merge.model_dump(),
        "output": {
            name: f"{sink}/{name}"
            for name in TABLES
            if name not in OF_DEIDENTIFICATION or loaded.pipeline.deidentify is not None
        },
    }
