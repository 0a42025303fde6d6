"""Iterate over a dataset with a stall timeout."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from ray.data import Dataset
from ray.data.exceptions import ExecutionTimeoutError


class StalledError(RuntimeError):
    """The run made no progress for too long."""


def rows_until_stalled(dataset: Dataset) -> Generator[dict[str, Any], None, None]:
    """Yield the rows of a dataset. Raises StalledError after the no-progress timeout of its
    context: Ray waits forever for an actor that cannot be placed or keeps crashing.

    Iterate in the thread that owns the connection to Ray, and close the generator before the
    connection. An execution that outlives the connection starts a new Ray with its next call, and a
    client of the dead cluster kills the whole process after a minute (exit code 1).
    """
    try:
        yield from dataset.iter_rows()
    except ExecutionTimeoutError:
        minutes = dataset.context.execution_no_progress_timeout_s / 60
        raise StalledError(
            f"no unit finished for {minutes:g} minutes; check that all actors are alive and can "
            "load their models"
        ) from None
