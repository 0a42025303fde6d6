"""Placement on logical GPUs, and actors that begin anew, in a real Ray."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import ray
from support import TWO_CORES
from support.lake import HashModel, Row, pipeline, rows_of, with_pool, write_rows

from actors.config import ConfigError, ModelConfig
from actors.extractor import Share
from actors.memory import cores
from actors.spans import Document, Extraction
from pipelines.batch.run import Outcome, begin_run, drive_run
from pipelines.capacity.fractions import smallest_gpu
from pipelines.capacity.nodes import nodes
from pipelines.ray_cluster import cluster
from pipelines.runs.store import RunStore
from pipelines.runs.tally import Tally
from pipelines.source.units import plan_source
from pipelines.stages import Stage
from pipelines.worker import process_health

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with cluster(num_gpus=2):
        yield


class Place:
    """An actor that says where it is: the GPU's number, and what CUDA would see."""

    def where(self) -> tuple[str, str]:
        (card,) = ray.get_gpu_ids()
        return str(card), os.environ["CUDA_VISIBLE_DEVICES"]


def _placed(fractions: Sequence[float]) -> list[tuple[Any, str]]:
    """An actor for each fraction, and the GPU it was given.

    One after the other: those that start at once are placed in any order, and then a half can find
    0.4 of one GPU and 0.3 of the other.
    """
    made = []
    for part in fractions:
        actor = ray.remote(num_cpus=0, num_gpus=part)(Place).remote()
        card, visible = ray.get(actor.where.remote(), timeout=60)
        assert card == visible
        made.append((actor, card))
    return made


def _end(actors: Sequence[Any]) -> None:
    """Kill them, and wait for what they held."""
    for actor in actors:
        ray.kill(actor)
    for _ in range(600):
        if ray.available_resources().get("GPU") == 2:
            return
        time.sleep(0.1)
    raise AssertionError(ray.available_resources())


def test_eight_quarters_fill_two_cards_and_a_ninth_waits() -> None:
    placed = _placed([0.25] * 8)
    assert Counter(card for _, card in placed) == {"0": 4, "1": 4}
    ninth = ray.remote(num_cpus=0, num_gpus=0.25)(Place).remote()
    answer = ninth.where.remote()
    assert ray.wait([answer], timeout=2)[0] == []
    (first, card), *others = placed
    ray.kill(first)
    assert ray.get(answer, timeout=60)[0] == card
    _end([ninth, *(actor for actor, _ in others)])


def test_shares_pack_without_oversubscribing_a_gpu() -> None:
    fractions = [0.5, 0.5, 0.2, 0.2, 0.2, 0.2]
    placed = _placed(fractions)
    taken: Counter[str] = Counter()
    for (_, card), part in zip(placed, fractions, strict=True):
        taken[card] += round(part * 10)
    assert sorted(taken.values()) == [8, 10]
    _end([actor for actor, _ in placed])


def test_a_node_reports_its_cores() -> None:
    (node,) = nodes()
    assert node.gpus == 2
    assert node.cores == min(node.cpus, cores())


def test_threads_that_would_share_cores_are_refused_before_any_work(tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.jsonl", ["d1"])
    count = 4 * cores()
    loaded = pipeline(str(tmp_path / "in"), str(tmp_path / "out"))
    loaded = with_pool(loaded, num_cpus=0.25, max_actors=count)
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    (tmp_path / "processes").mkdir()
    load = Counted(str(tmp_path / "processes"))
    with pytest.raises(ConfigError, match=rf"actors with {count} threads .*lower pool\.max_actors"):
        drive_run(RunStore(str(tmp_path / "out")), run_id, Quiet(), load=load)
    assert [*(tmp_path / "processes").iterdir()] == []


def test_declared_gpu_has_unknown_memory() -> None:
    assert smallest_gpu() is None


@dataclass(frozen=True)
class Counted:
    """Loads a model, and leaves a file for each process that did."""

    folder: str

    def __call__(self, config: ModelConfig, share: Share) -> HashModel:
        (Path(self.folder) / str(os.getpid())).touch()
        return HashModel(config, share, 0.0, "")


class Quiet:
    def working(self, documents: float, steps: int) -> None:
        pass

    def update(self, tally: Tally, documents: int) -> None:
        pass


def _drive(
    folder: Path, ids: list[str], load: Any, steps: int = 1, **pool: object
) -> tuple[Outcome, dict[str, Row]]:
    """A run over so many documents in units of eight: how it ended, and what holds."""
    write_rows(folder / "in" / "a.jsonl", ids)
    (folder / "processes").mkdir(parents=True)
    loaded = pipeline(str(folder / "in"), str(folder / "out"), unit_rows=8)
    loaded = with_pool(loaded, **pool)
    (stage,) = loaded.stages
    stages = tuple(
        Stage(f"m{i}", stage.model.model_copy(update={"name": f"m{i}"}), stage.pool)
        for i in range(steps)
    )
    loaded = replace(loaded, stages=stages)
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    outcome = drive_run(RunStore(str(folder / "out")), run_id, Quiet(), load=load)
    return outcome, rows_of(str(folder / "out"))


def test_recycled_actors_lose_no_work(tmp_path: Path) -> None:
    ids = [f"d{i}" for i in range(64)]
    load = Counted(str(tmp_path / "processes"))
    outcome, rows = _drive(tmp_path, ids, load, recycle_documents=24, num_gpus=0.25)
    assert dict(outcome.tally.documents) == {"ok": 64}
    assert sorted(rows) == sorted(ids)
    assert {status for status, _, _ in rows.values()} == {"ok"}
    assert len(list((tmp_path / "processes").iterdir())) >= 2


class Hoarding(HashModel):
    """A model that leaks 6 MB a document."""

    def submit(self, document: Document) -> Future[Extraction]:
        vars(self).setdefault("kept", []).append(b"x" * 6_000_000)
        return super().submit(document)


@dataclass(frozen=True)
class Hoarders(Counted):
    """As Counted, of models that leak."""

    def __call__(self, config: ModelConfig, share: Share) -> HashModel:
        super().__call__(config, share)
        return Hoarding(config, share, 0.0, "")


def test_recycled_growing_actors_lose_no_work(tmp_path: Path) -> None:
    ids = [f"d{i}" for i in range(96)]
    load = Hoarders(str(tmp_path / "processes"))
    outcome, rows = _drive(tmp_path, ids, load, recycle_growth_mb=100)
    assert dict(outcome.tally.documents) == {"ok": 96}
    assert sorted(rows) == sorted(ids)
    # 48 MB a unit: none lives for all twelve of them.
    assert len(list((tmp_path / "processes").iterdir())) >= 2


@dataclass(frozen=True)
class Greedy(Counted):
    """A loader in a process that holds 5 GB of a GPU of 16, by its driver's report."""

    def __call__(self, config: ModelConfig, share: Share) -> HashModel:
        vars(process_health).update(
            gpu_memory=lambda: 16 * 10**9, gpu_memory_used=lambda: 5 * 10**9
        )
        return super().__call__(config, share)


def test_actor_beyond_its_share_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load = Greedy(str(tmp_path / "a" / "processes"))
    outcome, rows = _drive(tmp_path / "a", ["d1", "d2"], load, num_gpus=0.25)
    assert {status for status, _, _ in rows.values()} == {"ok"}  # told, not ended
    assert outcome.marker["counts"]["over_share"] == {"m0": 1}
    assert "m0: an actor exceeded its share of GPU memory after 1 units" in caplog.text
    # The worker's own line has the numbers.
    logs = Path(ray._private.worker.global_worker.node.get_logs_dir_path())
    lines = [
        json.loads(line)
        for file in logs.glob("worker-*.err")
        for line in file.read_text(errors="replace").splitlines()
        if "GPU share exceeded" in line
    ]
    ours = [line for line in lines if line["run"] == outcome.run_id]
    assert ours
    assert {(line["gpu_mb"], line["share_mb"]) for line in ours} == {(5000.0, 4000.0)}
    # Half of the GPU holds it: nothing is told.
    caplog.clear()
    within, _ = _drive(tmp_path / "b", ["d1", "d2"], load, num_gpus=0.5)
    assert within.marker["counts"]["over_share"] == {}
    assert "its share" not in caplog.text


@dataclass(frozen=True)
class Uneven(Counted):
    """A loader whose second model takes four times as long."""

    def __call__(self, config: ModelConfig, share: Share) -> HashModel:
        seconds = 0.2 if config.name == "m1" else 0.05
        return HashModel(config, share, seconds, "")


@TWO_CORES
def test_run_reports_balanced_max_actors(tmp_path: Path) -> None:
    load = Uneven(str(tmp_path / "processes"))
    outcome, _ = _drive(tmp_path, [f"d{i}" for i in range(32)], load, 2, num_gpus=0.2)
    counts = outcome.marker["timing"]["balanced"]
    assert set(counts) == {"m0", "m1"}
    there = ray.cluster_resources()
    assert sum(counts.values()) <= there["CPU"]
    if there["CPU"] >= 4:
        assert counts["m1"] > counts["m0"]
