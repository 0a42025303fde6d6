"""Serve's proxy: its own error responses, and connections without a request."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from support.serve import make_app

from pipelines.client import ServerRefused, _is_transient
from pipelines.serve import proxy
from pipelines.serve.proxy import Envelopes, TimeoutProtocol, protections


def _refusing(status: int) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = {"x-request-id": "a-1"}
        await PlainTextResponse("Path '/v1/extract' not found.", status, headers)(
            scope, receive, send
        )

    return TestClient(Envelopes(app))


@pytest.mark.parametrize("status", [404, 500, 503])
@pytest.mark.parametrize("path", ["/v1/extract", "/v1/models", "/readyz", "/healthz"])
def test_serves_own_rejection_may_be_retried(status: int, path: str) -> None:
    answer = _refusing(status).post(path)
    assert answer.status_code == 503
    error = answer.json()["error"]
    assert (error["code"], error["request_id"]) == ("unavailable", "a-1")
    assert answer.headers["x-request-id"] == "a-1"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert _is_transient(ServerRefused(503, "unavailable", "")), "and the client does"


def test_proxy_leaves_application_errors_and_serve_paths_unchanged(tmp_path: Path) -> None:
    client = TestClient(Envelopes(make_app(tmp_path)), base_url="http://127.0.0.1")
    for path in ("/v1/nothing", "/v2/extract"):
        assert client.get(path).json()["error"]["code"] == "not_found"
    assert client.post("/v1/extract", json={"text": "insulin"}).status_code == 200
    assert client.get("/").status_code == 200
    for path in ("/-/routes", "/other/app"):
        assert _refusing(404).get(path).text == "Path '/v1/extract' not found."


def test_serve_takes_it_and_uvicorn_uses_it() -> None:
    from ray.serve._private.http_util import validate_http_proxy_callback_return

    from pipelines.serve.replicas.running import _ENVIRONMENT

    place = _ENVIRONMENT["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"]
    assert place == f"{protections.__module__}:{protections.__name__}"
    assert validate_http_proxy_callback_return(protections())
    config = uvicorn.Config(_echo)
    config.load()
    assert config.http_protocol_class is TimeoutProtocol


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await asyncio.sleep(0.3)  # longer than the patience with what is not there
    await PlainTextResponse(body)(scope, receive, send)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(proxy, "_HEAD_S", 0.1)
    monkeypatch.setattr(proxy, "_BODY_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(_echo, http=TimeoutProtocol, lifespan="off", log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(30)


HEAD = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n"


@pytest.mark.parametrize("sent", [b"", b"POST", HEAD, b"\r\n", HEAD + b"\r\n", HEAD + b"\r\nab"])
def test_a_connection_over_which_no_request_comes_is_closed(port: int, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as half_open:
        half_open.sendall(sent)
        assert half_open.recv(100) == b"", "closed, and not by this side"


def test_a_request_that_is_here_is_answered_however_long_it_takes(port: int) -> None:
    """Also the next one on the connection, and where line ends follow that nobody asked for."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for after in (b"", b"\r\n"):
            connection.sendall(HEAD + b"\r\nabcd" + after)
            answer = b""
            while not answer.endswith(b"abcd"):
                part = connection.recv(1000)
                assert part, answer
                answer += part
            assert answer.startswith(b"HTTP/1.1 200")


def test_the_envelope_is_json() -> None:
    assert json.loads(_refusing(404).get("/v1/models").text)["error"]["details"] == []
