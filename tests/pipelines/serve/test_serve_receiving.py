"""Bodies as they come in: compressed, too long, too slow; and for whom a rate counts."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import Message
from support.serve import make_app, make_client

from pipelines.serve.http import receiving
from pipelines.serve.http.addresses import client_address
from pipelines.serve.http.receiving import Body
from pipelines.serve.wire.errors import Problem

JSON = {"content-type": "application/json"}
PLAIN = json.dumps({"text": "metformin and insulin"}).encode()


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return make_client(tmp_path, "{limits: {body_mb: 1}}")


def _post(client: TestClient, content: Any, encoding: str = "gzip") -> Any:
    return client.post(
        "/v1/extract", content=content, headers=JSON | {"content-encoding": encoding}
    )


def test_a_gzip_body_has_the_answer_of_a_plain_one(client: TestClient) -> None:
    plain = client.post("/v1/extract", content=PLAIN, headers=JSON).json()["documents"]
    for encoding in ("gzip", "x-gzip", " GZIP"):
        assert _post(client, gzip.compress(PLAIN), encoding).json()["documents"] == plain
    parts = (bytes([byte]) for byte in gzip.compress(PLAIN))
    assert _post(client, parts).json()["documents"] == plain
    assert _post(client, PLAIN, "identity").json()["documents"] == plain


def test_a_gzip_form_is_inflated_too(client: TestClient) -> None:
    form = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\ninsulin\r\n--b--'
    )
    answer = client.post(
        "/v1/extract/upload",
        content=gzip.compress(form),
        headers={"content-type": "multipart/form-data; boundary=b", "content-encoding": "gzip"},
    )
    assert answer.json()["documents"][0]["entities"][0]["text"] == "insulin"


def test_a_bomb_ends_at_the_limit(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    came: list[int] = []
    inflated = Body._inflated

    def noted(self: Body, *given: Any) -> bytes:
        out = inflated(self, *given)
        came.append(len(out))
        return out

    monkeypatch.setattr(Body, "_inflated", noted)
    bomb = gzip.compress(b'{"text": "' + b" " * 50_000_000 + b'"}', 9)
    assert len(bomb) < 100_000
    answer = _post(client, bomb)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert sum(came) == 1_000_001, "of 50 million"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        gzip.compress(PLAIN)[:-3],
        gzip.compress(PLAIN) + b"x",
        gzip.compress(PLAIN) * 2,
        zlib.compress(PLAIN),
        b"",
    ],
)
def test_invalid_gzip_is_an_error(client: TestClient, content: bytes) -> None:
    answer = _post(client, content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_encoding")


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "no"])
def test_another_encoding_is_refused_by_name(client: TestClient, encoding: str) -> None:
    answer = _post(client, PLAIN, encoding)
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_encoding")
    assert "Content-Encoding" in answer.json()["error"]["message"]
    assert answer.headers["accept-encoding"] == "gzip"


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "_BODY_S", 0.01)

    async def scenario() -> None:
        messages: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await asyncio.Event().wait()
            raise AssertionError

        body = Body(receive, 100, gzip=False)
        assert (await body())["body"] == b"{"
        with pytest.raises(Problem, match="body_too_slow"):
            await body()

    asyncio.run(scenario())


TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("203.0.113.7", "", "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),  # not trusted: it may write anything
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1", "198.51.100.1"),  # the first was made up
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1:5678", "198.51.100.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "unknown, 10.0.0.3", "10.0.0.3"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("fd00::1", "[2001:db8:1:2:3:4:5:6]:80", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:aaaa::1", "", "2001:db8:1:2::/64"),  # one site, however it calls itself
        ("testclient", "198.51.100.1", "testclient"),
        ("", "", ""),
    ],
)
def test_for_whom_a_rate_counts(peer: str, forwarded: str, found: str) -> None:
    assert client_address(peer, forwarded, TRUSTED) == found


def test_a_rate_behind_a_proxy_is_of_each_client(tmp_path: Path) -> None:
    serve = "{limits: {requests_per_minute: 6}, trusted_proxies: [10.0.0.0/8]}"
    app, base = make_app(tmp_path, serve), "http://127.0.0.1:8000"

    def asked(client: TestClient, address: str) -> int:
        return client.get("/v1/models", headers={"x-forwarded-for": address}).status_code

    proxy = TestClient(app, base_url=base, client=("10.1.2.3", 1))
    assert [asked(proxy, f"198.51.100.{i}") for i in (1, 1, 2)] == [200, 429, 200]
    other = TestClient(app, base_url=base, client=("203.0.113.7", 1))
    assert [asked(other, f"198.51.100.{i}") for i in (3, 4)] == [200, 429]
