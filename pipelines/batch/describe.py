"""The dry run: describe a run without executing it."""

from __future__ import annotations

from typing import Any

from actors.config import ConfigError
from pipelines.config import LoadedPipeline
from pipelines.source.units import SourcePlan
from pipelines.tables.schema import DOCUMENTS


def check_pictures_are_read(loaded: LoadedPipeline, plan: SourcePlan) -> None:
    """Raise ConfigError if the source has images that the pipeline cannot read, or an extra column
    has the name of a column of the documents table."""
    taken = sorted(set(plan.keep.names) & set(DOCUMENTS.names))
    if taken:
        raise ConfigError(
            f"source.extra_columns: {', '.join(taken)} would collide with a column of "
            "the documents table"
        )
    picture = next((file for file in plan.files if file.format == "image"), None)
    if picture is not None and not loaded.takes_pictures:
        raise ConfigError(
            f"{picture.uri} is an image or PDF; add an `ocr` section to the pipeline to read it "
            "(vision models alone need none)"
        )


def describe(loaded: LoadedPipeline, plan: SourcePlan) -> dict[str, Any]:
    """The output of ``--dry-run``: documents, files, units, stages, pools, output paths."""
    check_pictures_are_read(loaded, plan)
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
            name: f"{sink}/{name}" for name in ("documents", "entities", "relations", "units")
        },
    }
