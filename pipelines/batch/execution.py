"""Execution of a run's units: on Ray, or by a test double."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Protocol

from pipelines.batch.graph import RunWork, build_dataset
from pipelines.batch.one_node import on_one_node
from pipelines.batch.stall import rows_until_stalled
from pipelines.capacity.placement import place, resolve_gpus
from pipelines.config import LoadedPipeline
from pipelines.ray_cluster import is_private


class Execution(Protocol):
    """Executes the units of a run."""

    def place(self, loaded: LoadedPipeline) -> LoadedPipeline:
        """The pipeline with pools that fit the machines; raises ConfigError if they cannot."""

    def rows(self, work: RunWork) -> Generator[dict[str, Any], None, None]:
        """Yield a row per finished unit, in any order: ``unit``, ``tally`` and ``error``."""


class OnRay:
    """Executes units on the connected Ray cluster."""

    def place(self, loaded: LoadedPipeline) -> LoadedPipeline:
        """As Execution.place."""
        timeout_s = loaded.pipeline.cluster_timeout_s
        stages = resolve_gpus(loaded.stages, timeout_s)
        return replace(loaded, stages=place(stages, timeout_s=timeout_s))

    def rows(self, work: RunWork) -> Generator[dict[str, Any], None, None]:
        """As Execution.rows; raises StalledError if no unit finishes for too long."""
        with on_one_node() if is_private() else nullcontext():
            yield from rows_until_stalled(build_dataset(work))
