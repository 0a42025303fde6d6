"""A job on a started cluster, as ``ray job submit`` sends it: with a token, and not without."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
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


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A cluster with token authentication: its dashboard's address, and the environment that may
    talk to it."""
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
        yield f"http://127.0.0.1:{dashboard}", environment
    finally:
        head.terminate()
        head.wait(60)


def test_a_submitted_job_reads_the_lake_and_commits(
    cluster: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    address, environment = cluster
    write_rows(tmp_path / "in/a.jsonl", [f"d{i}" for i in range(12)])
    pipeline = {
        "name": "job",
        "source": {"path": str(tmp_path / "in"), "id": "id", "unit_rows": 4},
        "steps": [{"model": "starter:token-classifier", "pool": {"num_cpus": 1}}],
        "sink": {"path": str(tmp_path / "out")},
    }
    (tmp_path / "job").mkdir()
    (tmp_path / "job/pipeline.yaml").write_text(yaml.safe_dump(pipeline))
    command = [
        *(RAY, "job", "submit", f"--address={address}", f"--working-dir={tmp_path / 'job'}", "--"),
        *("medspan", "enrich", "pipeline.yaml"),
    ]
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
