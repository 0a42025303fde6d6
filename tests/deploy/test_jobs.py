"""A job on a started cluster, as ``ray job submit`` sends it: with a token, and not without."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from support.lake import rows_of, write_rows

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.weights, pytest.mark.timeout(600)]
RAY = str(Path(sys.executable).parent / "ray")


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Cluster:
    """The addresses of its dashboard and of Ray, and the environment that may talk to it."""

    dashboard: str
    address: str
    environment: dict[str, str]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster with token authentication."""
    token = tmp_path / "token"
    token.write_text("a-token-of-the-test-and-of-nothing-else")
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    environment.pop("RAY_ADDRESS", None)
    port, dashboard = _free(), _free()
    head = subprocess.Popen(
        [
            *(RAY, "start", "--head", "--block", "--num-cpus=2"),
            f"--port={port}",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={dashboard}",
            f"--temp-dir=/tmp/ray-jobs-{os.getpid()}",
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Cluster(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{port}", environment)
    finally:
        head.terminate()
        head.wait(60)


def _pipeline(folder: Path) -> Path:
    """The file of a pipeline over twelve documents in three units."""
    write_rows(folder / "in/a.jsonl", [f"d{i}" for i in range(12)])
    pipeline = {
        "name": "job",
        "source": {"path": str(folder / "in"), "id": "id", "unit_rows": 4},
        "steps": [{"model": "starter:token-classifier", "pool": {"num_cpus": 1}}],
        "sink": {"path": str(folder / "out")},
    }
    path = folder / "job/pipeline.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(pipeline))
    return path


def test_json_of_a_run_on_a_joined_cluster_is_all_that_stdout_has(
    cluster: Cluster, tmp_path: Path
) -> None:
    command = ["medspan", "run", str(_pipeline(tmp_path)), "--json"]
    environment = {**cluster.environment, "RAY_ADDRESS": cluster.address}
    for _ in range(30):  # until the cluster is up
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        if "no Ray cluster answers" not in done.stderr:
            break
        time.sleep(3)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["counts"]["documents"] == {"ok": 12}


def test_a_submitted_job_reads_the_lake_and_commits(cluster: Cluster, tmp_path: Path) -> None:
    environment = cluster.environment
    _pipeline(tmp_path)
    submit = f"--address={cluster.dashboard}", f"--working-dir={tmp_path / 'job'}"
    command = [RAY, "job", "submit", *submit, "--", "medspan", "enrich", "pipeline.yaml"]
    done = None
    for _ in range(30):  # until the cluster is up
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        if "succeeded" in done.stdout or "Submitted" in done.stdout + done.stderr:
            break
        time.sleep(3)
    assert done is not None
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    rows = rows_of(str(tmp_path / "out"))
    assert len(rows) == 12
    assert {row[0] for row in rows.values()} == {"ok"}
    stranger = {**environment, "RAY_AUTH_MODE": "disabled"}
    refused = subprocess.run(command, env=stranger, capture_output=True, text=True, timeout=300)
    assert refused.returncode != 0
    assert "oken" in refused.stdout + refused.stderr
