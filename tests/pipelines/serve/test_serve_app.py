"""The HTTP API over a fake model, without Ray: answers, errors, limits, tokens, privacy."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.testclient import TestClient
from support.serve import MODEL, PIPELINE, FakeExtractor, make_app, make_client, two_models

from actors.config import ConfigError
from actors.config.load import STARTERS
from actors.linking import read_manifest
from pipelines.config import load_pipeline
from pipelines.serve.answering.models import LocalModels, ModelFacts
from pipelines.serve.catalogue import catalogue_of
from pipelines.serve.http.app import create_app
from pipelines.serve.http.bearer_tokens import new_token
from pipelines.serve.http.guard import HEADERS
from pipelines.serve.wire.errors import CODES
from pipelines.serve.wire.requests import ExtractRequest

TEXT = "metformin and insulin 💊 for diabetes"


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return make_client(tmp_path)


def _code(answer: Any) -> str:
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "request_id", "details"}
    assert answer.status_code == CODES[error["code"]][0]
    assert answer.headers["x-request-id"] == error["request_id"]
    return str(error["code"])


def test_one_text(client: TestClient) -> None:
    answer = client.post("/v1/extract", json={"text": TEXT})
    assert answer.status_code == 200
    body = answer.json()
    assert body["model"] == "pipe"
    assert body["request_id"] == answer.headers["x-request-id"]
    [document] = body["documents"]
    assert document["status"] == "ok"
    found = [(e["label"], e["text"], e["start"], e["end"]) for e in document["entities"]]
    assert found == [
        ("Drug", "metformin", 0, 9),
        ("Drug", "insulin", 14, 21),
        ("Disease", "diabetes", 28, 36),
    ]
    assert [TEXT[e["start"] : e["end"]] for e in document["entities"]] == [f[1] for f in found]
    assert document["steps"][0]["completion"] is None


def test_many_documents_keep_their_order_and_fail_alone(client: TestClient) -> None:
    documents = [{"id": "b", "text": "insulin"}, {"text": "FAIL"}, {"id": "a", "text": ""}]
    body = client.post("/v1/extract", json={"documents": documents, "model": MODEL}).json()
    assert [(d["id"], d["status"]) for d in body["documents"]] == [
        ("b", "ok"),
        ("1", "failed"),
        ("a", "ok"),
    ]
    assert body["documents"][1]["steps"][0]["error"] == {"type": "Bad", "message": "cannot"}


def test_the_same_request_has_the_same_answer(client: TestClient) -> None:
    first, second = (client.post("/v1/extract", json={"text": TEXT}).json() for _ in range(2))
    assert first["documents"] == second["documents"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"labels": ["Disease"]}, ["diabetes"]),
        ({"labels": []}, []),
        ({"threshold": 0.7}, ["metformin", "diabetes"]),
        ({"threshold": 0.7, "thresholds": {"Drug": 0.5}}, ["metformin", "insulin", "diabetes"]),
        ({"thresholds": {"Drug": 0.95}}, ["diabetes"]),
    ],
)
def test_filters(client: TestClient, more: dict[str, Any], expected: list[str]) -> None:
    body = client.post("/v1/extract", json={"text": TEXT} | more).json()
    assert [e["text"] for e in body["documents"][0]["entities"]] == expected


def test_explain(client: TestClient) -> None:
    body = client.post("/v1/extract", json={"text": TEXT, "explain": True}).json()
    assert body["documents"][0]["steps"][0]["completion"] == f"read {len(TEXT)}"


@pytest.mark.parametrize(
    ("send", "code"),
    [
        (lambda c: c.post("/v1/extract", json={"text": "x", "model": "nope"}), "model_not_found"),
        (lambda c: c.post("/v1/extract", json={}), "invalid_request"),
        (lambda c: c.post("/v1/extract", json={"text": 1}), "invalid_request"),
        (lambda c: c.post("/v1/extract", json={"documents": []}), "invalid_request"),
        (lambda c: c.post("/v1/extract", json={"text": "x", "documents": []}), "invalid_request"),
        (lambda c: c.post("/v1/extract", json={"text": "x", "deadline_s": 0}), "invalid_request"),
        (
            lambda c: c.post("/v1/extract", json={"documents": [{"id": "a", "text": ""}] * 2}),
            "invalid_request",
        ),
        (
            lambda c: c.post("/v1/extract", json={"documents": [{"text": "x", "prompt": "y"}]}),
            "prompt_not_supported",
        ),
        (
            lambda c: c.post("/v1/extract", json={"documents": [{"text": ""}] * 65}),
            "too_many_documents",
        ),
        (lambda c: c.post("/v1/extract", json={"text": "x" * 1_000_001}), "document_too_large"),
        (lambda c: c.post("/v1/extract", json={"text": "x" * 8_000_000}), "body_too_large"),
        (
            lambda c: c.post(
                "/v1/extract", content=b"{", headers={"content-type": "application/json"}
            ),
            "bad_json",
        ),
        (
            lambda c: c.post(
                "/v1/extract",
                content=b'{"text": "\\ud800"}',
                headers={"content-type": "application/json"},
            ),
            "invalid_request",
        ),
        (
            lambda c: c.post(
                "/v1/extract", content=b"\xff", headers={"content-type": "application/json"}
            ),
            "bad_json",
        ),
        (lambda c: c.post("/v1/extract", data={"text": "x"}), "unsupported_media_type"),
        (lambda c: c.get("/v1/extract"), "method_not_allowed"),
        (lambda c: c.get("/v2/extract"), "not_found"),
        (lambda c: c.get("/v1/models", headers={"host": "evil.example"}), "host_forbidden"),
    ],
)
def test_every_error_has_the_envelope(
    client: TestClient, send: Callable[[TestClient], Any], code: str
) -> None:
    answer = send(client)
    assert _code(answer) == code
    for name, value in HEADERS.items():
        assert answer.headers[name] == value


def test_a_chunked_body_is_bounded_too(client: TestClient) -> None:
    chunks = (b" " * 1_000_000 for _ in range(9))
    answer = client.post(
        "/v1/extract", content=chunks, headers={"content-type": "application/json"}
    )
    assert _code(answer) == "body_too_large"


@pytest.mark.parametrize("key", ["path", "image_url", "uri", "file", "pdf", "ref"])
def test_nothing_in_a_request_can_name_a_file_or_an_address(client: TestClient, key: str) -> None:
    for place in ({"text": "x", key: "file:///etc/passwd"}, {"documents": [{"text": "x", key: 1}]}):
        assert _code(client.post("/v1/extract", json=place)) == "invalid_request"


@pytest.mark.parametrize(
    "name",
    ["../../../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "http://169.254.169.254/"],
)
def test_a_model_is_a_name_and_no_place(client: TestClient, name: str) -> None:
    answer = client.post("/v1/extract", json={"text": "x", "model": name})
    assert _code(answer) == "model_not_found"


@pytest.mark.parametrize(
    "path",
    [
        "/..%2f..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/page.js/../../config.py",
        "/../config.py",
        "/page.css%00",
        "/static/..\\..\\etc",
    ],
)
def test_no_path_leads_out_of_the_page(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_models(client: TestClient) -> None:
    body = client.get("/v1/models").json()
    whole, alone = body["models"]
    assert (whole["name"], whole["kind"], whole["default"]) == ("pipe", "pipeline", True)
    assert (alone["name"], alone["kind"], alone["default"]) == (MODEL, "onnx", False)
    assert [label["name"] for label in alone["labels"]] == ["Disease", "Drug"]
    assert body["limits"]["documents"] == 64


def test_health_and_readiness_mean_it(tmp_path: Path) -> None:
    fake = FakeExtractor()
    client = make_client(tmp_path, fake=fake)
    assert client.get("/healthz").json() == {"status": "ok"}
    assert not fake.asked
    assert client.get("/readyz").status_code == 200
    assert [document.id for document in fake.asked] == ["probe"]
    assert client.get("/readyz").status_code == 200
    assert len(fake.asked) == 1, "a good probe holds a while"


def test_a_lost_model_is_reported_as_not_ready(tmp_path: Path) -> None:
    fake = FakeExtractor()
    fake.error = RuntimeError("metformin for Mrs. Miller")
    client = make_client(tmp_path, fake=fake)
    assert client.get("/healthz").status_code == 200
    assert _code(client.get("/readyz")) == "model_unavailable"
    answer = client.post("/v1/extract", json={"text": "x"})
    assert _code(answer) == "model_unavailable"
    assert int(answer.headers["retry-after"]) >= 1
    assert "Miller" not in answer.text


def test_a_lost_model_ends_what_the_others_do_for_the_request(tmp_path: Path) -> None:
    lost, slow = FakeExtractor(), FakeExtractor("starter-extractor", hold=True)
    lost.error = RuntimeError("gone")
    fakes = {MODEL: lost, slow.name: slow}
    facts = {name: ModelFacts(name, "onnx", "f", (), False, "labels") for name in fakes}
    app = create_app(two_models(tmp_path), LocalModels(fakes, facts))
    client = TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)
    assert _code(client.post("/v1/extract", json={"text": "x"})) == "model_unavailable"
    assert [future.cancelled() for _, future in slow.held] == [True]


@pytest.mark.parametrize("limit", ["queue_documents: 2", "queue_characters: 14"])
def test_a_full_queue_is_a_fast_429(tmp_path: Path, limit: str) -> None:
    fake = FakeExtractor(hold=True)
    client = make_client(tmp_path, f"{{limits: {{{limit}}}}}", fake)
    answers: list[Any] = []
    with client:
        waiting = threading.Thread(
            target=lambda: answers.append(
                client.post("/v1/extract", json={"documents": [{"text": "insulin"}] * 2})
            )
        )
        waiting.start()
        assert fake.arrived.wait(10)
        refused = client.post("/v1/extract", json={"text": "x"})
        assert _code(refused) == "overloaded"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        fake.release()
        waiting.join(10)
        assert answers[0].status_code == 200
        fake.hold = False
        assert client.post("/v1/extract", json={"text": "x"}).status_code == 200


def test_a_deadline_ends_the_wait_and_the_work(tmp_path: Path) -> None:
    fake = FakeExtractor(hold=True)
    client = make_client(tmp_path, fake=fake)
    answer = client.post("/v1/extract", json={"text": "x", "deadline_s": 0.1})
    assert _code(answer) == "deadline_exceeded"
    assert fake.held[0][1].cancelled()
    fake.hold = False
    assert client.post("/v1/extract", json={"text": "x"}).status_code == 200, "its place is free"


def test_vocabularies_are_listed_to_who_may_ask_for_their_pipeline(tmp_path: Path) -> None:
    wide, narrow, _ = _with_tokens(tmp_path)
    more = """
linking:
  vocabularies:
    - {index: "starter:drugs", labels: {Drug: []}, link: "https://example.org/{code}"}
    - {index: "starter:diseases", labels: {Disease: []}}
    - {index: "starter:drugs", labels: {Medicine: []}, link: "https://example.org/{code}"}
"""
    app = make_app(tmp_path, "{tokens: tokens.yaml}", more=more)
    client = TestClient(app, base_url="http://127.0.0.1:8000")

    def asked(path: str, token: str) -> Any:
        return client.get(path, headers={"authorization": f"Bearer {token}"}).json()

    drugs, diseases = asked("/v1/vocabularies", wide)["vocabularies"]
    manifest = read_manifest(STARTERS / "drugs")
    assert drugs == {
        "name": manifest.name,
        "version": manifest.version,
        "concepts": manifest.concepts,
        "terms": manifest.terms,
        "link": "https://example.org/{code}",
    }
    assert diseases["link"] is None
    # It may ask for a model alone, which links nothing.
    assert asked("/v1/vocabularies", narrow) == {"vocabularies": []}
    assert _code(client.get("/v1/vocabularies")) == "unauthorized"
    assert "/v1/vocabularies" in asked("/v1/openapi.json", wide)["paths"]


def test_a_pipeline_without_linking_lists_no_vocabulary(client: TestClient) -> None:
    assert client.get("/v1/vocabularies").json() == {"vocabularies": []}


def test_rate_limit_per_client(tmp_path: Path) -> None:
    client = make_client(tmp_path, "{limits: {requests_per_minute: 12}}")
    codes = [client.get("/v1/models").status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    assert client.get("/healthz").status_code == 200


def _with_tokens(folder: Path) -> tuple[str, str, Path]:
    everything, one = new_token("ward"), new_token("narrow", (MODEL,))
    path = folder / "tokens.yaml"
    entries = [token.model_dump(mode="json", exclude_none=True) for _, token in (everything, one)]
    path.write_text(yaml.safe_dump({"tokens": entries}))
    assert everything[0] not in path.read_text()
    return everything[0], one[0], path


def test_tokens(tmp_path: Path) -> None:
    wide, narrow, _ = _with_tokens(tmp_path)
    client = make_client(tmp_path, "{tokens: tokens.yaml}")
    for headers in ({}, {"authorization": "Bearer x"}, {"authorization": f"Basic {wide}"}):
        answer = client.post("/v1/extract", json={"text": "x"}, headers=headers)
        assert _code(answer) == "unauthorized"
        assert answer.headers["www-authenticate"] == "Bearer"
    client.headers["authorization"] = f"Bearer {wide}"
    assert client.post("/v1/extract", json={"text": "x"}).status_code == 200
    client.headers["authorization"] = f"Bearer {narrow}"
    assert _code(client.post("/v1/extract", json={"text": "x"})) == "forbidden"
    assert client.post("/v1/extract", json={"text": "x", "model": MODEL}).status_code == 200
    assert [m["name"] for m in client.get("/v1/models").json()["models"]] == [MODEL]


def test_a_wrong_token_is_refused_before_the_body_is_read(tmp_path: Path) -> None:
    _with_tokens(tmp_path)
    client = make_client(tmp_path, "{tokens: tokens.yaml}", token="wrong")
    assert _code(client.post("/v1/extract", json={"text": 7})) == "unauthorized"


def test_a_removed_token_is_revoked_while_serving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.serve.http.bearer_tokens._REREAD_S", 0.0)
    wide, _, path = _with_tokens(tmp_path)
    client = make_client(tmp_path, "{tokens: tokens.yaml}", token=wide)
    assert client.get("/v1/models").status_code == 200
    path.write_text("tokens: []")
    assert client.get("/v1/models").status_code == 401
    path.write_text("broken: [")
    assert client.get("/v1/models").status_code == 401


def test_no_text_in_logs_or_errors(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "Mrs. Miller of Room 7"
    client = make_client(tmp_path)
    caplog.set_level(logging.DEBUG)
    answers = [
        client.post("/v1/extract", json={"text": secret, "model": secret}),
        client.post("/v1/extract", json={"text": secret, secret: secret}),
        client.post("/v1/extract", json={"documents": [{"text": secret, "id": [secret]}]}),
        client.post("/v1/extract", json={"text": secret, "threshold": secret}),
        client.post("/v1/extract", json={"text": secret, "thresholds": {secret: 7}}),
    ]

    def broken(*_: object) -> None:
        raise RuntimeError(secret)

    monkeypatch.setattr("pipelines.serve.answering.pending.annotate", broken)
    answers.append(client.post("/v1/extract", json={"text": secret}))
    assert [answer.status_code for answer in answers] == [404, 422, 422, 422, 422, 500]
    for answer in answers:
        assert "Miller" not in answer.text
    assert "Miller" not in caplog.text
    assert answers[-1].json()["error"]["request_id"] in caplog.text


def test_an_id_of_the_request_is_kept_when_it_is_harmless(client: TestClient) -> None:
    assert client.get("/healthz", headers={"x-request-id": "a-1"}).headers["x-request-id"] == "a-1"
    long = client.get("/healthz", headers={"x-request-id": "x" * 99}).headers["x-request-id"]
    assert len(long) == 32


def test_openapi_is_3_1_and_names_every_error(client: TestClient) -> None:
    schema = client.get("/v1/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    answers = schema["paths"]["/v1/extract"]["post"]["responses"]
    expected = {str(CODES[code][0]) for code in CODES} - {"405"}
    assert set(answers) == {"200"} | expected
    assert all(code in schema["info"]["description"] for code in CODES)
    assert "HTTPValidationError" not in json.dumps(schema)


@pytest.mark.parametrize(
    ("serve", "message"),
    [
        ('{models: [{model: "starter:token-classifier"}]}', "duplicate model"),
        ("{pools: {nobody: {}}}", "unknown model nobody"),
    ],
)
def test_a_catalogue_that_makes_no_sense(tmp_path: Path, serve: str, message: str) -> None:
    path = tmp_path / "pipe.yaml"
    path.write_text(PIPELINE.format(serve=serve, more=""))
    with pytest.raises(ConfigError, match=message):
        catalogue_of(load_pipeline(path))


def test_a_tokens_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tokens\.yaml"):
        make_app(tmp_path, "{tokens: tokens.yaml}")


def test_the_description_asks_for_a_bearer_where_the_server_does(tmp_path: Path) -> None:
    open_ = make_client(tmp_path).get("/v1/openapi.json").json()
    assert "security" not in json.dumps(open_)
    _with_tokens(tmp_path)
    guarded = make_client(tmp_path, "{tokens: tokens.yaml}").get("/v1/openapi.json").json()
    asking = {path for path, item in guarded["paths"].items() if "security" in json.dumps(item)}
    assert asking == {path for path in guarded["paths"] if path.startswith("/v1/")}


def test_the_description_has_the_whole_request(client: TestClient) -> None:
    schema = client.get("/v1/openapi.json").json()
    body = schema["paths"]["/v1/extract"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/ExtractRequest"}
    schemas = schema["components"]["schemas"]
    assert {"ExtractRequest", "DocumentIn", "Guideline"} <= set(schemas)
    assert set(schemas["ExtractRequest"]["properties"]) == set(ExtractRequest.model_fields)
