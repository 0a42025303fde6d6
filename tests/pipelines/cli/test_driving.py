"""`run` and `enrich`: stopping them, their output, and its stream."""

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


@pytest.mark.ray
@pytest.mark.weights
@pytest.mark.timeout(600)
def test_drift_ends_a_pass_with_a_code_of_its_own(tmp_path: Path) -> None:
    def write(name: str, text: str) -> None:
        rows = (json.dumps({"text": f"{text} {i}."}) for i in range(40))
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text("\n".join(rows))

    def enrich(code: int, *options: str) -> str:
        command = [*MEDSPAN, "enrich", str(path), "--json", *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout

    path = _pipeline(tmp_path, 1)
    path.write_text(path.read_text().replace("notes.jsonl, unit_rows: 2", "in, unit_rows: 20"))
    with path.open("a") as file:
        file.write("enrich: {max_drift: 0.2}\n")
    write("a.jsonl", "The patient was given metformin for type 2 diabetes")
    first = json.loads(enrich(0))
    write("b.jsonl", "Bệnh nhân nhập viện vì đau ngực và khó thở, không dùng thuốc")
    refused = json.loads(enrich(3))
    assert refused["committed"] is False
    assert ("language", "vi") in {(one["group"], one["name"]) for one in refused["drift"]}
    accepted = json.loads(enrich(0, "--max-drift", "1"))
    assert accepted["run_id"] == refused["run_id"] != first["run_id"]


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
