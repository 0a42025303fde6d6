"""OpenLineage events, written to a file and sent to a server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.lake import store_rows
from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.runs.plan import RunPlan
from pipelines.runs.store import RunStore
from pipelines.storage import StoreError

pytest.importorskip("openlineage")

FACTS = {"name": "clinic", "started_at": "2026-03-01T12:00:00+00:00"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    for name in ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    store = RunStore(str(tmp_path / "out"))
    for run, ids in (("r1", ["a", "b"]), ("r2", ["c"])):
        store.begin(run, RunPlan("{}", (), pa.schema([])))
        store_rows(store, run, {f"{run}.jsonl": ids}, facts=FACTS)
    return store


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that keeps what is posted to it."""
    received: list[dict[str, Any]] = []

    class Keep(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(json.loads(body) | {"path": self.path})
            self.send_response(400 if self.path == "/refuse" else 201)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Keep) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", received
        listening.shutdown()
        thread.join()


def test_events_have_versions_of_files_and_tables(store: RunStore, tmp_path: Path) -> None:
    out = tmp_path / "events.jsonl"
    words = ["runs", "lineage", store.path, "r1", "--out", str(out)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    start, complete = map(json.loads, out.read_text().splitlines())
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == complete["run"]["runId"]
    assert complete["job"]["name"] == "clinic"
    (file,) = complete["inputs"]
    assert (file["namespace"], file["name"]) == ("file", "/r1.jsonl")
    assert file["facets"]["version"]["datasetVersion"] == "v"
    documents, entities, relations = complete["outputs"]
    assert documents["name"] == f"{store.path}/documents"
    assert documents["outputFacets"]["outputStatistics"]["rowCount"] == 2
    assert entities["outputFacets"]["outputStatistics"]["rowCount"] == 2
    versions = {
        one["name"]: one["facets"]["version"]["datasetVersion"] for one in complete["outputs"]
    }
    later = store.snapshot("r2").table("documents").version
    assert int(versions[documents["name"]]) < later
    assert "outputStatistics" not in relations.get("outputFacets", {})
    assert "note a" not in out.read_text()


def test_events_are_sent_where_openlineage_is_configured(
    store: RunStore,
    server: tuple[str, list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = CliRunner().invoke(app, ["runs", "lineage", store.path, "r1"])
    assert refused.exit_code == 2
    assert "set OPENLINEAGE_URL, or pass --out" in refused.output
    url, received = server
    monkeypatch.setenv("OPENLINEAGE_URL", url)
    done = CliRunner().invoke(app, ["runs", "lineage", store.path, "r2"])
    assert done.exit_code == 0, done.output
    assert [one["eventType"] for one in received] == ["START", "COMPLETE"]
    assert {one["path"] for one in received} == {"/api/v1/lineage"}
    monkeypatch.setenv("OPENLINEAGE_ENDPOINT", "refuse")
    refused = CliRunner().invoke(app, ["runs", "lineage", store.path, "r2"])
    assert isinstance(refused.exception, StoreError)
