"""The HTTP client: the same entities as in process, and trying again where that helps."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient
from support.serve import MODEL, FakeExtractor, make_app, make_client
from tenacity.wait import wait_none

from actors.guideline import Guideline
from actors.merge import merge
from actors.spans import Document, MarkKind, Status
from pipelines.client import Client, ServerRefused, ServerUnreachable

NOTE = "Mrs. Miller takes insulin"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.client._BACKOFF", wait_none())


def _client(answer: Callable[[httpx2.Request], httpx2.Response], **options: Any) -> Client:
    return Client("http://server", transport=httpx2.MockTransport(answer), **options)


def _to_app(folder: Path, fake: FakeExtractor) -> Client:
    return _client(_forward(make_client(folder, fake=fake)))


def _forward(app: TestClient) -> Callable[[httpx2.Request], httpx2.Response]:
    def answer(request: httpx2.Request) -> httpx2.Response:
        found = app.request(
            request.method,
            request.url.path,
            content=request.content,
            headers={"content-type": request.headers.get("content-type", "")},
        )
        return httpx2.Response(found.status_code, headers=found.headers, content=found.content)

    return answer


def test_entities_are_those_of_the_extractor(tmp_path: Path) -> None:
    fake = FakeExtractor()
    texts = ["insulin 💊 metformin", "", "FAIL", *(f"diabetes {i}" for i in range(40))]
    documents = [Document(id=f"d{i}", text=text) for i, text in enumerate(texts)]
    with _to_app(tmp_path, fake) as client:
        answers = client.extract(documents, explain=True)
    assert [answer.document_id for answer in answers] == [document.id for document in documents]
    for document, answer in zip(documents, answers, strict=True):
        direct = fake.read(document)
        assert list(answer.entities) == merge([direct.entities])
        assert (answer.status, answer.steps[0].failure) == (direct.status, direct.failure)
        assert answer.steps[0].completion == direct.completion
    assert answers[2].status is Status.FAILED


def test_files_are_read_by_the_server(tmp_path: Path) -> None:
    app = TestClient(make_app(tmp_path, ocr=True), base_url="http://127.0.0.1")
    files = [
        b"plain insulin",
        gzip.compress(b"<p>pure</p><p>insulin &amp; more</p>"),
        b"PK\x03\x04",
        *(f"insulin {number}".encode() for number in range(20)),  # more than one request
    ]
    with _client(_forward(app)) as client:
        plain, markup, archive, *more = client.extract_files(files)
        assert client.extract_files(files[:1], labels=["none-such"])[0].entities == ()
    assert (plain.document_id, plain.text) == ("0", "plain insulin")
    assert markup.text == "pure\ninsulin & more"
    assert markup.entities[0].start == 5
    assert archive.failure is not None
    assert "ZIP" in archive.failure.message
    assert archive.text is None
    assert [one.text for one in more] == [f"insulin {number}" for number in range(20)]


def test_pictures_are_sent_as_they_are_and_their_text_comes_back(tmp_path: Path) -> None:
    app = TestClient(make_app(tmp_path, ocr=True), base_url="http://127.0.0.1")
    pictures = [Document("a", image=b"some insulin"), Document("b", image=b"\xff")]
    with _client(_forward(app)) as client:
        good, bad = client.extract(pictures)
    assert (good.text, good.entities[0].text) == ("some insulin", "insulin")
    assert good.entities[0].boxes
    assert bad.failure is not None
    assert bad.status is Status.FAILED


def test_the_structure_of_a_page_comes_back(tmp_path: Path) -> None:
    app = TestClient(make_app(tmp_path, ocr=True), base_url="http://127.0.0.1")
    page = "Name: Wren\nTest\tResult\nCRP\t3\nTSH\t4\n~signed~"
    with _client(_forward(app)) as client:
        [answer] = client.extract([Document("a", image=page.encode())])
    [table], [field], [mark] = answer.tables, answer.fields, answer.marks
    assert (table.rows, table.columns, table.header) == (3, 2, True)
    assert [page[cell.start : cell.end] for cell in table.cells][2:4] == ["CRP", "3"]
    assert (field.name, page[field.start : field.end]) == ("Name", "Wren")
    assert (mark.kind, mark.box.y0) == (MarkKind.SIGNATURE, 48)


def test_names_of_the_server(tmp_path: Path) -> None:
    with _to_app(tmp_path, FakeExtractor()) as client:
        assert [model["name"] for model in client.models()] == ["pipe", MODEL]
    linking = 'linking: {vocabularies: [{index: "starter:drugs", labels: {Drug: []}}]}'
    app = TestClient(make_app(tmp_path, more=linking), base_url="http://127.0.0.1")
    with _client(_forward(app)) as client:
        assert [one["name"] for one in client.vocabularies()] == ["drugbank"]


def _envelope(status: int, code: str, **headers: str) -> httpx2.Response:
    error = {"code": code, "message": "m", "request_id": "r", "details": []}
    return httpx2.Response(status, json={"error": error}, headers=headers)


GOOD = {
    "documents": [
        {
            "id": "a",
            "status": "ok",
            "entities": [],
            "sections": [],
            "relations": [],
            "abbreviations": {},
            **dict.fromkeys(("problems", "tables", "fields", "marks"), ()),
            "steps": [],
        }
    ]
}


@pytest.mark.parametrize(
    "trouble",
    [
        _envelope(429, "overloaded"),
        _envelope(503, "model_unavailable"),
        httpx2.Response(502, text="<html>Bad gateway</html>"),
        httpx2.Response(500, text="Internal Server Error"),  # Serve's proxy, of a front that died
        httpx2.ConnectError("refused"),
        httpx2.ReadError("reset"),
        httpx2.ReadTimeout("slow"),
    ],
)
def test_transient_errors_are_retried(trouble: httpx2.Response | Exception) -> None:
    asked: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.content)
        if len(asked) < 3:
            if isinstance(trouble, Exception):
                raise trouble
            return trouble
        return httpx2.Response(200, json=GOOD)

    with _client(answer) as client:
        client.extract([Document(id="a", text=NOTE)])
    assert len(asked) == 3
    assert len(set(asked)) == 1, "the same request each time"


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "unauthorized"), (404, "model_not_found"), (422, "invalid_request"), (500, "internal")],
)
def test_permanent_errors_are_not_retried(status: int, code: str) -> None:
    asked = 0

    def answer(request: httpx2.Request) -> httpx2.Response:
        nonlocal asked
        asked += 1
        return _envelope(status, code)

    with _client(answer) as client, pytest.raises(ServerRefused) as refused:
        client.extract([Document(id="a", text=NOTE)])
    assert (asked, refused.value.code) == (1, code)
    assert "Miller" not in str(refused.value)


def test_retry_after_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    answers = iter([_envelope(429, "overloaded", **{"retry-after": "7"})])

    def answer(request: httpx2.Request) -> httpx2.Response:
        return next(answers, httpx2.Response(200, json=GOOD))

    with _client(answer) as client:
        client.extract([Document(id="a", text=NOTE)])
    assert waits == [7]


def test_it_gives_up_and_names_the_server(tmp_path: Path) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with (
        _client(answer, attempts=3) as client,
        pytest.raises(ServerUnreachable, match=r"http://server.*ConnectError") as lost,
    ):
        client.extract([Document(id="a", text=NOTE)])
    assert "Miller" not in str(lost.value)


def test_a_redirect_is_not_followed() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.url.host == "server"
        return httpx2.Response(307, headers={"location": "http://elsewhere/v1/extract"})

    with _client(answer, token="secret") as client, pytest.raises(ServerRefused):
        client.extract([Document(id="a", text=NOTE)])


def test_requests_are_bounded_and_ids_are_sent() -> None:
    sent: list[list[dict[str, Any]]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        documents = json.loads(request.content)["documents"]
        sent.append(documents)
        refined: dict[str, Any] = {"sections": [], "relations": [], "abbreviations": {}}
        refined |= {"problems": [], "tables": [], "fields": [], "marks": []}
        empty = {"status": "ok", "entities": [], "steps": []} | refined
        return httpx2.Response(200, json={"documents": [empty for _ in documents]})

    documents = [Document(id=f"d{i}", text="x" * (400_000 if i < 3 else 1)) for i in range(40)]
    with _client(answer, connections=1) as client:
        client.extract(documents)
    assert [d["id"] for part in sent for d in part] == [document.id for document in documents]
    assert [len(part) for part in sent] == [1, 1, 16, 16, 6]


def test_a_guideline_goes_along(tmp_path: Path) -> None:
    (tmp_path / "ward.yaml").write_text("name: ward\nlabels: {Disease: What ails a patient.}\n")
    mine = {"name": "mine", "labels": {"Medicine": {"synonyms": ["Drug"]}}}
    document = Document(id="a", text="insulin for diabetes")
    app = make_client(tmp_path, "{guidelines: [ward.yaml]}")
    with _client(_forward(app)) as client:
        [own] = client.extract([document], guideline=Guideline.model_validate(mine))
        [named] = client.extract([document], guideline="ward")
        with pytest.raises(ServerRefused, match="guideline_not_found"):
            client.extract([document], guideline="nobody")
    assert [(e.label, e.text) for e in own.entities] == [("Medicine", "insulin")]
    assert [(e.label, e.text) for e in named.entities] == [("Disease", "diabetes")]
