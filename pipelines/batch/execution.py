"""How the units of a run are done: on Ray, or by whatever a test puts in its place."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

from pipelines.batch.cluster import fitted, placed
from pipelines.batch.graph import RunWork, build
from pipelines.batch.patience import patiently
from pipelines.config import LoadedPipeline


class Execution(Protocol):
    """Where a run's units are done."""

    def place(self, loaded: LoadedPipeline) -> LoadedPipeline:
        """The pipeline with pools that fit there; raises ConfigError where none do."""

    def rows(self, work: RunWork) -> Generator[dict[str, Any], None, None]:
        """A row for every unit done, in any order: ``unit``, ``tally`` and ``error``."""


class OnRay:
    """The connected Ray."""

    def place(self, loaded: LoadedPipeline) -> LoadedPipeline:
        """As Execution.place."""
        return placed(fitted(loaded))

    def rows(self, work: RunWork) -> Generator[dict[str, Any], None, None]:
        """As Execution.rows; raises StalledError where nothing moves for too long."""
        return patiently(build(work))
