"""A run without Ray: the same reading, step and writing, one unit after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from pipelines.batch import run
from pipelines.batch.finish import write_unit
from pipelines.batch.graph import ReadTaskBody, read_work, write_work
from pipelines.batch.step import Load, StepActor, StepWork
from pipelines.config import LoadedPipeline, Pool
from pipelines.lake.units import Unit
from pipelines.runs.carry import StoredUnit
from pipelines.runs.plan import RunPlan


@pytest.fixture
def _without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch.setattr)


def without_ray(setattr_: Callable[[object, str, object], None]) -> None:
    """Put this module's way of doing units in the place of Ray's."""

    def pools(loaded: LoadedPipeline) -> list[Pool]:
        return [step.pool for step in loaded.pipeline.steps]

    def rows(found: Generator[dict[str, Any], None, None]) -> Generator[dict[str, Any], None, None]:
        return found

    setattr_(run, "placed_pools", pools)
    setattr_(run, "fitted", lambda loaded: loaded)
    setattr_(run, "build", _build)
    setattr_(run, "patiently", rows)


def _build(
    run_id: str,
    loaded: LoadedPipeline,
    pools: Sequence[Pool],
    units: Sequence[Unit],
    plan: RunPlan,
    prior: Mapping[str, tuple[StoredUnit, ...]],
    load: Load,
) -> Generator[dict[str, Any], None, None]:
    pipeline = loaded.pipeline
    work = read_work(loaded, plan, prior)
    (model,) = loaded.models
    spec = StepWork(0, model, pipeline.sink.path, run_id, pipeline.most_tries, load)

    async def through(blocks: list[pa.Table]) -> list[pa.Table]:
        actor = StepActor(spec, 1, 0.0, pipeline.storage)
        return [await actor(block) for block in blocks]

    for block in asyncio.run(through(list(ReadTaskBody(units, work.of(units))()))):
        yield write_unit(block, write_work(run_id, loaded)).to_pylist()[0]
