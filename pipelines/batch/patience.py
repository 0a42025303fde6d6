"""The rows of a dataset as they come, waited for no longer than is sensible."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from ray.data import Dataset
from ray.data.exceptions import ExecutionTimeoutError


class StalledError(RuntimeError):
    """Nothing happened for too long."""


def patiently(dataset: Dataset) -> Generator[dict[str, Any], None, None]:
    """The rows of a dataset. Raises StalledError where nothing moved for as long as its context
    says: Ray waits for ever for an actor that cannot be placed or dies again and again.

    Iterate in the thread that owns the connection to Ray, and close the generator before that
    connection ends. An execution that outlives it starts a Ray of its own by the next call it
    makes, and a client of the dead cluster ends the whole process after a minute (exit code 1).
    """
    try:
        yield from dataset.iter_rows()
    except ExecutionTimeoutError:
        minutes = dataset.context.execution_no_progress_timeout_s / 60
        raise StalledError(
            f"no unit was done for {minutes:g} minutes; is every actor of the cluster alive, and "
            "can it load its model?"
        ) from None
