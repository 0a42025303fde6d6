"""/v1/deidentify: what batch writes, with the limits, tokens and privacy of the other routes."""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from starlette.testclient import TestClient
from support.deidentify import SECRET, counterparts
from support.lake import FAILING, HashModel, Quiet, hashing, pipeline
from support.serve import MODEL, FakeExtractor, make_app, make_client, picture
from support.without_ray import _without_ray  # noqa: F401

from actors.config import ConfigError, load_model
from actors.extractor import Share
from actors.guideline import Guideline
from actors.spans import Document, Extraction, OnText, spanning
from pipelines.client import Client
from pipelines.config import load_pipeline
from pipelines.deidentification import KEY
from pipelines.enrich import enrich_once
from pipelines.runs.store import RunStore
from pipelines.serve.catalogue import catalogue_of
from pipelines.serve.http.bearer_tokens import new_token
from pipelines.serve.replicas.build import build_application
from pipelines.serve.wire.errors import CODES

SECTION = (
    "deidentify: {policies: {NAME: surrogate, DATE: shift, MRN: hash}}\ncontext: {}\nrelations: {}"
)
NOTE = "Patient: Jonathan Doe, MRN 99812. Mr. Doe 💊 was seen on 2024-03-05. metformin 500 mg"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, SECRET.decode())


def _client(folder: Path, more: str = SECTION, token: str = "", **app: Any) -> TestClient:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return TestClient(
        make_app(folder, more=more, **app),
        base_url="http://127.0.0.1:8000",
        headers=headers,
        raise_server_exceptions=False,
    )


def _one(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    (document,) = answer.json()["documents"]
    return dict(document)


def test_one_text(tmp_path: Path) -> None:
    answer = _client(tmp_path).post("/v1/deidentify", json={"text": NOTE})
    document = _one(answer)
    assert (document["status"], document["error"], document["residue"]) == ("ok", None, [])
    for secret in ("Jonathan", "Doe", "99812", "2024-03-05"):
        assert secret not in answer.text
    text = document["text"]
    for entity in document["entities"]:
        assert text[entity["start"] : entity["end"]] == entity["text"]
    for edit in document["edits"]:
        assert NOTE[edit["start"] : edit["end"]] not in text
    assert [e["category"] for e in document["edits"]] == ["NAME", "MRN", "NAME", "DATE"]
    counts = {c["category"]: c["count"] for c in document["counts"]}
    assert counts == {"NAME": 2, "MRN": 1, "DATE": 1}
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


class _Hashing(HashModel):
    """The model of the batch tests, as the server asks it."""

    def submit(
        self, document: Document, guideline: Guideline | None = None, on_text: OnText | None = None
    ) -> Future[Extraction]:
        return super().submit(document)


@pytest.mark.usefixtures("_without_ray")
def test_batch_and_http_give_equal_rows(tmp_path: Path) -> None:
    """The keystone: the same documents, whole and failed, of known and unknown patients."""
    texts = {"a": NOTE, "b": NOTE.replace("Doe", "Roe"), "c": f"Mr. Doe {FAILING}", "d": ""}
    patients = {"a": "7", "b": "8", "c": "7"}
    rows = [{"id": i, "text": text, "pid": patients.get(i)} for i, text in texts.items()]
    (tmp_path / "in").mkdir()
    (tmp_path / "in/notes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = yaml.safe_load(SECTION)
    section = config["deidentify"] | {"patient_column": "pid"}
    loaded = pipeline(
        str(tmp_path / "in"),
        str(tmp_path / "out"),
        columns=("pid",),
        deidentify=section,
        context=config["context"],
        relations=config["relations"],
    )
    enrich_once(loaded, Quiet(), nullcontext(), hashing())
    batch = counterparts(RunStore(str(tmp_path / "out")))
    model = load_model("starter:token-classifier")
    fake = _Hashing(model, Share(), 0.0, "")
    sent = [
        {"id": i, "text": text} | ({"patient": patients[i]} if i in patients else {})
        for i, text in texts.items()
    ]
    client = _client(tmp_path, fake=fake)
    answer = client.post("/v1/deidentify", json={"documents": sent}).json()
    for document in answer["documents"]:
        row = batch[document["id"]]
        assert (document["status"], document["text"]) == (row["status"], row["text"])
        assert (document["error"] or {"type": ""})["type"] == row["error_type"]
        assert document["edits"] == (row["pair"]["edits"] if row["text"] is not None else [])
        assert document["counts"] == row["counts"]
        assert document["sections"] == row["sections"]
        for entity, its_row in zip(document["entities"], row["entities"], strict=True):
            assert entity.pop("boxes") == []
            entity["attributes"] = [*entity["attributes"].items()]
            assert entity == {name: its_row[name] for name in entity}
        relations = [r | {"attributes": [*r["attributes"].items()]} for r in document["relations"]]
        assert relations == [
            {k: v for k, v in r.items() if k not in ("doc_id", "run_id", "unit")}
            for r in row["relations"]
        ]
    assert {row["status"] for row in batch.values()} == {"ok", "failed"}


def test_documents_of_a_patient_share_surrogates_and_strangers_do_not(tmp_path: Path) -> None:
    client = _client(tmp_path)

    def texts(*documents: dict[str, str]) -> list[str]:
        answer = client.post("/v1/deidentify", json={"documents": documents})
        return [document["text"] for document in answer.json()["documents"]]

    first, second = texts({"text": NOTE, "patient": "1"}, {"text": NOTE, "patient": "2"})
    assert first != second
    assert texts({"id": "x", "text": NOTE, "patient": "1"}) == [first]
    dates = {texts({"text": f"Seen on 2024-03-05, {word}."})[0][:18] for word in ("a", "b", "c")}
    assert len(dates) > 1, "an index is nobody's id"


def test_mentions_of_known_names_are_taken(tmp_path: Path) -> None:
    text = "Baxter takes metformin"
    client = _client(tmp_path)
    assert _one(client.post("/v1/deidentify", json={"text": text}))["text"] == text
    sent = {"documents": [{"text": text, "names": ["Kim Baxter"]}]}
    document = _one(client.post("/v1/deidentify", json=sent))
    assert document["text"].endswith(" takes metformin")
    assert "Baxter" not in document["text"]


def test_pictures_are_read_and_their_text_is_deidentified(tmp_path: Path) -> None:
    image = b64encode(picture("Patient: Jonathan Doe, metformin")).decode()
    client = _client(tmp_path, ocr=True)
    document = _one(client.post("/v1/deidentify", json={"documents": [{"image": image}]}))
    assert document["text"].endswith("metformin")
    assert "Jonathan" not in document["text"]
    assert all(not entity["boxes"] for entity in document["entities"])


def test_document_a_model_failed_on_is_withheld(tmp_path: Path) -> None:
    sent = {"documents": [{"text": "FAIL"}, {"text": NOTE}]}
    first, second = _client(tmp_path).post("/v1/deidentify", json=sent).json()["documents"]
    assert (first["status"], first["text"], first["error"]["type"]) == ("failed", None, "Bad")
    assert second["status"] == "ok"


class _SecondReader(FakeExtractor):
    """Takes "metformin" for a patient where the text is de-identified."""

    def read(self, document: Document) -> Extraction:
        text = document.text or ""
        found = super().read(document)
        if "[MRN:" not in text:
            return found
        at = text.index("metformin")
        name = spanning(text, at, at + len("metformin"), "PATIENT", model="m")
        return replace(found, entities=(*found.entities, name))


def test_the_models_read_the_new_text_again(tmp_path: Path) -> None:
    fake = _SecondReader()
    document = _one(_client(tmp_path, fake=fake).post("/v1/deidentify", json={"text": NOTE}))
    assert (document["status"], document["text"], document["entities"]) == ("residue", None, [])
    (residue,) = document["residue"]
    assert NOTE[residue["start"] : residue["end"]] == "metformin"
    assert len(fake.asked) == 2
    assert "Doe" not in str(fake.asked[1])

    rules = SECTION.replace("{policies", "{second_look: rules, policies")
    fake = _SecondReader()
    client = _client(tmp_path, more=rules, fake=fake)
    assert _one(client.post("/v1/deidentify", json={"text": NOTE}))["status"] == "ok"
    assert len(fake.asked) == 1


@pytest.mark.parametrize("unit", ["utf16", "bytes"])
def test_offsets_in_other_units(tmp_path: Path, unit: str) -> None:
    document = _one(_client(tmp_path).post("/v1/deidentify", json={"text": NOTE, "offsets": unit}))

    def cut(text: str, start: int, end: int) -> str:
        codec, width = ("utf-16-le", 2) if unit == "utf16" else ("utf-8", 1)
        return text.encode(codec)[start * width : end * width].decode(codec)

    for edit in document["edits"]:
        assert cut(NOTE, edit["start"], edit["end"]) in NOTE
        assert cut(document["text"], edit["new_start"], edit["new_end"]) in document["text"]
    date = document["edits"][-1]
    assert cut(NOTE, date["start"], date["end"]) == "2024-03-05"
    for entity in document["entities"]:
        assert cut(document["text"], entity["start"], entity["end"]) == entity["text"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_request"),
        ({"text": "x", "labels": []}, "invalid_request"),
        ({"text": "x", "policies": {"NAME": "keep"}}, "invalid_request"),
        ({"documents": [{"text": "x", "patient": ""}]}, "invalid_request"),
        ({"documents": [{"text": ""}] * 65}, "too_many_documents"),
        ({"text": "x" * 1_000_001}, "document_too_large"),
        ({"documents": [{"image": "eA=="}]}, "pictures_not_read"),
        ({"documents": [{"url": "https://x/y"}]}, "url_forbidden"),
    ],
)
def test_limits_and_errors_are_those_of_the_other_routes(
    tmp_path: Path, body: dict[str, Any], code: str
) -> None:
    answer = _client(tmp_path).post("/v1/deidentify", json=body)
    assert answer.json()["error"]["code"] == code
    assert answer.status_code == CODES[code][0]


def test_a_server_without_the_stage_is_an_error(tmp_path: Path) -> None:
    answer = make_client(tmp_path).post("/v1/deidentify", json={"text": "x"})
    assert answer.json()["error"]["code"] == "not_deidentifying"


def test_a_server_without_the_key_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY)
    with pytest.raises(ConfigError, match=f"set {KEY} on this machine"):
        _client(tmp_path)
    with pytest.raises(ConfigError, match=f"set {KEY} on this machine"):
        build_application(
            catalogue_of(load_pipeline(tmp_path / "pipe.yaml"))
        )  # before anything is deployed


def test_audit_log_holds_no_text_or_ids(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    all_of_it, token = new_token("ward")
    less, other = new_token("model-only", ("starter-token-classifier",))
    tokens = [one.model_dump(mode="json", exclude_none=True) for one in (token, other)]
    (tmp_path / "tokens.yaml").write_text(yaml.safe_dump({"tokens": tokens}))
    client = _client(tmp_path, serve="{tokens: tokens.yaml}", token=all_of_it)
    caplog.set_level(logging.INFO, "pipelines")
    sent = [{"id": "mrn-4711", "text": NOTE, "patient": "p-4712"}, {"text": "FAIL"}]
    assert client.post("/v1/deidentify", json={"documents": sent}).status_code == 200
    (line,) = [r.getMessage() for r in caplog.records if "audit" in r.getMessage()]
    assert "token=ward" in line
    assert "documents=2" in line
    assert "outcome: failed=1 ok=1" in line
    for secret in ("4711", "4712", "Jonathan", "Doe"):
        assert secret not in caplog.text
    caplog.clear()
    bearer = {"authorization": f"Bearer {less}"}
    refused = client.post("/v1/deidentify", json={"text": NOTE}, headers=bearer)
    assert refused.json()["error"]["code"] == "forbidden"
    bearer = {"authorization": "Bearer unknown"}
    refused = client.post("/v1/deidentify", json={"text": NOTE}, headers=bearer)
    assert refused.status_code == 401


def test_a_lost_model_is_in_the_audit_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fake = FakeExtractor()
    fake.error = RuntimeError(NOTE)
    caplog.set_level(logging.INFO, "pipelines")
    answer = _client(tmp_path, fake=fake).post("/v1/deidentify", json={"text": NOTE})
    assert answer.json()["error"]["code"] == "model_unavailable"
    assert "documents=1 outcome: model_unavailable" in caplog.text
    assert "Doe" not in caplog.text


def test_the_client_deidentifies(tmp_path: Path) -> None:
    server = _client(tmp_path)

    def answer(request: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": "application/json"}
        found = server.post(request.url.path, content=request.content, headers=headers)
        return httpx2.Response(found.status_code, content=found.content)

    documents = [Document(f"n{i}", NOTE) for i in range(20)]  # of two requests
    with Client("http://server", transport=httpx2.MockTransport(answer)) as client:
        found = client.deidentify(documents, {one.id: "7" for one in documents})
    assert [one.document_id for one in found] == [one.id for one in documents]
    assert len({one.text for one in found}) == 1
    first = found[0]
    assert (first.status, first.failure) == ("ok", None)
    assert first.text is not None
    assert {NOTE[r.start : r.end] for r in first.replacements} >= {"Jonathan Doe", "99812"}
    assert all(first.text[e.start : e.end] == e.text for e in first.entities)


def test_models_says_what_is_taken_and_whether_pages_come_back(tmp_path: Path) -> None:
    client = _client(tmp_path, "deidentify: {policies: {STATE: mask, NAME: keep}}")
    offer = client.get("/v1/models").json()["deidentify"]
    names = {one["name"] for one in offer["categories"]}
    assert offer["pages"] is False
    assert {"STATE", "MRN", "BARCODE"} <= names
    assert not names & {"NAME", "COUNTRY"}
    assert _client(tmp_path, ocr=True).get("/v1/models").json()["deidentify"]["pages"] is True
    assert _client(tmp_path, "").get("/v1/models").json()["deidentify"] is None


def test_a_token_that_may_not_use_the_pipeline_is_offered_nothing(tmp_path: Path) -> None:
    secret, entry = new_token("ward", models=(MODEL,))
    (tmp_path / "tokens.yaml").write_text(
        yaml.safe_dump({"tokens": [entry.model_dump(mode="json", exclude_none=True)]})
    )
    client = _client(tmp_path, token=secret, serve="{tokens: tokens.yaml}")
    assert client.get("/v1/models").json()["deidentify"] is None
