"""Readiness: each model's probe counts for itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient
from support.serve import MODEL, FakeExtractor, make_app, two_models

from actors.guideline import Guideline
from actors.spans import Document
from pipelines.serve.answering.models import (
    Event,
    LocalModels,
    ModelFacts,
    ModelUnavailable,
    QueueFull,
)
from pipelines.serve.http.app import create_app


class Two(LocalModels):
    """Models that a probe meets as they are told to be."""

    def __init__(self, **found: Exception | bool) -> None:
        names = (MODEL, "starter-extractor")
        facts = {name: ModelFacts(name, "onnx", "f", (), False, "labels") for name in names}
        super().__init__({name: FakeExtractor(name) for name in names}, facts)
        self._found = {MODEL: found["one"], "starter-extractor": found["two"]}
        self.asked: list[str] = []

    async def stream(
        self, model: str, documents: Sequence[Document], guideline: Guideline | None = None
    ) -> AsyncGenerator[list[Event]]:
        self.asked.append(model)
        found = self._found[model]
        if isinstance(found, Exception):
            raise found
        if not found:
            await asyncio.sleep(60)
        async for batch in super().stream(model, documents, guideline):
            yield batch


@pytest.mark.parametrize(
    ("one", "two", "status"),
    [
        (True, True, 200),
        (QueueFull("one"), True, 200),
        (QueueFull("one"), ModelUnavailable("two"), 503),
        (ModelUnavailable("one"), QueueFull("two"), 503),
        (QueueFull("one"), QueueFull("two"), 200),
        (QueueFull("one"), False, 503),
    ],
)
def test_a_model_that_is_overloaded_hides_no_other_that_is_lost(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    one: Exception | bool,
    two: Exception | bool,
    status: int,
) -> None:
    monkeypatch.setattr("pipelines.serve.http.app._PROBE_S", 0.1)
    models = Two(one=one, two=two)
    app = create_app(two_models(tmp_path), models)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/readyz").status_code == status
    assert sorted(models.asked) == ["starter-extractor", MODEL]


@pytest.mark.parametrize("moves", [True, False])
def test_a_probe_that_waits_behind_work_that_moves_is_no_lost_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: bool
) -> None:
    monkeypatch.setattr("pipelines.serve.http.app._PROBE_S", 1.5)
    fake = FakeExtractor(hold=True)
    app = make_app(tmp_path, fake=fake)

    async def scenario() -> int:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:

            async def ask() -> int:
                return (await client.post("/v1/extract", json={"text": "insulin"})).status_code

            waiting = asyncio.create_task(ask())
            ready = asyncio.create_task(client.get("/readyz"))
            while len(fake.held) < 2:
                await asyncio.sleep(0.01)
            fake.hold = False
            if moves:
                assert await ask() == 200
            answer = await ready
            fake.release()
            assert await waiting == 200
            return answer.status_code

    assert asyncio.run(scenario()) == (200 if moves else 503)
