"""Placement on a cluster: wait while it grows, and fail with numbers when it does not."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import pytest
from support.lake import pipeline, with_pool

from actors.config import ConfigError
from pipelines import ray_cluster
from pipelines.batch.execution import OnRay
from pipelines.capacity import placement
from pipelines.capacity.nodes import Node, check_threads
from pipelines.config import LoadedPipeline
from pipelines.enrich.schedule import stopping_on_sigterm
from pipelines.pool import Pool


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Requests to the autoscaler."""
    found: list[Any] = []
    monkeypatch.setattr(
        "ray.autoscaler.sdk.request_resources", lambda bundles: found.extend(bundles)
    )
    monkeypatch.setattr(placement, "_POLL_SECONDS", 0.0)
    return found


def _cluster(monkeypatch: pytest.MonkeyPatch, *sizes: dict[str, float]) -> None:
    def looks() -> Iterator[dict[str, float]]:
        yield from sizes
        while True:
            yield sizes[-1]

    seen = looks()
    monkeypatch.setattr(placement, "nodes", lambda: [Node.of(sizes[-1])])
    monkeypatch.setattr("ray.cluster_resources", lambda: next(seen))
    monkeypatch.setattr(placement, "smallest_gpu", lambda: None)


def _loaded(
    gpus: float | Literal["auto"] = 0.0, fallback: bool = False, timeout_s: float = 0.0
) -> LoadedPipeline:
    loaded = pipeline("in", "out", actors=2, cluster_timeout_s=timeout_s)
    return with_pool(loaded, num_gpus=gpus, cpu_fallback=fallback)


def _resolved(loaded: LoadedPipeline) -> LoadedPipeline:
    timeout_s = loaded.pipeline.cluster_timeout_s
    return replace(loaded, stages=placement.resolve_gpus(loaded.stages, timeout_s))


def _pool(loaded: LoadedPipeline) -> Pool:
    (stage,) = loaded.pooled
    return stage.actors


def test_pool_larger_than_the_cluster_is_rejected_with_numbers(
    monkeypatch: pytest.MonkeyPatch, asked: list[Any]
) -> None:
    _cluster(monkeypatch, {"CPU": 0.5})
    with pytest.raises(ConfigError, match=r"need 1 CPUs and the cluster has 0\.5"):
        OnRay().place(_loaded())
    _cluster(monkeypatch, {"CPU": 8.0})
    with pytest.raises(ConfigError, match=r"need 1 GPUs and the cluster has 0; .*cpu_fallback"):
        OnRay().place(_loaded(gpus=0.5))
    assert _pool(OnRay().place(_loaded(gpus=0.5, fallback=True))).num_gpus == 0
    assert asked == []


def test_autoscaling_cluster_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, asked: list[Any]
) -> None:
    empty: dict[str, float] = {}
    _cluster(monkeypatch, empty, empty, {"CPU": 4.0}, {"CPU": 4.0, "GPU": 1.0})
    pool = _pool(OnRay().place(_loaded(gpus=0.5, fallback=True, timeout_s=60)))
    assert pool.num_gpus == 0.5
    assert asked == [{"CPU": 0.5, "GPU": 0.5}] * 2


def test_gpu_is_requested_before_its_fraction_is_resolved(
    monkeypatch: pytest.MonkeyPatch, asked: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    loaded = _loaded(gpus="auto", fallback=True, timeout_s=60)
    monkeypatch.setattr(placement, "resolve_fraction", lambda stage, gpu_memory: stage)
    _cluster(monkeypatch, {}, {"CPU": 4.0}, {"CPU": 4.0, "GPU": 1.0})
    assert _pool(_resolved(loaded)).num_gpus == "auto"
    assert asked == [{"CPU": 0.5, "GPU": 1.0}]
    _cluster(monkeypatch, {"CPU": 4.0})
    without = _loaded(gpus="auto", fallback=True)
    assert _pool(_resolved(without)).num_gpus == 0
    assert "no GPU in this cluster" in caplog.text


def test_a_cluster_is_awaited_for_the_configured_seconds(
    monkeypatch: pytest.MonkeyPatch, asked: list[Any]
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(placement, "_POLL_SECONDS", 2.0)
    monkeypatch.setattr("pipelines.capacity.placement.time.monotonic", lambda: sum(waited))
    monkeypatch.setattr("pipelines.capacity.placement.time.sleep", waited.append)
    _cluster(monkeypatch, {})
    with pytest.raises(ConfigError, match="need 1 CPUs and the cluster has 0"):
        OnRay().place(_loaded(timeout_s=90))
    assert sum(waited) == 90


def test_a_scheduler_keeps_its_signal_though_ray_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**options: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with stopping_on_sigterm() as stopped:
        with pytest.raises(KeyboardInterrupt), ray_cluster.cluster():
            signal.raise_signal(signal.SIGTERM)
        assert stopped.is_set()


def test_threads_that_would_share_cores_are_refused_with_the_numbers() -> None:
    four = Node.of({"CPU": 4.0})
    check_threads([Pool(num_cpus=1, max_actors=64)], [four])  # four are placed, the others wait
    check_threads([Pool(num_cpus=2.5, max_actors=2), Pool(num_cpus=1, max_actors=3)], [four])
    # An actor of a part of a CPU has a thread all the same: four of them are no more than cores.
    check_threads([Pool(num_cpus=0.5, max_actors=4)], [four, four])
    with pytest.raises(ConfigError) as refused:
        check_threads([Pool(num_cpus=0.5, max_actors=6), Pool(num_cpus=1, max_actors=4)], [four])
    assert str(refused.value) == (
        "steps: a 4-core node could be assigned actors with 7 threads in total (6 of 1 thread and "
        "0.5 CPUs, 1 of 1 thread and 1 CPUs) (oversubscribed); set pool.num_cpus to 1 or more (an "
        "actor has at least one thread), or lower pool.max_actors"
    )


def test_a_node_that_declares_more_than_its_cores_is_refused() -> None:
    boastful = Node.of({"CPU": 16.0}, own=4.0)
    check_threads([Pool(num_cpus=2, max_actors=2)], [boastful])
    with pytest.raises(ConfigError, match=r"declares 16 CPUs to Ray.*start Ray there with --num-c"):
        check_threads([Pool(num_cpus=2, max_actors=3)], [boastful])
    modest = Node.of({"CPU": 2.0}, own=64.0)  # what it declares is what it gives
    with pytest.raises(ConfigError, match="a 2-core node could be assigned actors with 3 threads"):
        check_threads([Pool(num_cpus=0.5, max_actors=3)], [modest])


def test_thread_check_counts_actors_that_fit_the_gpus() -> None:
    node = Node.of({"CPU": 8.0, "GPU": 1.0})
    check_threads([Pool(num_cpus=0.25, num_gpus=0.2, max_actors=30)], [node])  # five fit
    one = Pool(num_cpus=1, num_gpus=1, max_actors=8)
    check_threads([one, one, Pool(num_cpus=1, max_actors=7)], [node])  # one of them has the GPU
    with pytest.raises(ConfigError, match="actors with 20 threads"):
        check_threads([Pool(num_cpus=0.25, num_gpus=0.05, max_actors=30)], [node])
