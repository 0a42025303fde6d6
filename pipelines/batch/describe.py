"""What a run would do, told before it is done."""

from __future__ import annotations

from typing import Any

from actors.config import ConfigError, ModelConfig
from actors.config.ocr import OcrModel
from pipelines.config import LoadedPipeline, Ocr, Step
from pipelines.lake.units import SourcePlan


def check_reader(loaded: LoadedPipeline, plan: SourcePlan) -> None:
    """Raise ConfigError where there are pictures and nothing to read them with."""
    picture = next((file for file in plan.files if file.format == "image"), None)
    if picture is not None and loaded.ocr is None and not loaded.all_see:
        raise ConfigError(
            f"{picture.uri}: is a picture or PDF; give the pipeline an `ocr` section to read it "
            "(only vision models need none)"
        )


def describe(loaded: LoadedPipeline, plan: SourcePlan) -> dict[str, Any]:
    """What ``--dry-run`` prints: documents, files, units, steps, pools, output paths."""
    check_reader(loaded, plan)
    sink = loaded.pipeline.sink.path.rstrip("/")
    steps: list[tuple[Ocr | Step, OcrModel | ModelConfig]] = []
    if loaded.pipeline.ocr is not None and loaded.ocr is not None:
        steps.append((loaded.pipeline.ocr, loaded.ocr))
    steps.extend(zip(loaded.pipeline.steps, loaded.models, strict=True))
    return {
        "name": loaded.pipeline.name,
        "documents": plan.rows,
        "files": len(plan.files),
        "megabytes": round(sum(file.size for file in plan.files) / 1e6, 3),
        "units": len(plan.units),
        "steps": [
            {"model": model.name, "kind": model.kind, "pool": step.pool.model_dump()}
            for step, model in steps
        ],
        "merge": loaded.pipeline.merge.model_dump(),
        "output": {
            name: f"{sink}/{name}" for name in ("documents", "entities", "relations", "units")
        },
    }
