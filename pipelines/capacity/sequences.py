"""Sequences of a language model that the documents in flight cannot fill."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from pipelines.stages import Stage

log = logging.getLogger(__name__)


def warn_of_idle_sequences(stages: Iterable[Stage], unit_rows: Sequence[int]) -> None:
    """Log a warning for each model with more sequences than an actor gets documents.

    ``unit_rows``: the rows of each unit of the run. An actor has ``pool.units_in_flight`` units at
    a time. A document may fill more than one sequence if it is longer than a window, so the warning
    is about documents of one window.
    """
    largest = max(unit_rows, default=0)
    for stage in stages:
        units = 0 if stage.pool is None else stage.pool.units_in_flight
        if units * largest < stage.sequences <= sum(unit_rows):
            log.warning(
                "%s: %d units of at most %d documents are in flight per actor, fewer than its %d "
                "sequences; raise source.unit_rows (unit_images for pictures) or "
                "pool.units_in_flight",
                stage.name,
                units,
                largest,
                stage.sequences,
            )
