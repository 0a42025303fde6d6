"""A run without Ray: the same reading, step and writing, one unit after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from pipelines.batch import run
from pipelines.batch.finish import write_unit
from pipelines.batch.graph import ReadTaskBody, read_work
from pipelines.batch.step import Load, StepActor, StepWork
from pipelines.config import LoadedPipeline, Pool
from pipelines.lake.carry import Place
from pipelines.lake.plan import Plan
from pipelines.lake.units import Unit


@pytest.fixture
def _without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def pools(loaded: LoadedPipeline) -> list[Pool]:
        return [step.pool for step in loaded.pipeline.steps]

    def rows(found: Generator[dict[str, Any], None, None]) -> Generator[dict[str, Any], None, None]:
        return found

    monkeypatch.setattr(run, "placed_pools", pools)
    monkeypatch.setattr(run, "fitted", lambda loaded: loaded)
    monkeypatch.setattr(run, "build", _build)
    monkeypatch.setattr(run, "patiently", rows)


def _build(
    run_id: str,
    loaded: LoadedPipeline,
    pools: Sequence[Pool],
    units: Sequence[Unit],
    plan: Plan,
    prior: Mapping[str, tuple[Place, ...]],
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
        done = write_unit(
            block, pipeline.storage, pipeline.sink.path, run_id, "test", 1, pipeline.merge
        )
        yield done.to_pylist()[0]
