"""The marker of a committed run, and the utilisation of its stages."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from pipelines.capacity.balance import Demand, balanced
from pipelines.config import LoadedPipeline
from pipelines.runs.plan import RunPlan
from pipelines.runs.tally import Tally
from pipelines.tables.ledger import LiveUnit

# Concurrent read tasks, and write tasks; see ``graph``.
IO_TASKS = 4
_PACKAGES = ("medspan", "ray", "onnxruntime-gpu", "onnxruntime", "llama-cpp-python", "pyarrow")


def marker(
    run_id: str,
    loaded: LoadedPipeline,
    plan: RunPlan,
    tally: Tally,
    live: Sequence[LiveUnit],
    started: datetime,
    seconds: float,
    timing: Mapping[str, Any],
) -> dict[str, Any]:
    """The marker of a run, a plain mapping. ``live``: the units that are live after it."""
    parts = [*plan.empty, *(part for unit in live for part in unit.slices)]
    sources = sorted({(part.uri, part.version) for part in parts})
    listing = "\n".join(f"{uri}\t{found}" for uri, found in sources)
    increment = plan.increment
    return {
        "run_id": run_id,
        "name": loaded.pipeline.name,
        "kind": "full" if increment is None else "increment",
        "base": plan.base,
        "changes": {} if increment is None else dict(increment.changes),
        "identity": plan.identity,
        "models": {stage.name: stage.kind for stage in loaded.models},
        "vocabularies": list(plan.vocabularies),
        "config": json.loads(plan.pipeline),
        "counts": tally.as_dict(),
        "profile": tally.profile.as_dict(),
        "source": {
            "files": len(sources),
            "digest": hashlib.sha256(listing.encode()).hexdigest(),
            "passed_over": dict(plan.passed_over),
            "snapshots": dict(plan.source_snapshots),
        },
        "current": {
            "units": len(live),
            "documents": sum(unit.documents for unit in live),
            "failed": sum(unit.failed for unit in live),
        },
        "started_at": started.isoformat(),
        "committed_at": datetime.now(UTC).isoformat(),
        "seconds": round(seconds, 3),
        "timing": dict(timing),
        "units": len(plan.units),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect the output."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except ImportError:  # one of the two onnxruntime distributions is not installed
            continue
    return found


def balance(loaded: LoadedPipeline, tally: Tally, gpus: int, cpus: float) -> dict[str, int]:
    """Balanced actor counts per stage for these GPUs and CPUs, from the busy time per document in
    this run; empty if a stage had no work."""
    new = sum((tally.documents - tally.carried).values())
    demands = [
        Demand(
            stage.name,
            stage.actors.gpus,
            max(stage.actors.num_cpus, stage.actors.threads),
            new / tally.busy[stage.name] if tally.busy[stage.name] else None,
        )
        for stage in loaded.pooled
    ]
    found = balanced(demands, gpus, cpus)
    if found is None or found.total is None:
        return {}
    return {demand.name: count for demand, count in zip(demands, found.counts, strict=True)}


def timing(
    loaded: LoadedPipeline, busy: Mapping[str, float], seconds: float, write_tasks: int = IO_TASKS
) -> Any:
    """Utilisation of each stage's workers, 0 to 1, and the busiest stage: the bottleneck if it is
    near 1. ``seconds`` includes starting Ray and loading models; the stages do not. ``busy``: busy
    seconds by stage for the units of this process; a resumed run excludes earlier ones."""
    workers = {"read": IO_TASKS, "write": write_tasks}
    workers |= {stage.name: stage.actors.max_actors for stage in loaded.pooled}
    stages = {
        stage: {
            "seconds": round(float(spent), 3),
            "workers": workers[stage],
            "share": round(spent / (workers[stage] * max(seconds, 1e-9)), 3),
        }
        for stage, spent in busy.items()
        if stage in workers
    }
    busiest = max(stages, key=lambda stage: stages[stage]["share"], default=None)
    return {"seconds": round(seconds, 3), "stages": stages, "busiest": busiest}
