"""The contents of a body are counted before parsing: a small request cannot cause much work."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from support.serve import make_client

from pipelines.serve.http import bodies
from pipelines.serve.http.bodies import _TOKEN, parsed
from pipelines.serve.wire.errors import Problem
from pipelines.serve.wire.requests import ExtractRequest

JSON = {"content-type": "application/json"}


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return make_client(tmp_path)


@pytest.fixture
def unparsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No parser is reached."""

    def parse(*_: object, **__: object) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr(ExtractRequest, "model_validate_json", parse)


def _many(item: str, count: int = 300_000) -> str:
    return ",".join([item] * count)


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (f'{{"documents": [{_many("{}")}]}}', "too_many_documents"),
        (f'{{"text": "x", "documents": [{_many("{}")}]}}', "too_many_documents"),
        (f'{{"labels": [{_many("1")}]}}', "too_many_values"),
        ('{"documents": [{"text": [' + _many("[]") + "]}]}", "too_many_values"),
        ('{"docu\\u006dents": [' + _many("{}") + "]}", "too_many_values"),
        ("{" + _many('"a": 1') + "}", "too_many_values"),
        ('{"documents": [{' + _many('"a": 1') + "}]}", "too_many_values"),
        ('{"thresholds": {' + _many('"a": "b"') + "}}", "too_many_values"),
        ("[" * 300_000, "too_many_values"),
        ("[" + _many("[]") + "]", "too_many_values"),
    ],
)
def test_too_much_is_refused_before_anything_is_parsed(
    client: TestClient, body: str, code: str
) -> None:
    for path in ("/v1/extract", "/v1/extract/stream"):
        answer = client.post(path, content=body, headers=JSON)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == code


def test_the_options_of_a_form_are_counted_too(client: TestClient) -> None:
    answer = client.post(
        "/v1/extract/upload",
        files={"file": b"insulin"},
        data={"options": '{"thresholds": {' + _many('"a": "b"', 20_000) + "}}"},
    )
    assert answer.json()["error"]["code"] == "too_many_values"


def test_at_most_20_errors_are_listed_and_of_documents_the_first(client: TestClient) -> None:
    for body, most in (
        ({"documents": [{"text": 1}] * 60}, 1),
        ({"text": "x", "labels": [1] * 400}, 1),
        ({"text": "x", "thresholds": {f"L{i}": "high" for i in range(400)}}, 20),
        ({"text": "x"} | {f"key{i}": 1 for i in range(400)}, 1),
        ({"documents": [{"text": "x"} | {f"key{i}": 1 for i in range(400)}]}, 1),
        ({"text": "x", "labels": ["a"] * 501}, 1),
    ):
        answer = client.post("/v1/extract", json=body)
        assert answer.json()["error"]["code"] == "invalid_request"
        assert 1 <= len(answer.json()["error"]["details"]) <= most


_texts = st.text(st.characters(codec="utf-8")) | st.sampled_from(
    ['"', "\\", '\\"', "{", "[[", "],[", '"documents": [', ",,,,,,,,,,,,"]
)


@given(st.lists(_texts, min_size=1, max_size=12), st.integers(1, 12), st.booleans())
def test_texts_never_count_whatever_stands_in_them(
    texts: list[str], most: int, ascii_only: bool
) -> None:
    asked = {"labels": ["documents", "a"], "documents": [{"text": text} for text in texts]}
    body = json.dumps(asked, ensure_ascii=ascii_only).encode()
    if len(texts) > most:
        with pytest.raises(Problem, match="too_many_documents"):
            parsed(body, ExtractRequest, most)
    else:
        read = parsed(body, ExtractRequest, most).documents or []
        assert [one.text for one in read] == texts


@given(st.binary(max_size=60))
def test_invalid_json_raises_only_problem(body: bytes) -> None:
    with pytest.raises(Problem):
        parsed(b"{" + body, ExtractRequest, 3)


def test_a_string_that_never_ends_is_looked_at_once() -> None:
    assert sum(1 for _ in _TOKEN.finditer(b'"' + b'\\"' * 100_000)) == 1
    assert sum(1 for _ in _TOKEN.finditer(b'"' + b"\\\\" * 100_000 + b"\\")) == 1


def test_all_that_a_request_may_have_is_let_in(client: TestClient) -> None:
    document = {"id": "a", "text": "insulin", "url": None, "image": None, "prompt": None}
    body: dict[str, Any] = {
        "documents": [document | {"id": f"d{i}"} for i in range(64)],
        "labels": ["Drug", *(f"L{i}" for i in range(499))],
        "thresholds": {f"L{i}": 0.5 for i in range(500)},
        "guideline": {
            "name": "g",
            "labels": {"Drug": {"synonyms": [f"name {i}" for i in range(3_900)]}},
        },
    }
    found = client.post("/v1/extract", json=body).json()["documents"]
    assert [len(one["entities"]) for one in found] == [1] * 64


def test_a_large_body_is_parsed_in_another_thread(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart: list[bool] = []

    def noted(*given: Any) -> Any:
        apart.append(threading.current_thread().name.startswith("asyncio_"))
        return parsed(*given)

    monkeypatch.setattr(bodies, "parsed", noted)
    assert client.post("/v1/extract", json={"text": "insulin"}).status_code == 200
    assert apart == [False]
    assert client.post("/v1/extract", json={"text": "a" * 150_000}).status_code == 200
    assert apart == [False, True]


@pytest.mark.parametrize(
    "more",
    [
        {"threshold": True},
        {"threshold": "0.5"},
        {"thresholds": {"Drug": True}},
        {"thresholds": {"Drug": "0.5"}},
        {"deadline_s": "5"},
        {"deadline_s": True},
        {"explain": "yes"},
        {"explain": 1},
        {"page_pictures": "true"},
    ],
)
def test_a_number_is_a_number_and_a_switch_a_switch(
    client: TestClient, more: dict[str, Any]
) -> None:
    answer = client.post("/v1/extract", json={"text": "insulin"} | more)
    assert answer.json()["error"]["code"] == "invalid_request"
    assert client.post("/v1/extract", json={"text": "x", "threshold": 1}).status_code == 200


@pytest.mark.parametrize(
    "documents",
    [
        [{"id": "1", "text": "a"}, {"text": "b"}],
        [{"text": "a"}, {"id": "0", "text": "b"}],
        [{"id": "a", "text": "a"}, {"id": "a", "text": "b"}],
    ],
)
def test_no_two_documents_have_one_id_not_even_by_their_places(
    client: TestClient, documents: list[dict[str, str]]
) -> None:
    answer = client.post("/v1/extract", json={"documents": documents})
    assert answer.json()["error"]["code"] == "invalid_request"


def test_ids_that_are_places_of_their_own_are_fine(client: TestClient) -> None:
    asked = {"documents": [{"id": "1", "text": "a"}, {"id": "0", "text": "b"}]}
    found = client.post("/v1/extract", json=asked).json()["documents"]
    assert [one["id"] for one in found] == ["1", "0"]
