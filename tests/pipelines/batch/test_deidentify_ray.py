"""De-identification on a real Ray: the key reaches the workers of a Ray that medspan starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import PATHS, TWO_CORES
from support.deidentify import SECRET, counterparts

from pipelines.deidentification import KEY
from pipelines.runs.store import RunStore

pytestmark = [TWO_CORES, pytest.mark.ray, pytest.mark.weights, pytest.mark.timeout(290)]
PIPELINE = """
name: clinic
source: {path: notes/, id: id, extra_columns: [pid, name]}
steps: [{model: "starter:token-classifier"}]
deidentify:
  policies: {NAME: surrogate, DATE: shift}
  patient_column: pid
  name_columns: [name]
sink: {path: out/}
"""


def test_a_run_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    rows = (
        {"id": f"n{i}", "pid": i % 2, "name": "Kim Baxter", "text": f"BAXTER, K.: metformin {i} mg"}
        for i in range(6)
    )
    (tmp_path / "notes/a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    code = "from pipelines.cli import main; main()"
    command = [sys.executable, "-c", code, "run", str(tmp_path / "pipeline.yaml")]
    environment = {**os.environ, "PYTHONPATH": PATHS, KEY: SECRET.decode()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "de-identified: 6 ok, 0 residue, 0 failed" in done.stdout
    found = counterparts(RunStore(str(tmp_path / "out")))
    assert len({row["text"].partition(":")[0] for row in found.values()}) == 2
    for row in found.values():
        assert "BAXTER" not in row["text"]
        assert [entity["label"] for entity in row["entities"] if entity["text"] == "metformin"]
