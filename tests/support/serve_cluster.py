"""A Ray cluster of one machine as `ray start` begins it, with medspan as `serve deploy` has it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import yaml

from actors.spans import Document
from benchmarks.serve_process import free_port
from pipelines.client import Client, ServerRefused, ServerUnreachable
from support import ROOT

BIN = Path(sys.executable).parent
TOKEN = "a-token-of-the-test-and-of-nothing-else"
TEXT = "Metformin 500 mg twice daily."


class Cluster:
    """A head with token authentication."""

    def __init__(self, folder: Path, cpus: int) -> None:
        (folder / "ray-token").write_text(TOKEN)
        dashboard = free_port()
        self.address = f"http://127.0.0.1:{dashboard}"
        self.environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(folder / "ray-token"),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
            "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
            "RAY_SERVE_PROXY_USE_GRPC": "1",
        }
        self.environment.pop("RAY_ADDRESS", None)
        self._log = folder / "head.log"
        with self._log.open("w") as log:
            self._head = subprocess.Popen(
                [
                    *(str(BIN / "ray"), "start", "--head", "--block", f"--num-cpus={cpus}"),
                    f"--port={free_port()}",
                    "--dashboard-host=127.0.0.1",
                    f"--dashboard-port={dashboard}",
                    f"--dashboard-agent-listen-port={free_port()}",
                    f"--temp-dir=/tmp/ray-serve-{os.getpid()}",
                ],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait_for(lambda: self._ask() is not None, "the cluster is up")

    def stop(self) -> None:
        """End everything at once; asked kindly, Ray would first move the replicas elsewhere."""
        session = self._head.pid
        for _ in range(3):  # whoever was being started meanwhile
            for folder in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    stat = (folder / "stat").read_text()
                    if int(stat.rsplit(")", 1)[1].split()[3]) == session:
                        os.kill(int(folder.name), signal.SIGKILL)
            time.sleep(0.2)
        self._head.wait(60)

    def deploy(self, config: Path) -> None:
        """`serve deploy`; it returns before anything is deployed."""
        done = subprocess.run(
            [str(BIN / "serve"), "deploy", str(config), "-a", self.address],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def deployments(self) -> dict[str, dict[str, Any]]:
        """The deployments of medspan, by name, as Serve's own REST API shows them."""
        found = (self._ask() or {}).get("applications", {}).get("medspan", {})
        deployments: dict[str, dict[str, Any]] = found.get("deployments", {})
        return deployments

    def replicas(self, name: str) -> set[int]:
        """Ids of the processes of a deployment that are up."""
        replicas = self.deployments().get(name, {}).get("replicas", [])
        return {one["pid"] for one in replicas if one["state"] == "RUNNING"}

    def healthy(self, *names: str) -> bool:
        """Return True if all deployments are healthy, and these exist."""
        found = self.deployments()
        return set(names) <= set(found) and all(d["status"] == "HEALTHY" for d in found.values())

    def wait_for(self, there: Callable[[], bool], what: str, seconds: float = 180) -> None:
        """Wait until something is there; at the end of all patience, with Serve's own words."""
        ends = time.monotonic() + seconds
        while not there():
            assert self._head.poll() is None, self._log.read_text()
            assert time.monotonic() < ends, f"not yet: {what}\n{yaml.safe_dump(self._ask())}"
            time.sleep(0.3)

    def _ask(self) -> dict[str, Any] | None:
        try:
            answer = httpx2.get(
                f"{self.address}/api/serve/applications/",
                headers={"authorization": f"Bearer {TOKEN}"},
                timeout=30,
            )
        except httpx2.TransportError:
            return None
        found: dict[str, Any] | None = answer.json() if answer.status_code == 200 else None
        return found


class Load:
    """Requests one after another in a few threads until the end of the block, each with a text of
    its own. ``outcomes`` counts them: "right", or what else happened.

    ``attempts``: as of Client; 1 sends each request once, and any failure is seen.
    """

    def __init__(self, url: str, token: str, attempts: int = 1, threads: int = 3) -> None:
        self.outcomes: Counter[str] = Counter()
        self._client = Client(url, token, attempts=attempts, timeout_s=60)
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(place,)) for place in range(threads)
        ]

    def _ask(self, place: int) -> None:
        number = 0
        while not self._ended.is_set():
            number += 1
            outcome = self._once(f"{place}.{number}")
            self.outcomes[outcome] += 1

    def _once(self, id_: str) -> str:
        text = f"{TEXT} {'Again. ' * (hash(id_) % 5)}"
        try:
            [answer] = self._client.extract(
                [Document(id=id_, text=text)], "starter-token-classifier"
            )
        except ServerRefused as refused:
            return f"{refused.status} {refused.code}"
        except ServerUnreachable as error:
            return str(error)
        found = [(e.label, e.text, e.start) for e in answer.entities]
        right = answer.document_id == id_ and ("Drug", "Metformin", 0) in found
        return "right" if right else "wrong"

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._client.close()
