"""A run without Ray: the same reading, stages and writing, one unit after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any

import pyarrow as pa
import pytest

from pipelines.batch import run
from pipelines.batch.finish import release_unit, write_unit
from pipelines.batch.graph import ReadTaskBody, RunWork, actor_of
from pipelines.batch.stage_actor import StageWork
from pipelines.config import LoadedPipeline


class InProcess:
    """An Execution in this process."""

    def place(self, loaded: LoadedPipeline) -> LoadedPipeline:
        return loaded

    def rows(self, work: RunWork) -> Generator[dict[str, Any], None, None]:
        blocks = list(ReadTaskBody(work.units, work.reading.of(work.units))())
        released = False
        for stage in work.stages:
            if stage.stage.second_look and not released:
                blocks = [release_unit(b, work.loaded, work.plan.key_check) for b in blocks]
                released = True
            blocks = asyncio.run(_through(stage, blocks))
        for block in blocks:
            written = write_unit(
                block, work.loaded, work.run_id, work.plan.key_check, run_span=work.span
            )
            yield written.to_pylist()[0]


async def _through(stage: StageWork, blocks: list[pa.Table]) -> list[pa.Table]:
    actor = actor_of(stage.stage)(stage)
    return [await actor(block) for block in blocks]


@pytest.fixture
def _without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch.setattr)


def without_ray(setattr_: Callable[[object, str, object], None]) -> None:
    """Put this module's way of doing units in the place of Ray's."""
    setattr_(run, "OnRay", InProcess)
