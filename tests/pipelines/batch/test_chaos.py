"""Whatever is killed, and whatever the store answers: every document once, entities as if nothing
had happened."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import TWO_CORES
from support.chaos import KINDS
from support.chaos_runs import chaos, uneven_lake
from support.lake import Quiet, hashing, pipeline, rows_of
from support.s3_server import S3Server, serving

from pipelines.batch.run import RunFailedError, begin_run, drive_run
from pipelines.ray_cluster import cluster
from pipelines.runs.store import RunStore
from pipelines.source.units import plan_source
from pipelines.storage import S3, Storage

pytestmark = [pytest.mark.ray, pytest.mark.s3]


@pytest.fixture
def server() -> Iterator[S3Server]:
    with serving() as running:
        Storage(s3=S3(endpoint=running.url, path_style=True, read_timeout_s=2)).apply()
        yield running
        Storage().apply()


@TWO_CORES
@pytest.mark.timeout(600)
def test_a_driver_an_actor_a_worker_and_a_node_are_killed(server: S3Server, tmp_path: Path) -> None:
    *_, (kills, _, wrong) = chaos(server, tmp_path, kills=3, seconds=0.1, seed=4)
    assert wrong == 0
    assert sum(kills.values()) >= 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [5, 6])
def test_fifty_kills(server: S3Server, tmp_path: Path, seed: int) -> None:
    *_, (kills, _, wrong) = chaos(server, tmp_path, kills=25, seconds=0.1, seed=seed)
    assert wrong == 0
    assert all(kills[kind] for kind in KINDS)


@pytest.mark.timeout(400)
def test_a_full_disk_ends_the_run_and_room_resumes_it(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(disk)])
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        expected = uneven_lake(tmp_path / "in")
        loaded = pipeline(str(tmp_path / "in"), str(disk / "out"))
        run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
        sink = RunStore(loaded.pipeline.sink.path)
        with cluster():
            with pytest.raises(RunFailedError, match="No space left"):
                drive_run(sink, run_id, Quiet(), hashing())
            assert sink.committed() == []
            subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
            drive_run(sink, run_id, Quiet(), hashing())
        assert rows_of(sink) == expected
    finally:
        subprocess.run(["umount", str(disk)], check=True)
