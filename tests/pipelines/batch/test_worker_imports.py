"""What a Ray worker imports to run a unit: each of them pays for it when a run starts."""

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
