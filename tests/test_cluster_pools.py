"""What a cluster can place: waited for while it grows, refused with numbers when it does not."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from lake_fakes import pipeline

from actors.config import ConfigError
from pipelines.batch import cluster
from pipelines.config import LoadedPipeline
from pipelines.enrich.schedule import stopping_on_sigterm


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the autoscaler was asked for."""
    found: list[Any] = []
    monkeypatch.setattr(cluster, "request_resources", lambda bundles: found.extend(bundles))
    monkeypatch.setattr(cluster, "_POLL_SECONDS", 0.0)
    return found


def _cluster(monkeypatch: pytest.MonkeyPatch, *sizes: dict[str, float]) -> None:
    def looks() -> Iterator[dict[str, float]]:
        yield from sizes
        while True:
            yield sizes[-1]

    seen = looks()
    monkeypatch.setattr(cluster, "_nodes", lambda: [sizes[-1]])
    monkeypatch.setattr("ray.cluster_resources", lambda: next(seen))


def _loaded(gpus: float = 0.0, fallback: bool = False, minutes: float = 0.0) -> LoadedPipeline:
    loaded = pipeline("in", "out", actors=2, cluster_wait_minutes=minutes)
    (step,) = loaded.pipeline.steps
    pool = step.pool.model_copy(update={"num_gpus": gpus, "cpu_fallback": fallback})
    steps = (step.model_copy(update={"pool": pool}),)
    changed = loaded.pipeline.model_copy(update={"steps": steps})
    return LoadedPipeline(loaded.path, changed, loaded.models)


def test_what_does_not_fit_is_refused_with_the_numbers(
    monkeypatch: pytest.MonkeyPatch, asked: list[Any]
) -> None:
    _cluster(monkeypatch, {"CPU": 0.5})
    with pytest.raises(ConfigError, match=r"need 1 CPUs and the cluster has 0\.5"):
        cluster.placed_pools(_loaded())
    _cluster(monkeypatch, {"CPU": 8.0})
    with pytest.raises(ConfigError, match=r"need 1 GPUs and the cluster has 0; .*cpu_fallback"):
        cluster.placed_pools(_loaded(gpus=0.5))
    assert cluster.placed_pools(_loaded(gpus=0.5, fallback=True))[0].num_gpus == 0
    assert asked == []


def test_a_cluster_that_grows_is_asked_and_waited_for(
    monkeypatch: pytest.MonkeyPatch, asked: list[Any]
) -> None:
    empty: dict[str, float] = {}
    _cluster(monkeypatch, empty, empty, {"CPU": 4.0}, {"CPU": 4.0, "GPU": 1.0})
    (pool,) = cluster.placed_pools(_loaded(gpus=0.5, fallback=True, minutes=1))
    assert pool.num_gpus == 0.5
    assert asked == [{"CPU": 0.5, "GPU": 0.5}] * 2


def test_it_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch, asked: list[Any]) -> None:
    _cluster(monkeypatch, {})
    with pytest.raises(ConfigError, match="need 1 CPUs and the cluster has 0"):
        cluster.placed_pools(_loaded(minutes=0.005))


def test_a_scheduler_keeps_its_signal_though_ray_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**options: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with stopping_on_sigterm() as stopped:
        with pytest.raises(KeyboardInterrupt), cluster.cluster():
            signal.raise_signal(signal.SIGTERM)
        assert stopped.is_set()
