"""Answers as server-sent events: text as it is printed, then documents; and its end."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from support.serve import MODEL, FakeExtractor, events, make_app, make_client

import pipelines.serve.http.streaming
from actors.guideline import Guideline
from actors.spans import Document, Extraction, OnText

TEXT = "metformin and insulin for diabetes"


def test_text_comes_as_it_is_printed_and_the_documents_are_those_of_extract(
    tmp_path: Path,
) -> None:
    client = make_client(tmp_path)
    documents = [{"text": TEXT}, {"id": "bad", "text": "FAIL"}, {"text": "insulin\n\nglargine"}]
    asked = {"documents": documents, "explain": True, "model": MODEL}
    answer = client.post("/v1/extract/stream", json=asked)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    came = events(answer.text)
    names = [name for name, _ in came]
    assert (names[0], names[-1]) == ("start", "done")
    assert came[0][1] == {
        "request_id": answer.headers["x-request-id"],
        "model": MODEL,
        "offsets": "code_points",
    }
    printed: dict[str, str] = {}
    for name, data in came:
        if name == "text":
            printed[data["document"]] = printed.get(data["document"], "") + data["text"]
    plain = client.post("/v1/extract", json=asked).json()["documents"]
    told = {data["id"]: data for name, data in came if name == "document"}
    assert [told[document["id"]] for document in plain] == plain
    assert printed == {
        document["id"]: document["steps"][0]["completion"]
        for document in plain
        if document["status"] == "ok"
    }
    assert names.count("text") == 4


@pytest.mark.parametrize(
    ("asked", "code", "status"),
    [
        ({"text": "x", "model": "nope"}, "model_not_found", 404),
        ({"documents": [{"text": "x", "prompt": "y"}]}, "prompt_not_supported", 422),
        ({"documents": [{"text": "x"}] * 65}, "too_many_documents", 413),
        ({"text": 1}, "invalid_request", 422),
    ],
)
def test_rejected_request_is_not_a_stream(
    tmp_path: Path, asked: dict[str, Any], code: str, status: int
) -> None:
    answer = make_client(tmp_path).post("/v1/extract/stream", json=asked)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("hold", [True, False])
def test_error_during_a_stream_is_an_event(tmp_path: Path, hold: bool) -> None:
    fake = FakeExtractor(hold=hold)
    if not hold:
        fake.error = RuntimeError("metformin for Mrs. Miller")
    client = make_client(tmp_path, fake=fake)
    answer = client.post("/v1/extract/stream", json={"text": TEXT, "deadline_s": 0.1})
    assert answer.status_code == 200
    (first, _), (last, said) = events(answer.text)
    assert (first, last) == ("start", "error")
    assert said["error"]["code"] == ("deadline_exceeded" if hold else "model_unavailable")
    assert said["error"]["request_id"] == answer.headers["x-request-id"]
    assert "Miller" not in answer.text
    fake.hold, fake.error = False, None
    again = client.post("/v1/extract", json={"text": TEXT})
    assert again.status_code == 200, "its place in the queue is free"


def test_no_event_reaches_a_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """sse-starlette logs what it sends where its logger allows debug lines."""
    caplog.set_level(logging.DEBUG)
    answer = make_client(tmp_path).post("/v1/extract/stream", json={"text": TEXT})
    assert "metformin" in answer.text
    assert caplog.records, "the level is in force"
    assert not [record for record in caplog.records if "metformin" in record.getMessage()]


class Slow(FakeExtractor):
    """Tells a word when it is let go on, and is done only after the last."""

    def __init__(self) -> None:
        super().__init__()
        self.on_text: OnText | None = None
        self.future: Future[Extraction] = Future()

    def submit(
        self, document: Document, guideline: Guideline | None = None, on_text: OnText | None = None
    ) -> Future[Extraction]:
        self.on_text = on_text
        self.arrived.set()
        return self.future


@contextmanager
def served(app: Any) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(10)


def _post(port: int, body: bytes) -> socket.socket:
    raw = socket.create_connection(("127.0.0.1", port), timeout=20)
    raw.sendall(
        b"POST /v1/extract/stream HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json"
        b"\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    )
    return raw


def _until(raw: socket.socket, words: bytes) -> bytes:
    got = b""
    while words not in got:
        more = raw.recv(4096)
        assert more, got
        got += more
    return got


def test_each_word_arrives_before_the_next_and_leaving_cancels_the_work(tmp_path: Path) -> None:
    slow = Slow()
    with served(make_app(tmp_path, fake=slow)) as port:
        with _post(port, b'{"text": "insulin"}') as raw:
            assert slow.arrived.wait(20)
            assert slow.on_text is not None
            for word in ("No", " fever"):
                slow.on_text(0, word)
                assert b'"document":"0"' in _until(raw, f'"text":"{word}"'.encode())
        ends = time.monotonic() + 20
        while not slow.future.cancelled() and time.monotonic() < ends:
            time.sleep(0.02)
        assert slow.future.cancelled()


def test_a_quiet_stream_is_kept_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines.serve.http.streaming, "_QUIET_S", 0.05)
    slow = Slow()
    with (
        served(make_app(tmp_path, fake=slow)) as port,
        _post(port, b'{"text": "insulin"}') as raw,
    ):
        _until(raw, b": ping")
        slow.future.set_result(slow.read(Document("0", "insulin")))
        _until(raw, b"event: done")
