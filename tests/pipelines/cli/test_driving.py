"""What `run` and `enrich` share: how they are stopped, what they print, and where."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import ROOT

MEDSPAN = [sys.executable, "-c", "from pipelines.cli import main; main()"]


def _pipeline(folder: Path, documents: int) -> Path:
    text = "Metformin 500 mg twice daily for type 2 diabetes. " * 40
    rows = (json.dumps({"text": f"{text}{i}"}) for i in range(documents))
    (folder / "notes.jsonl").write_text("\n".join(rows))
    path = folder / "p.yaml"
    path.write_text(
        "name: p\nsource: {path: notes.jsonl, unit_rows: 2}\nsink: {path: out}\n"
        "steps: [{model: 'starter:token-classifier'}]\n"
    )
    return path


@pytest.mark.ray
@pytest.mark.weights
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("command", "advice"), [("run", "--resume"), ("enrich", "medspan enrich")])
def test_sigterm_ends_it_as_ctrl_c_does(tmp_path: Path, command: str, advice: str) -> None:
    path = _pipeline(tmp_path, 400)
    process = subprocess.Popen(
        [*MEDSPAN, command, str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        while not list((tmp_path / "out").glob("documents/**/*.parquet")):
            assert process.poll() is None, process.stdout and process.stdout.read()
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 1, said
    assert "Interrupted. Finished units are kept; nothing is committed." in said
    assert advice in said
    assert "Traceback" not in said
    assert not list((tmp_path / "out/_leases").glob("*.json"))


def test_stdout_holds_one_document_whatever_is_printed_below() -> None:
    code = (
        "import os, json\n"
        "from pipelines.cli.run_display import stdout_to_stderr\n"
        "with stdout_to_stderr(True):\n"
        "    print('by python'); os.write(1, b'by C++\\n'); os.system('echo by a child')\n"
        "print(json.dumps({'run': 1}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {"run": 1}
    assert {"by python", "by C++", "by a child"} <= set(done.stderr.splitlines())


def test_messages_keep_their_brackets() -> None:
    done = subprocess.run(
        [*MEDSPAN, "run", "no [2024] pipeline.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
    )
    assert done.returncode == 2
    assert "no [2024] pipeline.yaml" in done.stderr
