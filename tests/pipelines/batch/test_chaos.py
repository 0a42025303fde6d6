"""Whatever is killed, and whatever the store answers: every document once, entities as if nothing
had happened."""

from __future__ import annotations

import itertools
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from support.chaos import KINDS, Arena
from support.lake import HashModel, Quiet, Row, hashing, pipeline, rows_of, write_rows
from support.s3_server import S3Server, serving

from actors.config import load_model
from actors.extractor import Share
from actors.spans import Document
from pipelines.batch import RunFailedError, begin_run, drive_run
from pipelines.ray_cluster import cluster
from pipelines.runs.store import RunStore
from pipelines.source.units import plan_source
from pipelines.storage import S3, Storage

pytestmark = [pytest.mark.ray, pytest.mark.s3]
DOCUMENTS = 160


def _lake(folder: Path) -> dict[str, Row]:
    """A lake of uneven files, and the rows that must come of it."""
    ids = [f"d{i}" for i in range(DOCUMENTS)]
    starts = [0, 90, 91, 100, 103, DOCUMENTS]
    for number, (start, end) in enumerate(itertools.pairwise(starts)):
        write_rows(folder / f"{number}.jsonl", ids[start:end])
    model = HashModel(load_model("starter:token-classifier"), Share(), 0, "")
    rows: dict[str, Row] = {}
    for i in ids:
        text = f"note {i}: aspirin, metformin and rest"
        found = model.submit(Document(id=i, text=text)).result().entities
        entities = tuple((e.label, e.start or 0, e.end or 0) for e in found)
        rows[i] = ("ok", "", entities)
    return rows


@pytest.fixture
def server() -> Iterator[S3Server]:
    with serving() as running:
        Storage(s3=S3(endpoint=running.url, path_style=True, read_timeout_s=2)).apply()
        yield running
        Storage().apply()


def chaos(
    server: S3Server, folder: Path, kills: int, seconds: float, seed: int
) -> tuple[Counter[str], int, int]:
    """Runs over one lake until so many kills have struck: how many of each kind, in how many runs,
    and how many documents were lost or are not what they would have been in peace.

    Raises AssertionError where a document came out twice.
    """
    expected = _lake(folder / "in")
    fsspec.filesystem("s3").put(str(folder / "in"), "lake/in", recursive=True)
    server.misbehave(rate=0.03, kinds=["500", "503", "lost", "hang"], hang_s=3)
    number = wrong = 0
    with Arena(seed) as arena:
        while sum(arena.kills[kind] for kind in KINDS) < kills:
            few = kills <= len(KINDS)
            order = list(KINDS) if few else arena.dice.choices(KINDS, weights=(3, 4, 4, 1), k=8)
            sink = f"s3://lake/out{number}"
            work = {
                "source": "s3://lake/in",
                "sink": sink,
                "seconds": seconds,
                "run": str(folder / f"run{number}"),
                "unit_rows": 8,
                "endpoint": server.url,
                "log": str(folder / f"log{number}"),
            }
            arena.run(work, order, (1.0, 4.0))
            rows = rows_of(sink)
            wrong += sum(rows.get(i) != expected.get(i) for i in expected.keys() | rows.keys())
            number += 1
        return arena.kills, number, wrong


@pytest.mark.timeout(600)
def test_a_driver_an_actor_a_worker_and_a_node_are_killed(server: S3Server, tmp_path: Path) -> None:
    kills, _, wrong = chaos(server, tmp_path, kills=3, seconds=0.1, seed=4)
    assert wrong == 0
    assert sum(kills.values()) >= 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [5, 6])
def test_fifty_kills(server: S3Server, tmp_path: Path, seed: int) -> None:
    kills, _, wrong = chaos(server, tmp_path, kills=25, seconds=0.1, seed=seed)
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
        expected = _lake(tmp_path / "in")
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
