"""``medspan serve`` in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from support import ROOT

MEDSPAN = [sys.executable, "-c", "from pipelines.cli import main; main()"]


class Server:
    """The process of ``medspan serve``."""

    def __init__(self, config: Path, port: int, log: Path) -> None:
        self.url, self._log = f"http://127.0.0.1:{port}", log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [*MEDSPAN, "serve", str(config), "--port", str(port)],
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                start_new_session=True,
            )
        self.wait_for("API: /v1")

    def wait_for(self, words: str, seconds: float = 240) -> None:
        ends = time.monotonic() + seconds
        while words not in self.log:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < ends, self.log
            time.sleep(0.1)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def post(self, body: dict[str, Any], seconds: float = 250) -> httpx2.Response:
        return httpx2.post(f"{self.url}/v1/extract", json=body, timeout=seconds)


@contextmanager
def serving(config: Path, log: Path) -> Iterator[Server]:
    """A server of a pipeline on a free port, until the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Server(config, port, log)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.terminate()
            server.process.wait(60)
