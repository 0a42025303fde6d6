"""Batch processing: units of a lake pass through actor pools into committed tables.

``graph`` builds the Ray Data pipeline, ``stage`` is the actor that holds a model, ``finish`` merges
and writes units, ``run`` drives, counts and commits; ``describe`` implements the dry run.
"""

from __future__ import annotations

from actors.extras import optional_imports

with optional_imports("batch processing"):
    from pipelines.batch.run import (
        DriftError,
        Outcome,
        Progress,
        RunFailedError,
        begin_run,
        drive_run,
        write_plan,
    )

__all__ = [
    "DriftError",
    "Outcome",
    "Progress",
    "RunFailedError",
    "begin_run",
    "drive_run",
    "write_plan",
]
