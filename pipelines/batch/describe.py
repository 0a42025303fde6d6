"""What a run would do, told before it is done."""

from __future__ import annotations

from typing import Any

from pipelines.config import LoadedPipeline
from pipelines.lake.units import SourcePlan


def describe(loaded: LoadedPipeline, plan: SourcePlan) -> dict[str, Any]:
    """What ``--dry-run`` prints: documents, files, units, steps, pools, output paths."""
    sink = loaded.pipeline.sink.path
    return {
        "name": loaded.pipeline.name,
        "documents": plan.rows,
        "files": len(plan.files),
        "megabytes": round(sum(file.size for file in plan.files) / 1e6, 3),
        "units": len(plan.units),
        "steps": [
            {"model": model.name, "kind": model.kind, "pool": step.pool.model_dump()}
            for step, model in zip(loaded.pipeline.steps, loaded.models, strict=True)
        ],
        "merge": loaded.pipeline.merge.model_dump(),
        "output": {
            "documents": f"{sink}/documents/run_id=<run>/",
            "entities": f"{sink}/entities/run_id=<run>/",
            "commit": f"{sink}/_runs/<run>.json",
        },
    }
