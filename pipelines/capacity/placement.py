"""Fit pools into the connected cluster: GPU fractions, CPU fallbacks, and whether min_actors fit.

Batch and Serve share it. ``section`` is the key of the pools in the pipeline file, for errors;
``timeout_s`` is how long an autoscaling cluster may take to add nodes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import cache

import ray

from actors.config import ConfigError
from pipelines.capacity.fractions import on_cpu, resolve_fraction, smallest_gpu
from pipelines.capacity.nodes import check_nodes, check_threads, nodes, way_to_fit
from pipelines.pool import Pool
from pipelines.stages import Stage

log = logging.getLogger(__name__)
_POLL_SECONDS = 2.0
_SLACK = 1e-6


def resolve_gpus(stages: Sequence[Stage], timeout_s: float = 0.0) -> tuple[Stage, ...]:
    """Resolve the GPU fractions of all pools for this cluster; see
    ``pipelines.capacity.fractions``.

    With ``num_gpus: auto`` and no GPU yet, an autoscaling cluster is asked for one. If there is
    still none after ``timeout_s``, pools with ``cpu_fallback`` use the CPU. Raises ConfigError.
    """
    pools = [pool for pool in _pools(stages) if pool.num_gpus]
    if not pools:
        return tuple(stages)
    if any(pool.num_gpus == "auto" and pool.gpu_memory_gb is None for pool in pools):
        one = {"CPU": pools[0].num_cpus, "GPU": 1.0}
        _await_resources([one], _has_gpus, timeout_s)
    if not _has_gpus():
        stages = [
            _with_fallback(s) if s.pool is not None and s.pool.num_gpus == "auto" else s
            for s in stages
        ]
    gpu_memory = cache(smallest_gpu)
    return tuple(resolve_fraction(stage, gpu_memory) for stage in stages)


def place(
    stages: Sequence[Stage], section: str = "steps", timeout_s: float = 0.0
) -> tuple[Stage, ...]:
    """The stages with pools that this cluster can place.

    An autoscaling cluster is asked for min_actors of all pools at once. Pools with
    ``cpu_fallback`` use the CPU if there is no GPU. Raises ConfigError, with the numbers, if the
    pools do not fit after ``timeout_s`` (Ray would wait forever).
    """
    pools = _pools(stages)
    bundles = [
        {"CPU": pool.num_cpus, **({"GPU": pool.gpus} if pool.gpus else {})}
        for pool in pools
        for _ in range(pool.min_actors)
    ]
    _await_resources(bundles, lambda: not _missing(pools), timeout_s)
    if not _has_gpus():
        stages = [_with_fallback(stage) for stage in stages]
        pools = _pools(stages)
    for kind, need, have in _missing(pools):
        how = way_to_fit(pools, have)
        if kind == "GPU":
            how = "lower pool.num_gpus or pool.min_actors, or set pool.cpu_fallback to run on the "
            how += "CPU"
        raise ConfigError(
            f"{section}: min_actors of all pools need {need:g} {kind}s and the cluster has "
            f"{have:g}; {how}"
        )
    where = nodes()
    check_nodes(pools, where, section)
    check_threads(pools, where, section)
    return tuple(stages)


def fits_twice(stages: Sequence[Stage]) -> bool:
    """True if the cluster can place min_actors of all pools a second time beside the first."""
    twice = [*_pools(stages), *_pools(stages)]
    if _missing(twice):
        return False
    try:
        check_nodes(twice, nodes())
    except ConfigError:
        return False
    return True


def _pools(stages: Sequence[Stage]) -> list[Pool]:
    return [stage.pool for stage in stages if stage.pool is not None]


def _has_gpus() -> bool:
    return bool(ray.cluster_resources().get("GPU", 0.0))


def _with_fallback(stage: Stage) -> Stage:
    """Move a stage to the CPU if it asks for a GPU and its pool allows the fallback."""
    pool = stage.pool
    return on_cpu(stage) if pool is not None and pool.num_gpus and pool.cpu_fallback else stage


def _missing(pools: Sequence[Pool]) -> list[tuple[str, float, float]]:
    """Per resource that the cluster lacks: its name, what min_actors of all pools need, and what
    the cluster has."""
    total = ray.cluster_resources()
    cpus = sum(pool.num_cpus * pool.min_actors for pool in pools)
    gpus = sum(pool.gpus * pool.min_actors for pool in pools)
    needs = [("CPU", cpus, total.get("CPU", 0.0)), ("GPU", gpus, total.get("GPU", 0.0))]
    return [(kind, need, have) for kind, need, have in needs if need > have + _SLACK]


def _await_resources(
    bundles: list[dict[str, float]], available: Callable[[], bool], timeout_s: float
) -> None:
    """Request resources from an autoscaling cluster and wait for them, up to a deadline."""
    deadline = time.monotonic() + timeout_s
    if available() or not timeout_s:
        return
    from ray.autoscaler.sdk import request_resources  # a tenth of a second, for nothing elsewhere

    log.warning("waiting for the cluster to scale up to min_actors")
    request_resources(bundles=bundles)
    while not available() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
