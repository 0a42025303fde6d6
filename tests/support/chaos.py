"""Chaos: a lake is worked through while drivers, actors, workers and nodes are killed.

The cluster is Ray's own cluster_utils: several raylets of this machine. Each run is driven by a
process of its own (``python tests/chaos.py ...``), which is killed like the rest and begun again
with the run's id, until the run is committed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import tenacity
from ray.cluster_utils import Cluster

from support import PATHS

KINDS = ("driver", "actor", "worker", "node")


class Arena:
    """A cluster of two worker nodes, and the means to hurt it. A context manager."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self._cluster = _patiently(
            Cluster,
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False},
        )
        self._nodes = [self._added_node() for _ in range(2)]
        self._driver: subprocess.Popen[str] | None = None

    def __enter__(self) -> Arena:
        return self

    def __exit__(self, *_: object) -> None:
        if self._driver is not None and self._driver.poll() is None:
            self._driver.kill()
        self._cluster.shutdown()

    def run(self, work: dict[str, Any], kills: Sequence[str], pause: tuple[float, float]) -> None:
        """Drive a run to its commit while killing in this order, ``pause`` seconds apart.

        ``work``: see ``main``. Raises AssertionError where a driver gives up by itself.
        """
        left = list(kills)
        failures = 0
        self._start(work)
        due = time.monotonic() + self.dice.uniform(*pause)
        while True:
            self._mend()
            assert self._driver is not None
            code = self._driver.poll()
            if code == 0:
                return
            if code is not None:
                failures += code > 0
                # A cluster that loses a node under a driver may end its run, which is resumed.
                assert failures <= len(kills) + 2, self._log(work)
                self._start(work)
            if left and time.monotonic() > due and self._units(work):
                # An actor or worker may not be there just now: then a moment later.
                due = time.monotonic() + self.dice.uniform(*pause)
                if self._kill(left[0]):
                    self.kills[left.pop(0)] += 1
            time.sleep(0.1)

    def _start(self, work: dict[str, Any]) -> None:
        with Path(work["log"]).open("a") as log:
            self._driver = subprocess.Popen(
                [sys.executable, "-m", "support.chaos", json.dumps(work)],
                env={**os.environ, "PYTHONPATH": PATHS, "RAY_ADDRESS": self._cluster.address},
                stdout=log,
                stderr=log,
                text=True,
            )

    def _mend(self) -> None:
        """Replace nodes that Ray itself took for dead: on a machine with too much to do, their
        heartbeats come late."""
        for node in [*self._nodes]:
            if node.all_processes["raylet"][0].process.poll() is not None:
                self._nodes.remove(node)
                self._cluster.remove_node(node, allow_graceful=False)
                self._nodes.append(self._added_node())
                self.kills["node (late heartbeats)"] += 1

    def _added_node(self) -> Any:
        return _patiently(self._cluster.add_node, num_cpus=2)

    def _units(self, work: dict[str, Any]) -> int:
        """Count the units begun: a kill before the first would test nothing."""
        return Path(work["log"]).read_text().count("begun") if Path(work["log"]).exists() else 0

    def _log(self, work: dict[str, Any]) -> str:
        return Path(work["log"]).read_text()[-4000:]

    def _kill(self, kind: str) -> bool:
        """Kill a process of this kind; return False if there was none."""
        if kind == "driver":
            assert self._driver is not None
            self._driver.kill()
            self._driver.wait()
            return True
        if kind == "node":
            node = self._nodes.pop(self.dice.randrange(len(self._nodes)))
            self._cluster.remove_node(node, allow_graceful=False)
            self._nodes.append(self._added_node())
            return True
        # What Ray calls the process of an actor depends on whether a call is under way.
        actors = ("MapWorker", "ExtractActor")
        raylets = {node.all_processes["raylet"][0].process.pid for node in self._nodes}
        victims = [
            pid
            for pid, name in _children(raylets)
            if "ray::" in name and any(word in name for word in actors) == (kind == "actor")
        ]
        with suppress(ProcessLookupError, IndexError):
            os.kill(self.dice.choice(victims), signal.SIGKILL)
            return True
        return False


def _patiently(start: Callable[..., Any], **arguments: Any) -> Any:
    """On a machine with too much to do a raylet may not register within Ray's 30 s."""
    attempts = tenacity.Retrying(stop=tenacity.stop_after_attempt(5), reraise=True)
    return attempts(start, **arguments)


def _children(parents: set[int]) -> Iterator[tuple[int, str]]:
    """Yield ids and command lines of the children of these processes."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in parents:
                name = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                yield int(folder.name), name


def main() -> None:
    """The driver: a run of HashModel, begun or resumed. ``sys.argv[1]`` is JSON: source, sink,
    seconds a document, run (a file that holds the id), rows a unit, endpoint, log."""
    from pipelines.batch.run import begin_run, drive_run
    from pipelines.ray_cluster import cluster
    from pipelines.runs.store import RunStore
    from pipelines.source.units import plan_source
    from pipelines.storage import S3, Storage
    from support.lake import Quiet, hashing, pipeline

    work = json.loads(sys.argv[1])
    more: dict[str, Any] = {"no_progress_timeout_s": 180}
    if work["endpoint"]:
        s3 = S3(endpoint=work["endpoint"], path_style=True, read_timeout_s=2)
        more["storage"] = Storage(s3=s3)
    loaded = pipeline(work["source"], work["sink"], work["unit_rows"], actors=2, **more)
    loaded.pipeline.storage.apply()
    sink = RunStore(work["sink"])
    sink.finish_pending()
    file = Path(work["run"])
    if not file.exists():
        run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
        file.write_text(run_id)
    run_id = file.read_text()
    print(f"begun {run_id}", flush=True)
    if run_id in sink.committed():
        return
    with cluster():
        drive_run(sink, run_id, Quiet(), hashing(work["seconds"]))


if __name__ == "__main__":
    main()
