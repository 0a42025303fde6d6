"""Large documents never block the event loop: they are submitted and answered in threads."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from support.serve import MODEL, FakeExtractor, make_app

from actors.guideline import Guideline
from actors.spans import Document, Extraction, OnText
from pipelines.serve.answering import answer, pending
from pipelines.serve.answering.models import LocalModels, ModelFacts, stream_events, submit_all
from pipelines.serve.http import streaming

LARGE = Document("large", "insulin " * 10_000)
SMALL = Document("small", "insulin")


class Cutting(FakeExtractor):
    """Submitting takes until ``go``, as cutting up a large document would."""

    def __init__(self) -> None:
        super().__init__(hold=True)
        self.go, self.threads = threading.Event(), [threading.main_thread()]
        self.futures: list[Future[Extraction]] = []

    def submit(
        self, document: Document, guideline: Guideline | None = None, on_text: OnText | None = None
    ) -> Future[Extraction]:
        future = super().submit(document, guideline, on_text)
        self.threads.append(threading.current_thread())
        if document is LARGE:
            assert self.go.wait(10)
        self.futures.append(future)
        return future


def _models(fake: FakeExtractor) -> LocalModels:
    return LocalModels({MODEL: fake}, {MODEL: ModelFacts(MODEL, "gguf", "f", (), False, "any")})


async def _begun(fake: FakeExtractor) -> None:
    assert await asyncio.to_thread(fake.arrived.wait, 10)


@pytest.mark.parametrize("streams", [False, True])
def test_the_loop_goes_on_while_a_large_document_is_cut_up(streams: bool) -> None:
    async def read(models: LocalModels) -> list[Any]:
        if not streams:
            return list(await models.extract(MODEL, [LARGE]))
        return [event async for batch in models.stream(MODEL, [LARGE]) for event in batch]

    async def scenario() -> None:
        fake = Cutting()
        asking = asyncio.create_task(read(_models(fake)))
        await _begun(fake)
        fake.go.set()  # only a loop that is free comes here
        while not fake.futures:
            await asyncio.sleep(0.01)
        fake.release()
        assert len(await asking) == 1

    asyncio.run(scenario())


def test_a_small_document_changes_no_thread() -> None:
    async def scenario() -> None:
        fake = Cutting()
        await submit_all(fake, [SMALL])
        assert set(fake.threads) == {threading.main_thread()}

    asyncio.run(scenario())


def test_disconnect_during_submission_cancels_it() -> None:
    """Also the document that is just being cut up, and those after it are not begun."""

    async def scenario() -> None:
        fake = Cutting()
        asking = asyncio.create_task(submit_all(fake, [SMALL, LARGE, LARGE]))
        await _begun(fake)
        while len(fake.asked) < 2:
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        fake.go.set()
        while len(fake.futures) < 2 or not fake.futures[1].cancelled():
            await asyncio.sleep(0.01)
        assert [future.cancelled() for future in fake.futures] == [True, True]
        assert fake.asked == [SMALL, LARGE]

    asyncio.run(scenario())


def test_disconnect_after_submission_cancels_it() -> None:
    async def scenario() -> None:
        fake = Cutting()
        fake.go.set()
        events = stream_events(fake, [LARGE], None)
        asking = asyncio.create_task(anext(events))
        while not fake.futures:
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait([asking])
        assert fake.futures[0].cancelled()

    asyncio.run(scenario())


def test_a_model_that_is_lost_meanwhile_cancels_what_was_submitted() -> None:
    class Lost(Cutting):
        def submit(
            self,
            document: Document,
            guideline: Guideline | None = None,
            on_text: OnText | None = None,
        ) -> Future[Extraction]:
            if self.futures:
                raise RuntimeError("closed")
            return super().submit(document, guideline, on_text)

    fake = Lost()
    fake.go.set()
    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(submit_all(fake, [LARGE, LARGE]))
    assert fake.futures[0].cancelled()


def test_a_large_answer_is_made_in_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    def noted(function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            threads.append(threading.current_thread().name)
            return function(*arguments)

        return call

    monkeypatch.setattr(answer, "document_out", noted(pending.document_out))
    monkeypatch.setattr(streaming, "_event", noted(streaming._event))
    with TestClient(make_app(tmp_path), base_url="http://127.0.0.1") as client:
        small, large = {"text": "insulin"}, {"text": "insulin " * 30_000}
        assert client.post("/v1/extract", json=small).status_code == 200
        assert client.post("/v1/extract/stream", json=small).status_code == 200
        assert not any(name.startswith("asyncio_") for name in threads)
        threads.clear()
        found = client.post("/v1/extract", json=large).json()["documents"][0]["entities"]
        assert len(found) == 30_000
        assert [name.startswith("asyncio_") for name in threads] == [True]
        threads.clear()
        said = client.post("/v1/extract/stream", json=large).text
        assert said.count('"Drug"') == 30_000
        apart = [name for name in threads if name.startswith("asyncio_")]
        assert len(apart) == 2, "merged, and written"
