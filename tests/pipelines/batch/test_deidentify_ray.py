"""De-identification on a real Ray: the key reaches the workers of a Ray that medspan starts, and
pages are covered and read again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import PATHS, TWO_CORES
from support.deidentify import SECRET, counterparts
from support.images import encoded, written
from support.lake import Quiet
from support.pdf_pages import PdfPage

from actors.pages import page_format
from pipelines.batch.run import begin_run, drive_run
from pipelines.config import load_pipeline
from pipelines.deidentification import KEY
from pipelines.ray_cluster import cluster
from pipelines.runs.store import RunStore
from pipelines.source.units import plan_source

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


PAGES = """
name: scans
source: {path: scans/}
ocr: {model: "starter:ocr", pool: {num_cpus: 0.4}}
steps: [{model: "starter:token-classifier", pool: {num_cpus: 0.4}}]
deidentify: {preset: strict, pages: true}
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


def test_pages_of_a_run_are_covered_and_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans/smith.png").write_bytes(encoded(written("Mr. Smith: metformin", 640)))
    lines = ["Patient: John Smith, MRN 4471120.", "Seen on 3 March 2021.", "Metformin 500 mg."]
    letter = PdfPage((420, 200)).text(lines, 30, 150, 14)
    letter.annotation("FreeText", (30, 20, 200, 40), "/Contents(Mr. Smith)/DA(/Helv 12 Tf 0 g)")
    (tmp_path / "scans/letter.pdf").write_bytes(letter.save())
    (tmp_path / "pipeline.yaml").write_text(PAGES)
    monkeypatch.setenv(KEY, SECRET.decode())
    # Four stages with actors want four cores; here they may share two.
    monkeypatch.setattr("pipelines.capacity.placement.check_threads", lambda *_: None)
    loaded = load_pipeline(tmp_path / "pipeline.yaml")
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    store = RunStore(loaded.pipeline.sink.path)
    with cluster():
        outcome = drive_run(store, run_id, Quiet())
    assert dict(outcome.tally.deidentified) == {"ok": 2}
    assert outcome.tally.busy["ocr (second look)"] > 0
    found = counterparts(store)
    assert {"[NAME]" in row["text"] for row in found.values()} == {True}
    kinds = set()
    for row in found.values():
        content = store.folder.read(f"deidentified/{row['page_file']}")
        assert content is not None
        assert b"Smith" not in content
        kinds.add(page_format(content))
    assert kinds == {"png", "pdf"}
