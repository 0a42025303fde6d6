"""Online, a page that never ends fails its document, and a deadline ends its decoding."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from support.images import Blank
from support.pages_bombs import endless_pdf, text_pdf
from support.serve import MODEL, PIPELINE, FakeExtractor

from actors.config.ocr import OcrModel
from actors.ocr import OcrReader, reader
from actors.pages import open_pages, process
from pipelines.config import load_pipeline
from pipelines.serve.answering.models import LocalModels, ModelFacts
from pipelines.serve.catalogue import catalogue_of
from pipelines.serve.http.app import create_app


@pytest.fixture
def limits() -> dict[str, float]:
    """Of pages; a test may change them."""
    return {"page_seconds": 0.5}


@pytest.fixture
def client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, float]
) -> Iterator[TestClient]:
    monkeypatch.setattr(reader, "OcrNetworks", Blank)
    monkeypatch.setattr(reader, "weights_digest", lambda config: "none")
    path = tmp_path / "pipe.yaml"
    path.write_text(PIPELINE.format(serve="{}", more="ocr: {model: 'starter:ocr'}"))
    facts = ModelFacts(MODEL, "onnx", FakeExtractor.fingerprint, ("Drug",), False, "labels")
    config = OcrModel.model_validate({"name": "ocr", "kind": "ocr", "pages": limits})
    with OcrReader(config, threads=1) as pictures:
        models = LocalModels({MODEL: FakeExtractor()}, {MODEL: facts}, pictures)
        app = create_app(catalogue_of(load_pipeline(path)), models)
        with TestClient(app, base_url="http://127.0.0.1:8000") as client:
            yield client


def test_the_document_fails_and_the_others_are_answered(client: TestClient) -> None:
    files = [("file", ("x", text_pdf(b"metformin"))), ("file", ("x", endless_pdf()))]
    answer = client.post("/v1/extract/upload", files=files)
    assert answer.status_code == 200
    good, bomb = answer.json()["documents"]
    assert [entity["text"] for entity in good["entities"]] == ["metformin"]
    assert (bomb["status"], bomb["error"]["type"]) == ("failed", "TooSlow")


@pytest.mark.parametrize("limits", [{"page_seconds": 600.0}])
def test_a_deadline_ends_the_page_that_is_decoded(
    client: TestClient, limits: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    kill = process._Child.kill

    def count(child: process._Child) -> None:
        ended.append(1)
        kill(child)

    monkeypatch.setattr(process._Child, "kill", count)
    answer = client.post(
        "/v1/extract/upload",
        files=[("file", ("x", endless_pdf()))],
        data={"options": json.dumps({"deadline_s": 1})},
    )
    assert answer.status_code == 504
    # The reader goes on with the next file: it does not wait for the page.
    files = [("file", ("x", text_pdf(b"metformin")))]
    assert client.post("/v1/extract/upload", files=files).status_code == 200
    assert ended
    assert len(list(open_pages(text_pdf(b"metformin")))) == 1
