"""Models behind handles of other deployments, without a Ray: what is asked again, what waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError
from starlette.testclient import TestClient
from support.serve import MODEL, make_app

from actors.spans import Document, Extraction
from pipelines.serve.answering.answer import PICTURES
from pipelines.serve.answering.models import LocalModels, ModelFacts, ModelUnavailable, QueueFull
from pipelines.serve.replicas import ingress
from pipelines.serve.replicas.ingress import HostedModels
from pipelines.worker.process_health import ProcessMemory

FULL = BackPressureError(num_queued_requests=1, max_queued_requests=1)


def _facts(fingerprint: str) -> ModelFacts:
    return ModelFacts("m", "onnx", fingerprint, (), False, "labels")


class Handle:
    """A DeploymentHandle with ``answer()`` as the result of every method, in the order of calls."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self._answer = answer
        self.calls = 0
        self.responses: list[Response] = []

    def options(self, **_: Any) -> Handle:
        return self

    def __getattr__(self, name: str) -> Handle:
        return self

    def remote(self, *_: Any) -> Any:
        self.calls += 1
        self.responses.append(Response(self._answer))
        return self.responses[-1]

    def broadcast(self, name: str) -> Handle:
        assert name == "held"
        return self

    async def results_async(self) -> Any:
        self.calls += 1
        return await Response(self._answer)


class Response:
    def __init__(self, answer: Callable[[], Any]) -> None:
        self._answer = answer
        self.cancelled = False
        self._failed: Any = None

    async def _get(self) -> Any:
        answer = self._failed = self._answer()
        if isinstance(answer, BaseException):
            raise answer
        return await answer if asyncio.isfuture(answer) else answer

    def __await__(self) -> Any:
        return self._get().__await__()

    def cancel(self) -> None:
        self.cancelled = True
        if isinstance(self._failed, BackPressureError):
            raise self._failed  # as Serve 2.60 does

    async def __aiter__(self) -> Any:
        for batch in await self._get():
            yield batch


def _models(answers: list[Any]) -> tuple[HostedModels, Handle]:
    handle = Handle(lambda: answers.pop(0))
    handles: Any = {"m": handle, PICTURES: handle}
    return HostedModels(handles), handle


def test_a_replica_that_dies_is_asked_again_elsewhere_and_not_for_ever() -> None:
    answer: list[Extraction] = []
    good, handle = _models([RayActorError(), RayActorError(), answer])
    assert asyncio.run(good.extract("m", [Document("a", "x")])) is answer
    assert handle.calls == 3
    bad, handle = _models([RayActorError() for _ in range(9)])
    with pytest.raises(ModelUnavailable):
        asyncio.run(bad.extract("m", [Document("a", "x")]))
    assert handle.calls == 3


UNAVAILABLE = AioRpcError(StatusCode.UNAVAILABLE, Metadata(), Metadata(), "the text of a patient")


@pytest.mark.parametrize("died", [UNAVAILABLE, asyncio.CancelledError()], ids=["gone", "stops"])
def test_a_replica_that_dies_over_grpc_is_asked_again(died: BaseException) -> None:
    """A replica that shuts down cancels its work, and gRPC passes that on as it is: nobody has
    cancelled this request."""
    models, handle = _models([died, ["found"]])
    found: list[Any] = asyncio.run(models.extract("m", [Document("a", "x")]))
    assert found == ["found"]
    assert handle.calls == 2
    assert not handle.responses[0].cancelled


def test_an_error_of_a_replica_is_not_quoted(caplog: pytest.LogCaptureFixture) -> None:
    """Over gRPC it comes as it was raised, and its message may quote a document."""
    models, handle = _models([ValueError("the text of a patient")])
    with pytest.raises(ModelUnavailable) as raised:
        asyncio.run(models.extract("m", [Document("a", "x")]))
    assert handle.calls == 1
    assert "patient" not in caplog.text + str(raised.value)


def test_a_full_queue_of_a_model_has_its_own_error() -> None:
    """Cancelling what was never queued raises, which must not take the place of the reason."""
    models, _ = _models([FULL, FULL])

    async def streamed() -> None:
        async for _ in models.stream("m", [Document("a", "x")]):
            pass

    with pytest.raises(QueueFull):
        asyncio.run(models.extract("m", [Document("a", "x")]))
    with pytest.raises(QueueFull):
        asyncio.run(streamed())


def test_a_reader_that_dies_midway_is_replaced_by_one_that_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model's printed text cannot be taken back; a number of pages can."""

    async def stream(*batches: str, dies: bool = False) -> AsyncGenerator[str]:
        for batch in batches:
            yield batch
        if dies:
            raise RayActorError

    answers = [stream("one page", dies=True), stream("two pages", "the text")]
    models, _ = _models([])
    monkeypatch.setattr(Handle, "remote", lambda *_: answers.pop(0))

    async def read() -> list[Any]:
        return [batch async for batch in models.read([Document("a", image=b"x")], 1000)]

    assert asyncio.run(read()) == ["one page", "two pages", "the text"]
    assert answers == []


def test_disconnecting_client_cancels_its_work() -> None:
    async def scenario() -> None:
        never: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        models, handle = _models([never, [["a"], ["b"]]])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await models.extract("m", [Document("a", "x")])
        assert handle.responses[0].cancelled
        stream = models.stream("m", [Document("a", "x")])
        await anext(stream)
        await stream.aclose()
        assert handle.responses[1].cancelled

    asyncio.run(scenario())


def test_known_facts_are_asked_again_without_being_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind a busy model every request would else wait for them in the model's queue."""
    monkeypatch.setattr(ingress, "_FACTS_FOR_S", -1.0)

    async def scenario() -> None:
        later: asyncio.Future[ModelFacts] = asyncio.get_running_loop().create_future()
        models, handle = _models([_facts("one"), later, FULL, _facts("three")])
        assert (await models.facts("m")).fingerprint == "one"
        for _ in range(3):
            assert (await models.facts("m")).fingerprint == "one"
            await asyncio.sleep(0)
        assert handle.calls == 2, "one question at a time"
        later.set_result(_facts("two"))
        await asyncio.sleep(0.01)
        assert (await models.facts("m")).fingerprint == "two"
        await asyncio.sleep(0.01)
        assert (await models.facts("m")).fingerprint == "two", "a full queue changes nothing"
        await asyncio.sleep(0.01)
        assert (await models.facts("m")).fingerprint == "three"

    asyncio.run(scenario())


def test_facts_of_a_busy_model_are_fetched_once() -> None:
    """In a front that has just started every request wants to know."""

    async def scenario() -> None:
        later: asyncio.Future[ModelFacts] = asyncio.get_running_loop().create_future()
        models, handle = _models([later])
        waiting = [asyncio.create_task(models.facts("m")) for _ in range(5)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        later.set_result(_facts("one"))
        assert [facts.fingerprint for facts in await asyncio.gather(*waiting[1:])] == ["one"] * 4
        assert handle.calls == 1
        assert not handle.responses[0].cancelled

    asyncio.run(scenario())


def test_waiting_for_facts_ends_at_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent(LocalModels):
        async def facts(self, model: str) -> ModelFacts:
            await asyncio.sleep(60)
            raise AssertionError

    monkeypatch.setattr("support.serve.LocalModels", Silent)
    monkeypatch.setattr("pipelines.serve.http.app._FACTS_S", 0.05)
    monkeypatch.setattr("pipelines.serve.http.app._PROBE_S", 0.05)
    asked = {"text": "insulin", "deadline_s": 0.1}
    with TestClient(make_app(tmp_path), base_url="http://127.0.0.1") as client:
        for answer, status, code in (
            (client.post("/v1/extract", json=asked), 504, "deadline_exceeded"),
            (client.post("/v1/extract/stream", json=asked), 504, "deadline_exceeded"),
            (client.get("/v1/models"), 503, "model_unavailable"),
            (client.get("/readyz"), 503, "model_unavailable"),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_waiting_for_facts_takes_a_queue_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent(LocalModels):
        async def facts(self, model: str) -> ModelFacts:
            waits.set()
            await asyncio.sleep(60)
            raise AssertionError

    waits = threading.Event()
    monkeypatch.setattr("support.serve.LocalModels", Silent)
    app = make_app(tmp_path, "{limits: {queue_documents: 1}}")
    with TestClient(app, base_url="http://127.0.0.1") as client:
        asked = {"text": "insulin", "deadline_s": 2}
        first = threading.Thread(target=lambda: client.post("/v1/extract", json=asked))
        first.start()
        assert waits.wait(10)
        assert client.post("/v1/extract", json=asked).status_code == 429
        first.join()


def test_facts_of_a_model_whose_queue_is_full_are_a_429_and_not_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(LocalModels):
        async def facts(self, model: str) -> ModelFacts:
            raise QueueFull(model)

    monkeypatch.setattr("support.serve.LocalModels", Full)
    with TestClient(make_app(tmp_path), base_url="http://127.0.0.1") as client:
        for answer in (
            client.post("/v1/extract", json={"text": "insulin", "model": MODEL}),
            client.get("/v1/models"),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "overloaded")
            assert answer.headers["retry-after"] == "1"
        assert client.get("/readyz").status_code == 200, "overloaded and working"


def test_replica_memory_is_none_unless_all_replicas_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingress, "_FACTS_FOR_S", -1.0)
    monkeypatch.setattr(ingress, "_HELD_S", 0.05)
    held = [ProcessMemory(1, 2.0, 0.0, None, None, 0)]

    async def scenario() -> None:
        frozen: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        models, _ = _models([held, frozen, RayActorError(), held])
        assert [await models.held("m") for _ in range(4)] == [held, [], [], held]

    asyncio.run(scenario())
