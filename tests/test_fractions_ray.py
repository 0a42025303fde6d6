"""Placement on logical cards, and actors that begin anew, in a real Ray."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray
from lake_fakes import HashModel, pipeline, rows_of, write_rows

from actors.config import ConfigError, ModelConfig
from actors.extractor import Share
from actors.memory import cores
from pipelines.batch import begin_run, drive_run
from pipelines.batch.cluster import cluster
from pipelines.batch.cores import nodes
from pipelines.batch.finish import Tally
from pipelines.fractions import smallest_card
from pipelines.lake.layout import Sink
from pipelines.lake.units import plan_source

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with cluster(num_gpus=2):
        yield


class Place:
    """An actor that says where it is: the card's number, and what CUDA would see."""

    def where(self) -> tuple[str, str]:
        (card,) = ray.get_gpu_ids()
        return str(card), os.environ["CUDA_VISIBLE_DEVICES"]


def _placed(fractions: Sequence[float]) -> list[Any]:
    actor = ray.remote(num_cpus=0)(Place)
    return [actor.options(num_gpus=part).remote() for part in fractions]


def _cards(actors: Sequence[Any]) -> list[str]:
    found = ray.get([actor.where.remote() for actor in actors])
    assert all(card == visible for card, visible in found)
    return [card for card, _ in found]


def _end(actors: Sequence[Any]) -> None:
    for actor in actors:
        ray.kill(actor)


def test_eight_quarters_fill_two_cards_and_a_ninth_waits() -> None:
    actors = _placed([0.25] * 8)
    cards = Counter(_cards(actors))
    assert cards == {"0": 4, "1": 4}
    (ninth,) = _placed([0.25])
    answer = ninth.where.remote()
    assert ray.wait([answer], timeout=2)[0] == []
    ray.kill(actors[0])
    assert ray.get(answer)[0] in ("0", "1")
    _end([*actors[1:], ninth])


def test_halves_and_fifths_pack_and_no_card_is_given_twice() -> None:
    fractions = [0.5, 0.5, 0.2, 0.2, 0.2, 0.2]
    actors = _placed(fractions)
    taken: Counter[str] = Counter()
    for card, part in zip(_cards(actors), fractions, strict=True):
        taken[card] += round(part * 10)
    assert sum(taken.values()) == 18
    assert max(taken.values()) <= 10
    _end(actors)


def test_a_node_says_its_cores() -> None:
    (node,) = nodes()
    assert node.gpus == 2
    assert node.cores == min(node.cpus, cores())


def test_threads_that_would_share_cores_are_refused_before_any_work(tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.jsonl", ["d1"])
    count = 4 * cores()
    loaded = pipeline(str(tmp_path / "in"), str(tmp_path / "out"))
    (step,) = loaded.pipeline.steps
    pool = step.pool.model_copy(update={"num_cpus": 0.25, "max_actors": count})
    changed = loaded.pipeline.model_copy(
        update={"steps": (step.model_copy(update={"pool": pool}),)}
    )
    loaded = type(loaded)(loaded.path, changed, loaded.models)
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    (tmp_path / "processes").mkdir()
    load = Counted(str(tmp_path / "processes"))
    with pytest.raises(ConfigError, match=rf"actors of {count} threads .*lower pool\.max_actors"):
        drive_run(Sink(str(tmp_path / "out")), run_id, Quiet(), load=load)
    assert [*(tmp_path / "processes").iterdir()] == []


def test_a_declared_card_says_no_memory() -> None:
    assert smallest_card() is None


@dataclass(frozen=True)
class Counted:
    """Loads a model, and leaves a file for each process that did."""

    folder: str

    def __call__(self, config: ModelConfig, share: Share) -> HashModel:
        (Path(self.folder) / str(os.getpid())).touch()
        return HashModel(config, share, 0.0, "")


class Quiet:
    def update(self, tally: Tally, documents: int) -> None:
        pass


def test_actors_begin_anew_and_no_work_is_lost(tmp_path: Path) -> None:
    ids = [f"d{i}" for i in range(64)]
    write_rows(tmp_path / "in" / "a.jsonl", ids)
    (tmp_path / "processes").mkdir()
    loaded = pipeline(str(tmp_path / "in"), str(tmp_path / "out"), unit_rows=8)
    (step,) = loaded.pipeline.steps
    pool = step.pool.model_copy(update={"recycle_documents": 24, "num_gpus": 0.25})
    steps = (step.model_copy(update={"pool": pool}),)
    loaded = type(loaded)(
        loaded.path, loaded.pipeline.model_copy(update={"steps": steps}), loaded.models
    )
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    load = Counted(str(tmp_path / "processes"))
    outcome = drive_run(Sink(str(tmp_path / "out")), run_id, Quiet(), load=load)
    assert dict(outcome.tally.documents) == {"ok": 64}
    rows = rows_of(str(tmp_path / "out"))
    assert sorted(rows) == sorted(ids)
    assert {status for status, _, _ in rows.values()} == {"ok"}
    assert len(list((tmp_path / "processes").iterdir())) >= 2
