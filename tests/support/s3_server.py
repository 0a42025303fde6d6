"""A real S3 server (moto's) over HTTP on loopback, with faults and latency on request.

``python tests/support/s3_server.py PORT`` serves; POST /_faults with JSON sets how it misbehaves:
``rate`` (share of requests, 0 to 1), ``kinds`` ("500", "503", "lost": done but answered with 500,
"hang": no answer for ``hang_s``), ``latency`` (seconds added to every request),
``unconditional`` (conditional puts are done whatever is there).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_CODES = {
    "500": ("500 Internal Server Error", "InternalError"),
    "503": ("503 Service Unavailable", "SlowDown"),
    "lost": ("500 Internal Server Error", "InternalError"),
}


class Faulty:
    """WSGI middleware that misbehaves as it is told."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._exclusive = threading.Lock()
        self._dice = random.Random(7)
        self._faults: dict[str, Any] = {}
        self._counts = {"requests": 0, "faults": 0, "bytes": 0}

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/_faults":
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            with self._lock:
                if body:
                    self._faults = json.loads(body)
                counts = dict(self._counts)
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(counts).encode()]
        with self._lock:
            faults = self._faults
            hit = self._dice.random() < faults.get("rate", 0)
            kind = self._dice.choice(faults["kinds"]) if hit else ""
            self._counts["requests"] += 1
            self._counts["faults"] += hit
        time.sleep(faults.get("latency", 0))
        if kind == "hang":
            time.sleep(faults.get("hang_s", 3))
            kind = "500"
        if kind == "lost":
            with self._exclusive:
                list(self._app(environ, lambda *_: None))
        elif kind and environ.get("CONTENT_LENGTH"):
            environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        if faults.get("unconditional"):
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if not kind and "HTTP_IF_NONE_MATCH" in environ:
            with self._exclusive:  # S3's conditional put is atomic; moto's is not
                return list(self._app(environ, start))
        if not kind:
            return self._app(environ, start)
        status, code = _CODES[kind]
        start(status, [("Content-Type", "application/xml")])
        if environ["REQUEST_METHOD"] == "HEAD":
            return []  # a body would be read as the beginning of another response
        return [f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()]


class S3Server:
    """The running server, seen from a test."""

    def __init__(self, url: str) -> None:
        self.url = url

    def misbehave(self, **faults: Any) -> None:
        """From now on; without arguments: behave."""
        self._post(json.dumps(faults).encode())

    def counts(self) -> dict[str, int]:
        """Requests and injected faults so far."""
        return self._post(b"")

    def _post(self, body: bytes) -> dict[str, int]:
        request = urllib.request.Request(f"{self.url}/_faults", data=body, method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())  # type: ignore[no-any-return]


@contextmanager
def serving() -> Iterator[S3Server]:
    """A server in a process of its own, with the bucket ``lake``; credentials in the
    environment, where workers of Ray find them too."""
    import fsspec

    from benchmarks.serve_process import (
        free_port,  # not there for the script that this module is, too
    )

    port = free_port()
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), str(port)], stderr=subprocess.DEVNULL
    )
    before = dict(os.environ)
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    server = S3Server(f"http://127.0.0.1:{port}")
    try:
        for _ in range(300):
            try:
                server.counts()
                break
            except OSError:
                time.sleep(0.1)
        system = fsspec.filesystem("s3", endpoint_url=server.url, skip_instance_cache=True)
        system.mkdir("lake", create_parents=True)
        yield server
    finally:
        os.environ.clear()
        os.environ.update(before)
        process.terminate()
        process.wait(10)


def main() -> None:
    """Serve until terminated."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Handler(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are kept, as a real store's are

        def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
            pass

    app = Faulty(DomainDispatcherApplication(create_backend_app))
    make_server(
        "127.0.0.1", int(sys.argv[1]), app, threaded=True, request_handler=Handler
    ).serve_forever()


if __name__ == "__main__":
    main()
