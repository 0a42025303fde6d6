"""Servers as processes of their own, for benchmarks/serve.py."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import yaml

ROOT = Path(__file__).resolve().parent.parent
PER_REQUEST = 8
TICKS = os.sysconf("SC_CLK_TCK")
"""Clock ticks a second of the CPU times in /proc."""


@contextmanager
def process(
    command: list[str], ready: str, seconds: float = 300, statuses: tuple[int, ...] = (200, 404)
) -> Iterator[subprocess.Popen[bytes]]:
    """A server's process, once it answers at ``ready`` with one of the statuses."""
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            ends = time.monotonic() + seconds
            while not _answers(ready, statuses):
                if server.poll() is not None or time.monotonic() > ends:
                    log.seek(0)
                    raise SystemExit(f"{log.read().decode()}\n{command} does not serve")
                time.sleep(0.3)
            yield server
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(120)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)


def _answers(url: str, statuses: tuple[int, ...]) -> bool:
    # A client of httpx2 would read the certificates each time, beside a server that starts.
    try:
        with urlopen(url, timeout=30) as answer:
            return answer.status in statuses
    except HTTPError as error:
        return error.code in statuses
    except OSError:
        return False


def members(session: int) -> Iterator[Path]:
    """The folders in /proc of a session's processes: those of a server and its Ray."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[3]) == session:
                yield folder
        except (OSError, ValueError):
            continue  # it has just ended


def free_port() -> int:
    """Return a free port of the loopback, below the kernel's ephemeral range: from that range, a
    process of Ray could take the port before the server binds it."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def medspan(
    model: str, folder: Path, threads: int = 1, **sections: Any
) -> Iterator[tuple[str, int]]:
    """A server with one replica of one model: the URL to post to, and its process id.
    ``sections``: further ones of the pipeline file."""
    port = free_port()
    config = {
        "name": "benchmark",
        "source": {"path": "unused/"},
        "sink": {"path": "unused/"},
        "steps": [{"model": model, "pool": {"num_cpus": threads}}],
        # A queue of about four seconds of work; what comes too late for its deadline is no good.
        "serve": {"limits": {"queue_documents": 16 * PER_REQUEST}},
        **sections,
    }
    path = folder / "benchmark.yaml"
    path.write_text(yaml.safe_dump(config))
    code = "from pipelines.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", str(path), "--port", str(port)]
    root = f"http://127.0.0.1:{port}"
    # Serve's proxy says 404 before the application is there.
    with process(command, f"{root}/readyz", statuses=(200,)) as server:
        yield f"{root}/v1/extract", server.pid
