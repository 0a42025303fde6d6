"""A server on loopback that answers as the Hugging Face hub does to ``huggingface_hub``: what a
repository has, the size and SHA-256 of each file, and the files."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_COMMIT = "0" * 40


@contextmanager
def hub(folder: Path, wrong: str | None = None) -> Iterator[str]:
    """Serve the repositories ``folder/<owner>/<name>``; yields what HF_ENDPOINT must say.

    ``wrong``: the name of a file with a wrong stated SHA-256.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(urlsplit(self.path).path.strip("/").split("/"))

        do_HEAD = do_GET  # noqa: N815

        def _answer(self, parts: list[str]) -> None:
            match parts:
                case ["api", "models", owner, name, "tree", _, *inner]:
                    place = folder.joinpath(owner, name, *inner)
                    if not place.is_dir():
                        return self._json(404, {"error": "no such folder"})
                    return self._json(
                        200,
                        [
                            _entry(one, folder / owner / name, wrong)
                            for one in sorted(place.iterdir())
                        ],
                    )
                case ["api", "models", owner, name, *_]:
                    if not (folder / owner / name).is_dir():
                        return self._json(404, {"error": "Repository not found"})
                    return self._json(200, {"id": f"{owner}/{name}", "sha": _COMMIT})
                case [owner, name, "resolve", _, *inner]:
                    file = folder.joinpath(owner, name, *inner)
                    if file.is_file():
                        return self._send(200, file.read_bytes(), "application/octet-stream")
            return self._json(404, {"error": "not found"})

        def _json(self, status: int, content: Any) -> None:
            self._send(status, json.dumps(content).encode(), "application/json")

        def _send(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Repo-Commit", _COMMIT)
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _entry(path: Path, root: Path, wrong: str | None) -> dict[str, Any]:
    said: dict[str, Any] = {"path": str(path.relative_to(root)), "oid": "1" * 40, "size": 0}
    if path.is_dir():
        return said | {"type": "directory"}
    content = path.read_bytes()
    sha256 = "f" * 64 if path.name == wrong else hashlib.sha256(content).hexdigest()
    lfs = {"oid": sha256, "size": len(content), "pointerSize": 130}
    return said | {"type": "file", "size": len(content), "lfs": lfs}
