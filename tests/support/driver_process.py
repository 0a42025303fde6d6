"""A driver in a process of its own, that is killed or stopped at a chosen moment of its commit.

``python -m support.driver_process JSON``: ``source``, ``sink``; ``resume``: a run, else a
pass of enrichment; ``table`` and ``when`` (before, after): where the process sends itself
``signal``;
``lease``: seconds that its leases last; ``deidentify``: that section of the pipeline. Prints the
run's id, or the error.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from support import PATHS


@contextmanager
def driver(source: Path, sink: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """The running process."""
    work = json.dumps({"source": str(source), "sink": sink, **more})
    command = [sys.executable, "-m", "support.driver_process", work]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": PATHS},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:  # waits, and closes the pipe
        try:
            yield process
        finally:
            process.kill()


def until_stopped(process: subprocess.Popen[str]) -> None:
    """Wait until a process has stopped itself."""
    stat = Path(f"/proc/{process.pid}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] != "T":
        assert process.poll() is None, "it ended before it stopped"
        time.sleep(0.05)


def main() -> None:
    """Do what ``sys.argv[1]`` says."""
    from pipelines.batch.run import RunFailedError, drive_run
    from pipelines.enrich import enrich_once
    from pipelines.runs.lease import Lease
    from pipelines.runs.store import RunStore
    from pipelines.tables.delta_table import TableVersion
    from pipelines.tables.folder import RunError
    from support.lake import Quiet, hashing, pipeline
    from support.without_ray import without_ray

    work = json.loads(sys.argv[1])
    without_ray(setattr)
    Lease.__init__.__defaults__ = (work.get("lease", 60.0),)
    real = TableVersion.commit

    def commit(table: TableVersion, *rest: Any) -> None:
        here = table.name == work.get("table")
        number = getattr(signal, work.get("signal", "SIGKILL"))
        if here and work["when"] == "before":
            os.kill(os.getpid(), number)
        real(table, *rest)
        if here and work["when"] == "after":
            os.kill(os.getpid(), number)

    setattr(TableVersion, "commit", commit)  # noqa: B010
    loaded = pipeline(work["source"], work["sink"], deidentify=work.get("deidentify"))
    try:
        if "resume" in work:
            print(drive_run(RunStore(work["sink"]), work["resume"], Quiet(), hashing()).run_id)
            return
        done = enrich_once(loaded, Quiet(), nullcontext(), hashing())
        print(done.outcome.run_id if done.outcome else "nothing")
    except (RunError, RunFailedError) as error:
        print(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
