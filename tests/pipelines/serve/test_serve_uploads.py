"""Files posted as a form."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from support.serve import MODEL, make_app

PICTURE = b"\x89PNG\r\n\x1a\n insulin"  # by its first bytes; FakeReader reads the rest
PATH = "/v1/extract/upload"


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return _client(tmp_path)


def _client(folder: Path, serve: str = "{}", ocr: bool = True) -> TestClient:
    app = make_app(folder, serve, ocr=ocr)
    return TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)


def _file(content: bytes, name: str = "Mrs. Miller.txt", part: str = "file") -> Any:
    return (part, (name, content, "application/octet-stream"))


def test_texts_and_pictures_are_distinguished_by_content(client: TestClient) -> None:
    files = [_file("čistý insulin\r\n".encode()), _file(b"\xff\xff"), _file(b"metformin", "x.png")]
    answer = client.post(PATH, files=files)
    assert answer.status_code == 200, answer.text
    told = answer.json()["documents"]
    assert [(one["id"], one["status"]) for one in told] == [
        ("0", "ok"),
        ("1", "failed"),
        ("2", "ok"),
    ]
    assert told[0]["entities"][0]["start"] == 6
    assert told[1]["error"]["type"] == "NotText"
    assert "Miller" not in answer.text


def test_the_same_answer_as_json(client: TestClient) -> None:
    options = {"model": MODEL, "labels": ["Drug"], "threshold": 0.7, "explain": True}
    text = "metformin and insulin for diabetes"
    form = client.post(PATH, files=[_file(text.encode())], data={"options": json.dumps(options)})
    body = client.post("/v1/extract", json={"text": text} | options)
    assert form.json()["documents"] == body.json()["documents"]


def test_a_large_file_touches_no_disk(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def rolled(*_: object) -> None:
        raise AssertionError("written to a disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", rolled)
    answer = client.post(PATH, files=[_file(b"insulin " * 120_000)])
    assert answer.status_code == 200
    assert len(answer.json()["documents"][0]["entities"]) == 120_000


def test_markup_is_read_as_in_batch_and_comes_back_with_its_text(client: TestClient) -> None:
    html = gzip.compress(b"<p>some&nbsp;<b>ins</b>ulin</p><p>daily</p>")
    told = client.post(PATH, files=[_file(html), _file(b"some insulin")]).json()["documents"]
    assert told[0]["text"] == "some insulin\ndaily"
    assert (told[0]["entities"][0]["start"], told[0]["entities"][0]["end"]) == (5, 12)
    assert told[1]["text"] is None  # as it was sent


def test_uploads_name_what_their_text_does_not_have(client: TestClient) -> None:
    message = b"MSH|^~\\&|A\rOBX|1|TX|||insulin\rOBX|2|NM|||4\r"
    html = "<html><meta charset=windows-1252><p>insulin für".encode("cp1252")
    files = [_file(message), _file(b"BMI 31, insulin"), _file(html)]
    told = client.post(PATH, files=files).json()["documents"]
    assert [one["status"] for one in told] == ["ok"] * 3  # "BM" begins bitmaps, too
    assert [one["problems"] for one in told] == [["observations left out: 1 NM"], [], []]
    assert [one["text"] for one in told] == ["insulin", None, "insulin für"]


@pytest.mark.parametrize(
    ("content", "type_", "words"),
    [
        (b"PK\x03\x04", "NotText", "ZIP"),
        (b"<ClinicalDocument>", "BadMarkup", "not well-formed"),
        (gzip.compress(b"x" * 9_000_000), "NotText", "limits.body_mb"),
        (gzip.compress(b"x" * 1_100_000), "DocumentTooLarge", "limits.characters"),
    ],
)
def test_a_file_that_cannot_be_read_fails_alone(
    client: TestClient, content: bytes, type_: str, words: str
) -> None:
    told = client.post(PATH, files=[_file(content), _file(b"insulin")]).json()["documents"]
    assert told[0]["error"]["type"] == type_
    assert words in told[0]["error"]["message"]
    assert told[1]["status"] == "ok"


def test_a_server_without_a_reader_fails_the_picture_alone(tmp_path: Path) -> None:
    client = _client(tmp_path, ocr=False)
    told = client.post(PATH, files=[_file(PICTURE), _file(b"insulin")]).json()["documents"]
    assert [one["status"] for one in told] == ["failed", "ok"]
    assert told[0]["error"]["type"] == "PicturesNotRead"


@pytest.mark.parametrize(
    ("send", "code"),
    [
        ({"data": {"options": "{}"}, "files": [_file(b"x", part="image")]}, "bad_form"),
        ({"files": {"options": (None, "{}")}}, "bad_form"),
        ({"files": [("file", (None, "no name"))]}, "bad_form"),
        (
            {"files": [_file(b"x"), ("options", (None, "{}")), ("options", (None, "{}"))]},
            "bad_form",
        ),
        ({"files": [_file(b"x"), ("options", (None, "[" * 300_000))]}, "bad_form"),
        ({"files": [_file(b"x")], "data": {"options": "{"}}, "bad_json"),
        ({"files": [_file(b"x")], "data": {"options": '{"text": "Miller"}'}}, "invalid_request"),
        ({"files": [_file(b"x")], "data": {"options": '{"Miller": 1}'}}, "invalid_request"),
        ({"files": [_file(b"x")] * 65}, "too_many_documents"),
        ({"files": [_file(b"x" * 9_000_000)]}, "body_too_large"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, "unsupported"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; a=b"}}, "bad_form"),
        (
            {"content": b"--x\r", "headers": {"content-type": "multipart/form-data; boundary=x"}},
            "bad",
        ),
        ({"json": {"text": "x"}}, "unsupported_media_type"),
    ],
)
def test_a_form_that_is_none(client: TestClient, send: dict[str, Any], code: str) -> None:
    answer = client.post(PATH, **send)
    assert answer.json()["error"]["code"].startswith(code)
    assert "Miller" not in answer.text


def test_a_web_page_elsewhere_cannot_post_a_form_here(client: TestClient) -> None:
    files = [_file(b"insulin")]
    for origin in ("https://evil.example", "http://127.0.0.1:9000", "null", "http://127.0.0.1"):
        refused = client.post(PATH, files=files, headers={"origin": origin})
        assert refused.json()["error"]["code"] == "origin_forbidden"
    own = client.post(PATH, files=files, headers={"origin": "http://127.0.0.1:8000"})
    assert own.status_code == 200


def test_pixels_of_a_request_are_counted_together(tmp_path: Path) -> None:
    client = _client(tmp_path, "{limits: {megapixels: 0.7}}")  # two pages of FakeReader
    pictures = [{"image": "aW5zdWxpbg=="}] * 3
    told = client.post("/v1/extract", json={"documents": pictures}).json()["documents"]
    assert [one["status"] for one in told] == ["ok", "ok", "failed"]
    assert told[2]["error"]["type"] == "TooManyPixels"
