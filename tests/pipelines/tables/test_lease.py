"""Leases: one at a time, the dead keep nobody out, the slow are noticed."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.s3_server import serving

from pipelines.runs.lease import Lease, LeaseHeldError
from pipelines.storage import S3, Storage
from pipelines.tables.folder import SinkFolder


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SinkFolder]:
    if request.param == "local":
        yield SinkFolder(str(tmp_path / "out"))
        return
    with serving() as server:
        Storage(s3=S3(endpoint=server.url, path_style=True)).apply()
        server.misbehave(rate=0.1, kinds=["lost"])
        yield SinkFolder("s3://lake/out")
        Storage().apply()


def test_one_at_a_time_holds_it_and_then_the_next(folder: SinkFolder) -> None:
    inside: list[int] = []

    def attempt(number: int) -> bool:
        try:
            with Lease(folder, "x"):
                inside.append(number)
                time.sleep(0.5)
                assert inside == [number]
                inside.clear()
                return True
        except LeaseHeldError:
            return False

    with ThreadPoolExecutor(4) as pool:
        assert any(pool.map(attempt, range(4)))
    assert attempt(5)


def test_stale_lease_view_does_not_acquire_the_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = SinkFolder(str(tmp_path / "out"))
    late = Lease(folder, "x")
    with Lease(folder, "x"):
        old = [late._numbers()]
    with Lease(folder, "x"):  # the second, which removes the first
        pass
    with Lease(folder, "x") as holder:  # the third, which removes the second
        now = late._numbers
        monkeypatch.setattr(late, "_numbers", lambda: old.pop() if old else now())
        with pytest.raises(LeaseHeldError, match="in the meantime"):
            late.__enter__()
        assert holder.held()
    with Lease(folder, "x"):
        pass


def _die_holding(path: str) -> None:
    Lease(SinkFolder(path), "x").__enter__()


def test_a_dead_process_of_this_machine_keeps_nobody_out(tmp_path: Path) -> None:
    folder = SinkFolder(str(tmp_path / "out"))
    process = multiprocessing.get_context("spawn").Process(target=_die_holding, args=(folder.path,))
    process.start()
    process.join()
    with Lease(folder, "x"):
        pass


def test_another_machines_lease_holds_until_its_time(tmp_path: Path) -> None:
    folder = SinkFolder(str(tmp_path / "out"))
    facts = {"token": "t", "host": "elsewhere", "boot": "b", "pid": 1, "until": time.time() + 0.5}
    folder.create("_leases/x/0000000007", json.dumps(facts).encode())
    with pytest.raises(LeaseHeldError, match="on elsewhere"), Lease(folder, "x"):
        pass
    time.sleep(0.5)
    with Lease(folder, "x") as lease:
        assert lease.held()


def test_it_is_renewed_and_a_loss_is_noticed(tmp_path: Path) -> None:
    folder = SinkFolder(str(tmp_path / "out"))
    with Lease(folder, "x", seconds=0.4) as lease:
        time.sleep(1)
        with pytest.raises(LeaseHeldError), Lease(folder, "x"):
            pass
        folder.create("_leases/x/0000000009", b'{"until": 0}')
        assert not lease.held()
