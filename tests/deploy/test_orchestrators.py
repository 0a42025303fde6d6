"""The examples for orchestrators, executed by the orchestrators themselves.

Each is big and pins much, so it is looked for in this environment, or in the one of the interpreter
that a variable names, such as MEDSPAN_TEST_DAGSTER=/srv/venvs/dagster/bin/python.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import ROOT
from support.lake import rows_of, write_rows

EXAMPLES = ROOT / "configs/deploy/orchestrators"
FILES = {
    "airflow": "airflow_dag.py",
    "dagster": "dagster_assets.py",
    "prefect": "prefect_flow.py",
}
# A stand-in for the command: it counts its calls and ends as it is told to.
SCRIPTED = """#!/bin/sh
echo "$*" >> "{calls}"
printf '{{"run_id": "r1", "counts": {{"documents": {{"ok": 3}}, "entities": {{}}}}}}\\n'
exit {code}
"""
REAL = """#!/bin/sh
PYTHONPATH="{root}" exec "{python}" -c "from pipelines.cli import main; main()" "$@"
"""
Execute = Callable[[Path, Path], "subprocess.CompletedProcess[str]"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(params=FILES)
def execute(request: pytest.FixtureRequest, tmp_path: Path) -> Execute:
    """Executes an example once, with a command and a pipeline file."""
    name = request.param
    python = os.environ.get(f"MEDSPAN_TEST_{name.upper()}")
    if python is None:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed, and MEDSPAN_TEST_{name.upper()} names none")
        python = sys.executable
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
    }
    if name == "airflow":
        airflow = [str(Path(python).parent / "airflow"), "db", "migrate"]
        subprocess.run(airflow, env=environment, check=True, capture_output=True)

    def executed(command: Path, pipeline: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, str(EXAMPLES / FILES[name])],
            env=environment | {"MEDSPAN": str(command), "MEDSPAN_PIPELINE": str(pipeline)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    return executed


def script(path: Path, content: str, **values: object) -> Path:
    path.write_text(content.format(**values))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("code", [0, 2, 3])
def test_codes_that_need_a_person_are_not_tried_again(
    execute: Execute, tmp_path: Path, code: int
) -> None:
    calls = tmp_path / "calls"
    command = script(tmp_path / "medspan", SCRIPTED, calls=calls, code=code)
    done = execute(command, tmp_path / "lake.yaml")
    assert (done.returncode == 0) == (code == 0), done.stdout
    assert calls.read_text().splitlines() == [f"enrich {tmp_path / 'lake.yaml'} --json"]


@pytest.mark.ray
@pytest.mark.weights
def test_a_pass_of_the_real_command(execute: Execute, tmp_path: Path) -> None:
    write_rows(tmp_path / "in/a.jsonl", ["a", "b"])
    pipeline = tmp_path / "lake.yaml"
    pipeline.write_text(
        f"name: p\nsource: {{path: '{tmp_path}/in', id: id}}\nsink: {{path: '{tmp_path}/out'}}\n"
        "steps: [{model: 'starter:token-classifier'}]\n"
    )
    command = script(tmp_path / "medspan", REAL, root=ROOT, python=sys.executable)
    done = execute(command, pipeline)
    assert done.returncode == 0, done.stdout
    assert rows_of(str(tmp_path / "out")).keys() == {"a", "b"}
