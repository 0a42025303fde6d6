"""The batch way: units of a lake through pools of actors, into committed tables.

``cluster`` joins or starts Ray, ``graph`` is the Ray Data plan, ``step`` the actor that holds a
model, ``finish`` merges and writes, ``run`` drives, counts, and commits; ``describe`` tells what
a run would do.
"""

from __future__ import annotations

from actors.extras import optional_imports

with optional_imports("the batch way"):
    from pipelines.batch.run import (
        Outcome,
        Progress,
        RunFailedError,
        begin_run,
        drive_run,
        write_plan,
    )

__all__ = ["Outcome", "Progress", "RunFailedError", "begin_run", "drive_run", "write_plan"]
