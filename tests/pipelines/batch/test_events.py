"""Workers log numbers and ids, never a word of a document."""

from __future__ import annotations

import json
import logging
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from support.lake import FAILING, Quiet, hashing, pipeline
from support.without_ray import _without_ray  # noqa: F401

from pipelines.batch.run import begin_run, drive_run
from pipelines.ray_cluster import cluster
from pipelines.runs.store import RunStore
from pipelines.source.units import plan_source
from pipelines.worker import events

SECRET = "Nguyễn-Văn-An"


def _lake(folder: Path) -> str:
    texts = [f"{SECRET} note {i}" for i in range(12)]
    texts[3] += FAILING
    rows = [json.dumps({"id": f"d{i}", "text": text}) for i, text in enumerate(texts)]
    (folder / "in.jsonl").write_text("\n".join(rows))
    return str(folder / "in.jsonl")


@pytest.fixture
def _own_handler() -> None:
    """The worker's logger holds the stderr of the test that used it first: begin anew."""
    logging.getLogger("medspan.worker").handlers.clear()
    events._logger.cache_clear()


@pytest.mark.usefixtures("_without_ray", "_own_handler")
def test_lines_are_json_with_ids_and_without_text(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    loaded = pipeline(_lake(tmp_path), str(tmp_path / "out"))
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    outcome = drive_run(RunStore(loaded.pipeline.sink.path), run_id, Quiet(), hashing())
    written = capfd.readouterr().err
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    assert {line["event"] for line in lines} >= {"model loaded", "unit written"}
    assert {line["run"] for line in lines} == {run_id}
    assert sum(line.get("failed", 0) for line in lines) == 1
    logs = "".join(log.read_text() for log in tmp_path.rglob("_delta_log/*.json"))
    told = written + json.dumps(outcome.marker) + logs
    assert SECRET not in told
    assert SECRET.split("-")[0] not in told
    timing = outcome.marker["timing"]
    assert set(timing["stages"]) == {"read", "write", "starter-token-classifier"}
    assert timing["busiest"] in timing["stages"]


@pytest.fixture
def _ray() -> Iterator[None]:
    with cluster():
        yield


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_the_metrics_are_where_prometheus_looks(tmp_path: Path) -> None:
    loaded = pipeline(_lake(tmp_path), str(tmp_path / "out"))
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    drive_run(RunStore(loaded.pipeline.sink.path), run_id, Quiet(), hashing())
    port = ray.nodes()[0]["MetricsExportPort"]
    wanted = (
        "ray_medspan_documents_total{",
        "ray_medspan_failures_total{",
        "ray_medspan_entities_total{",
        "ray_medspan_tokens_total{",
        "ray_medspan_batch_documents_bucket{",
        "ray_medspan_model_seconds_bucket{",
    )
    found = ""
    for _ in range(30):
        time.sleep(2)  # Ray hands them on every few seconds
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            found = answer.read().decode()
        if all(name in found for name in wanted):
            break
    assert [name for name in wanted if name not in found] == []
    assert SECRET not in found
