"""Join a Ray cluster, or start a private one for this process."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from tempfile import TemporaryFile

import ray
from ray.autoscaler.sdk import request_resources

from actors.config import ConfigError
from pipelines.capacity.fractions import on_cpu, resolve_fractions, smallest_gpu
from pipelines.capacity.nodes import check_nodes, check_threads, nodes, way_to_fit
from pipelines.config import LoadedPipeline
from pipelines.pool import Pool
from pipelines.private_ray import private_ray
from pipelines.stages import Stage

log = logging.getLogger(__name__)
_POLL_SECONDS = 2.0
# If actors hold all CPUs, Ray kills workers that are idle for a second and starts new ones for the
# next unit to write: 2 CPU seconds each, a third of the capacity of 2 cores.
_IDLE_MS = 600_000
# gRPC keepalive: how long the driver waits for a worker behind a network partition. The death of a
# node does not end the wait for the reply of a plain task (such as writing a unit); only the
# keepalive of the connection does, by default after 300 + 120 s. Ray's servers reject pings closer
# than 60 s.
_KEEPALIVE = {
    "RAY_grpc_client_keepalive_time_ms": "70000",
    "RAY_grpc_client_keepalive_timeout_ms": "20000",
}


@contextmanager
def cluster(address: str | None = None, num_gpus: int | None = None) -> Iterator[None]:
    """Connect to Ray while the block runs; afterwards a private one is shut down.

    ``address`` as in ray.init. Without it, and without RAY_ADDRESS (which ``ray job submit`` sets),
    Ray starts on this machine only; ``num_gpus`` declares logical GPUs.
    """
    if ray.is_initialized():
        yield
        return
    # Ray's progress lines would bury medspan's output; Ray's log files keep them.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"ray\.data.*")
    address = address or os.environ.get("RAY_ADDRESS")
    handler = signal.getsignal(signal.SIGTERM)
    for name, value in {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", **_KEEPALIVE}.items():
        os.environ.setdefault(name, value)
    with ExitStack() as private:
        if address:
            _join(address)
        else:
            private.enter_context(private_ray())
            _start(num_gpus)
        # ray.init replaces a scheduler's SIGTERM handler, so restore it.
        if callable(handler) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
        try:
            yield
        finally:
            ray.shutdown()


def _join(address: str) -> None:
    try:
        ray.init(address=address, logging_level=logging.WARNING, log_to_driver=False)
    except ConnectionError as error:
        raise ConfigError(
            f"no Ray cluster answers at {address} (--address, RAY_ADDRESS); check that it is "
            "running, and that its token, if any, is configured here"
        ) from error


def _start(num_gpus: int | None) -> None:
    # The core worker prints a false alarm about every Ray Data actor pool on stderr
    # (ray-project/ray issue 53727). This level silences it. It also hides why Ray kills a
    # process, so `medspan -v` and the environment can raise it.
    level = "warning" if log.isEnabledFor(logging.INFO) else "fatal"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", level)
    with _buffered_stderr():
        ray.init(
            # Without "local" Ray looks for a cluster started earlier on this machine, and waits
            # minutes for one that has died.
            address="local",
            num_gpus=num_gpus,
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            _system_config={"idle_worker_killing_time_threshold_ms": _IDLE_MS},
        )


@contextmanager
def _buffered_stderr() -> Iterator[None]:
    """Buffer what native code writes to stderr; print it only if the block raises."""
    sys.stderr.flush()
    kept = os.dup(2)
    with TemporaryFile() as buffer:
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        except BaseException:
            buffer.seek(0)
            os.write(kept, buffer.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def resolve_gpus(loaded: LoadedPipeline) -> LoadedPipeline:
    """Resolve the GPU fractions of all pools for this cluster; see
    ``pipelines.capacity.fractions``.

    With ``num_gpus: auto`` and no GPU yet, an autoscaling cluster is asked for one and awaited for
    the configured time. If there is still none, pools with ``cpu_fallback`` use the CPU.
    """
    pools = [stage.actors for stage in loaded.pooled if stage.actors.num_gpus]
    if not pools:
        return loaded
    if any(pool.num_gpus == "auto" and pool.gpu_memory_gb is None for pool in pools):
        one = {"CPU": pools[0].num_cpus, "GPU": 1.0}
        _await_resources([one], _has_gpus, loaded.pipeline.cluster_timeout_s)
    if not _has_gpus():
        loaded = replace(loaded, stages=tuple(map(_without_gpu, loaded.stages)))
    return resolve_fractions(loaded, cache(smallest_gpu))


def _without_gpu(stage: Stage) -> Stage:
    """Move a stage with ``num_gpus: auto`` to the CPU if its pool allows it."""
    pool = stage.pool
    if pool is None or pool.num_gpus != "auto" or not pool.cpu_fallback:
        return stage
    return on_cpu(stage)


def _has_gpus() -> bool:
    return bool(ray.cluster_resources().get("GPU", 0.0))


def _await_resources(
    bundles: list[dict[str, float]], available: Callable[[], bool], minutes: float
) -> None:
    """Request resources from an autoscaling cluster and wait for them, up to a deadline."""
    deadline = time.monotonic() + minutes * 60
    if available() or not minutes:
        return
    log.warning("waiting for the cluster to scale up to min_actors")
    request_resources(bundles=bundles)
    while not available() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def place_pools(loaded: LoadedPipeline) -> LoadedPipeline:
    """Check that this cluster can place the pools, and resolve CPU fallbacks.

    An autoscaling cluster is asked for min_actors of all stages at once, and awaited for the
    configured time. Raises ConfigError, with the numbers, if they still do not fit (Ray would wait
    forever). Pools with ``cpu_fallback`` use the CPU if there is no GPU.
    """
    minimum = [stage.actors for stage in loaded.pooled]
    bundles = [
        {"CPU": pool.num_cpus, **({"GPU": pool.gpus} if pool.gpus else {})}
        for pool in minimum
        for _ in range(pool.min_actors)
    ]
    _await_resources(bundles, lambda: _fits(minimum), loaded.pipeline.cluster_timeout_s)
    if not _has_gpus():
        loaded = replace(
            loaded,
            stages=tuple(
                on_cpu(stage)
                if stage.pool is not None and stage.pool.num_gpus and stage.pool.cpu_fallback
                else stage
                for stage in loaded.stages
            ),
        )
    pools = [stage.actors for stage in loaded.pooled]
    for kind, need, have in _needs(pools):
        if need > have + 1e-6:
            how = way_to_fit(pools, have)
            if kind == "GPU":
                how = "lower pool.num_gpus or pool.min_actors, or set pool.cpu_fallback to run on "
                how += "the CPU"
            raise ConfigError(
                f"steps: min_actors of all pools need {need:g} {kind}s and the cluster has "
                f"{have:g}; {how}"
            )
    where = nodes()
    check_nodes(pools, where)
    check_threads(pools, where)
    return loaded


def _needs(pools: Sequence[Pool]) -> list[tuple[str, float, float]]:
    """Per resource kind: what min_actors of all pools need, and what the cluster has."""
    total = ray.cluster_resources()
    cpus = sum(pool.num_cpus * pool.min_actors for pool in pools)
    gpus = sum(pool.gpus * pool.min_actors for pool in pools)
    return [("CPU", cpus, total.get("CPU", 0.0)), ("GPU", gpus, total.get("GPU", 0.0))]


def _fits(pools: Sequence[Pool]) -> bool:
    return all(need <= have + 1e-6 for _, need, have in _needs(pools))
