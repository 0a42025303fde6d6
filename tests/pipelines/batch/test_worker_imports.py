"""Imports of a Ray worker that runs a unit: each worker pays for them when a run starts."""

from __future__ import annotations

import subprocess
import sys


def test_workers_import_nothing_of_the_driver() -> None:
    code = (
        "import sys, pipelines.batch.graph\n"
        "driver = ('pipelines.batch.run', 'pipelines.runs.store', 'pipelines.cli', 'duckdb')\n"
        "print([name for name in driver if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
