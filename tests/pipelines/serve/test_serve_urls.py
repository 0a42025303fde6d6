"""Documents by address: only what is listed, whatever a request writes and wherever it leads."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient
from support.serve import make_app

from pipelines.config import UrlSource
from pipelines.serve.answering.url_documents import ByteBudget, Fetcher, FetchError, may_reach

LISTED = "https://files.example/notes/"


class Handler(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        status, headers, body = {
            "/notes/a.txt": (200, {}, "čistý insulin".encode()),
            "/notes/b.png": (200, {}, b"\x89PNG\r\n\x1a\n"),
            "/notes/away": (302, {"location": "http://169.254.169.254/latest/"}, b""),
            "/notes/home": (301, {"location": "/secret"}, b""),
            "/notes/zip": (200, {"content-encoding": "gzip"}, b"insulin"),
            "/notes/big": (200, {}, b"insulin " * 200_000),
            "/notes/bytes": (200, {}, b"\xff\xff"),
            "/secret": (200, {}, b"secret"),
        }.get(self.path.partition("?")[0], (404, {}, b"insulin"))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Site", (Handler,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.fixture
def client(tmp_path: Path, site: tuple[str, list[str]]) -> TestClient:
    serve = f"{{urls: [{{prefix: {site[0]}/notes/, private: true}}], limits: {{body_mb: 1}}}}"
    return TestClient(make_app(tmp_path, serve, ocr=True), base_url="http://127.0.0.1")


def _ask(client: TestClient, *urls: str) -> Any:
    return client.post("/v1/extract", json={"documents": [{"url": url} for url in urls]})


def test_allowed_url_is_read_and_its_text_returned(
    client: TestClient, site: tuple[str, list[str]]
) -> None:
    answer = _ask(client, f"{site[0]}/notes/a.txt?version=2")
    [told] = answer.json()["documents"]
    assert told["text"] == "čistý insulin"
    assert [(e["text"], e["start"]) for e in told["entities"]] == [("insulin", 6)]
    assert client.get("/v1/models").json()["urls"] == [f"{site[0]}/notes/"]


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("away", "FetchError", "redirects"),
        ("home", "FetchError", "redirects"),
        ("zip", "FetchError", "Content-Encoding"),
        ("big", "FetchError", "limits.body_mb"),
        ("none", "FetchError", "status 404"),
        ("bytes", "NotText", "UTF-8"),
    ],
)
def test_unreachable_url_fails_only_its_document(
    client: TestClient, site: tuple[str, list[str]], path: str, kind: str, words: str
) -> None:
    bad, good = f"{site[0]}/notes/{path}", f"{site[0]}/notes/a.txt"
    told = _ask(client, good, bad, *([] if path == "big" else [good])).json()["documents"]
    assert told[0]["status"] == told[-1]["status"] or path == "big"
    assert (told[1]["status"], told[1]["error"]["type"]) == ("failed", kind)
    assert words in told[1]["error"]["message"]
    assert site[0] not in told[1]["error"]["message"]
    assert "/secret" not in site[1]


@pytest.mark.parametrize(
    "url",
    [
        "{site}/secret",
        "{site}/notes/../secret",
        "{site}/notes/./../secret",
        "{site}/notes/%2e%2e/secret",
        "{site}/notes/%2E%2e%2fsecret",
        "{site}/notes/..%5csecret",
        "{site}/notes/%252e%252e/secret",
        "{site}/notes/..;/secret#",
        "{site}/notes/..;/secret",
        "{site}/notes/..;x=1/secret",
        "{site}/notes/.;/..;/secret",
        "{site}/notes/..%3b/secret",
        "{site}/notes/%2e%2e%3Bx/secret",
        "{site}/notes/..%20/secret",
        "{site}/notes/%EF%BC%8E%EF%BC%8E/secret",
        "{site}/notes\\..\\secret",
        "{site}/notes/a.txt#@169.254.169.254/",
        "{site}/notes/\r\nhost: evil",
        "{site}@evil.example/notes/a.txt",
        "http://u:p@{host}/notes/a.txt",
        "https://{host}/notes/a.txt",
        "http://{host}.evil.example/notes/a.txt",
        "http://127.0.0.1/notes/a.txt",
        "http://localhost:{port}/notes/a.txt",
        "http://2130706433:{port}/notes/a.txt",
        "http://[::1]:{port}/notes/a.txt",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "file://{host}/notes/a.txt",
        "ftp://{host}/notes/a.txt",
        "gopher://{host}/notes/",
        "data:text/plain,insulin",
        "//{host}/notes/a.txt",
        "/etc/passwd",
        "s3://bucket/notes/a.txt",
        "",
    ],
)
def test_no_writing_of_an_address_leads_elsewhere(
    client: TestClient, site: tuple[str, list[str]], url: str
) -> None:
    host = site[0].removeprefix("http://")
    before = len(site[1])
    url = url.format(site=site[0], host=host, port=host.partition(":")[2])
    answer = _ask(client, f"{site[0]}/notes/a.txt", url)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "url_forbidden")
    assert len(site[1]) == before, "nothing was asked, not even the good one"


def test_without_a_list_there_is_no_address(tmp_path: Path, site: tuple[str, list[str]]) -> None:
    client = TestClient(make_app(tmp_path), base_url="http://127.0.0.1")
    assert _ask(client, f"{site[0]}/notes/a.txt").status_code == 403


def _fetch(prefix: str, url: str, addresses: list[str], private: bool = False) -> list[str]:
    """The hosts that were resolved on the way to a fetch that fails."""
    seen = []

    async def resolve(host: str, port: int) -> list[str]:
        seen.append(host)
        return addresses

    fetcher = Fetcher([UrlSource(prefix=prefix, private=private)], resolve)
    with pytest.raises(FetchError, match=r"not under any prefix|not allowed"):
        asyncio.run(fetcher.fetch(url, ByteBudget(1_000)))
    return seen


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.1.2.3"],
        ["192.168.1.1"],
        ["169.254.169.254"],
        ["::1"],
        ["fe80::1%eth0"],
        ["fd00::1"],
        ["::ffff:10.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"],
        ["0.0.0.0"],
        ["224.0.0.1"],
        ["93.184.216.34", "127.0.0.1"],
        [],
    ],
)
def test_a_listed_name_that_leads_inside_is_refused(addresses: list[str]) -> None:
    assert _fetch(LISTED, f"{LISTED}a", addresses) == ["files.example"]


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("93.184.216.34", True, True),
        ("2606:2800:220:1::1", True, True),
        ("10.1.2.3", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("fd00::1", False, True),
        ("::ffff:192.168.0.1", False, True),
        ("169.254.169.254", False, False),
        ("fe80::1", False, False),
        ("0.1.2.3", False, False),
        ("255.255.255.255", False, False),
        ("240.0.0.1", False, False),
        ("::", False, False),
    ],
)
def test_private_addresses_need_permission(address: str, public: bool, private: bool) -> None:
    assert (may_reach(address, False), may_reach(address, True)) == (public, private)


def test_a_name_is_resolved_once_and_connected_to_where_it_was_looked_at(
    site: tuple[str, list[str]],
) -> None:
    port = int(site[0].rpartition(":")[2])
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])

    async def resolve(host: str, port: int) -> list[str]:
        return next(answers)

    prefix = f"http://files.example:{port}/notes/"
    fetcher = Fetcher([UrlSource(prefix=prefix, private=True)], resolve)
    content = asyncio.run(fetcher.fetch(f"{prefix}a.txt", ByteBudget(1_000)))
    assert content.decode() == "čistý insulin"
    assert next(answers) == ["169.254.169.254"], "it was asked once"


@pytest.mark.parametrize(
    "prefix",
    ["file:///notes/", "https://", "https://h", "https://u:p@h/", "https://h/a", "https://h/?a=/",
     "ftp://h/", "notes/"],
)  # fmt: skip
def test_a_listed_address_is_a_beginning(prefix: str) -> None:
    with pytest.raises(ValidationError):
        UrlSource(prefix=prefix)


def test_an_address_is_in_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, site: tuple[str, list[str]]
) -> None:
    prefix = f"{site[0]}/notes/"
    app = make_app(tmp_path, f"{{urls: [{{prefix: {prefix}, private: true}}]}}")
    client = TestClient(app, base_url="http://127.0.0.1")
    caplog.set_level("DEBUG", logger="pipelines")
    assert _ask(client, f"{prefix}Mrs-Miller").status_code == 200
    assert "Miller" not in "".join(
        record.getMessage() for record in caplog.records if record.name.startswith("pipelines")
    )


@pytest.mark.parametrize(
    ("prefix", "url", "allowed"),
    [
        ("http://[::1]:8080/notes/", "http://[::1]:8080/notes/a", True),
        ("http://[::1]:8080/notes/", "http://[0:0::1]:8080/notes/a", True),
        ("http://[2001:DB8::A]/", "HTTP://[2001:db8:0:0::a]:80/a;v=1", True),
        ("https://files.example:443/", "https://FILES.example/a", True),
        ("http://[::1]:8080/notes/", "http://[::1]/notes/a", False),
        ("http://[::1]:8080/notes/", "http://[::2]:8080/notes/a", False),
        ("http://[::1]:8080/notes/", "http://u@[::1]:8080/notes/a", False),
        ("http://[::1]:8080/notes/", "http://[::1]:8080@evil.example/notes/a", False),
        ("http://[::1]:8080/notes/", "http://[::1]x:8080/notes/a", False),
        ("http://[::1]:8080/notes/", "http://[::1]:99999/notes/a", False),
        ("https://files.example/", "http://files.example:443/a", False),
        (LISTED, f"{LISTED}a;b/..c/d..e", True),
    ],
)
def test_an_origin_is_the_same_however_it_is_written(prefix: str, url: str, allowed: bool) -> None:
    assert Fetcher([UrlSource(prefix=prefix)]).allows(url) is allowed


def test_a_document_from_a_host_by_its_ipv6_address() -> None:
    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6

    try:
        server = Server(("::1", 0), type("Site", (Handler,), {"asked": []}))
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = UrlSource(prefix=f"http://[::1]:{server.server_port}/notes/", private=True)
        fetching = Fetcher([source]).fetch(f"{source.prefix}a.txt", ByteBudget(1_000))
        assert asyncio.run(fetching).decode() == "čistý insulin"
        server.shutdown()


@pytest.mark.parametrize("prefix", ["http://h:no/", "http://h:99999/", "http://[::1/"])
def test_a_prefix_that_is_no_address_is_refused(prefix: str) -> None:
    with pytest.raises(ValidationError):
        UrlSource(prefix=prefix)
