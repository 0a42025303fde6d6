"""OpenTelemetry traces of requests and runs, and that none holds a word of a document."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.collector import Collector, collector
from support.enrich import Lake
from support.serve import MODEL, FakeExtractor, make_app
from support.without_ray import _without_ray  # noqa: F401

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel")

from starlette.testclient import TestClient

from actors.spans import Document, Extraction
from pipelines.config.traces import Traces
from pipelines.serve.replicas.ingress import HostedModels
from pipelines.worker.traces import Tracer

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
NOTE = "Metformin against diabetes"


@pytest.fixture(scope="module")
def found() -> Iterator[Collector]:
    with collector() as made:
        yield made


@pytest.fixture
def client(tmp_path: Path, found: Collector) -> TestClient:
    found.spans.clear()
    found.bodies.clear()
    app = make_app(tmp_path, fake=FakeExtractor(), more=f"\ntraces: {{endpoint: '{found.url}'}}")
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


def ask(client: TestClient, path: str = "/v1/extract", **headers: str) -> int:
    answer = client.post(path, json={"text": NOTE}, headers=headers)
    return answer.status_code


def test_a_request_continues_the_trace_of_its_caller(client: TestClient, found: Collector) -> None:
    assert ask(client, traceparent=f"00-{TRACE}-{CALLER}-01") == 200
    (span,) = found.named("POST /v1/extract")
    assert (span.trace, span.parent) == (TRACE, CALLER)
    assert span.attributes["http.route"] == "/v1/extract"
    assert span.attributes["http.request.method"] == "POST"
    assert span.attributes["medspan.request_id"]


def test_unsampled_trace_is_not_exported(client: TestClient, found: Collector) -> None:
    ask(client, traceparent=f"00-{TRACE}-{CALLER}-00")
    ask(client)
    (span,) = found.named("POST /v1/extract")
    assert span.trace != TRACE


def test_no_span_holds_text_or_paths_of_documents(client: TestClient, found: Collector) -> None:
    client.post("/v1/extract", json={"text": NOTE})
    client.get("/v1/diabetes/of-mr-smith?name=smith")
    client.post("/v1/extract", content=b"{diabetes", headers={"content-type": "application/json"})
    found.named("GET unknown")
    statuses = {s.attributes["http.response.status_code"] for s in found.named("POST /v1/extract")}
    assert statuses == {200, 400}
    sent = b"".join(found.bodies).lower()
    for word in (b"metformin", b"diabetes", b"smith"):
        assert word not in sent


def test_without_the_section_there_is_nothing(tmp_path: Path, found: Collector) -> None:
    found.spans.clear()
    client = TestClient(make_app(tmp_path, fake=FakeExtractor()), base_url="http://127.0.0.1")
    assert client.post("/v1/extract", json={"text": NOTE}).status_code == 200
    with Tracer(None).span("request") as span:
        span.set(documents=1)
        assert span.context == {}
    Tracer(Traces(endpoint=found.url)).flush()
    assert found.spans == []


class Handle:
    """A handle of a deployment that notes the arguments of its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def options(self, **_: Any) -> Handle:
        return self

    def __getattr__(self, name: str) -> Handle:
        return self

    def remote(self, *arguments: Any) -> Any:
        self.calls.append(arguments)
        return Answer(arguments)


class Answer:
    """Can be awaited, and iterated over."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self._found = [Extraction(one.id, MODEL, "f") for one in arguments[0]]

    def __await__(self) -> Generator[None, None, list[Extraction]]:
        yield from ()
        return self._found

    async def __aiter__(self) -> AsyncGenerator[Any]:
        yield list(enumerate(self._found))

    def cancel(self) -> None:
        """Nothing to cancel."""


@pytest.mark.parametrize("how", ["extract", "stream"])
def test_a_replica_is_given_the_trace_of_the_request(found: Collector, how: str) -> None:
    found.spans.clear()
    handle, traces = Handle(), Traces(endpoint=found.url)
    models = HostedModels({MODEL: handle}, traces)
    document = Document("d", NOTE)
    tracer = Tracer(traces)

    async def request() -> None:
        with tracer.span("request"):
            if how == "extract":
                await models.extract(MODEL, [document])
            else:
                async for _ in models.stream(MODEL, [document]):
                    pass

    asyncio.run(request())
    tracer.flush()
    (above,), (asked,) = found.named("request"), found.named("ask")
    assert (asked.trace, asked.parent) == (above.trace, above.id)
    assert asked.attributes == {"medspan.model": MODEL, "medspan.documents": 1}
    context = handle.calls[0][2]
    assert context["traceparent"].split("-")[1:3] == [asked.trace, asked.id]
    # What the replica does with it.
    with tracer.span("replica", context, "server"), tracer.span("model"):
        pass
    tracer.flush()
    (replica,), (model,) = found.named("replica"), found.named("model")
    assert (replica.trace, replica.parent, model.parent) == (asked.trace, asked.id, replica.id)


def test_an_error_has_its_type_and_no_message(found: Collector) -> None:
    found.spans.clear()
    tracer = Tracer(Traces(endpoint=found.url))
    with pytest.raises(ValueError, match="diabetes"), tracer.span("fails"):
        raise ValueError("of diabetes")
    tracer.flush()
    (span,) = found.named("fails")
    assert span.status == "ValueError"
    assert b"diabetes" not in found.bodies[-1]


@pytest.mark.usefixtures("_without_ray")
def test_a_run_has_a_span_for_each_unit_and_stage(tmp_path: Path, found: Collector) -> None:
    found.spans.clear()
    found.bodies.clear()
    lake = Lake(tmp_path)
    lake.write("a", *(f"patient{i}" for i in range(20)))
    lake.enrich(traces={"endpoint": found.url})
    (run,) = found.named("stage", "write", "run")
    (run_id,) = lake.sink.committed()
    assert run.attributes == {"medspan.run": run_id, "medspan.units": 3}
    writes, stages = found.named("write"), found.named("stage")
    assert {one.parent for one in (*writes, *stages)} == {run.id}
    assert sorted(one.attributes["medspan.documents"] for one in writes) == [4, 8, 8]
    assert {one.attributes["medspan.unit"] for one in writes} == {
        one.attributes["medspan.unit"] for one in stages
    }
    sent = b"".join(found.bodies)
    assert b"aspirin" not in sent
    assert b"patient" not in sent
    assert json.dumps(run.attributes)
