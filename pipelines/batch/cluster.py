"""Joining a Ray cluster, or starting a private one for this process."""

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
from pipelines.batch.private import private_ray
from pipelines.config import LoadedPipeline
from pipelines.cores import check_nodes, check_threads, nodes, way_to_fit
from pipelines.fractions import on_cpu, sized, smallest_card
from pipelines.pool import Pool
from pipelines.stages import Stage

log = logging.getLogger(__name__)
_POLL_SECONDS = 2.0
# Ray ends a worker that was idle for a second where actors hold all CPUs, and starts another for
# the next unit to be written: 2 CPU seconds each, a third of what 2 cores can do.
_IDLE_MS = 600_000
# How long a driver waits for a worker that a cut network has silenced. The death of its node does
# not end the wait for the reply of a plain task (such as writing a unit); only the keepalive of
# their gRPC connection does, by default after 300 + 120 s. Ray's servers refuse pings closer than
# 60 s.
_KEEPALIVE = {
    "RAY_grpc_client_keepalive_time_ms": "70000",
    "RAY_grpc_client_keepalive_timeout_ms": "20000",
}


@contextmanager
def cluster(address: str | None = None, num_gpus: int | None = None) -> Iterator[None]:
    """A connected Ray for the duration; a private one is shut down after, a joined one is left.

    ``address`` as in ray.init; without it, and without RAY_ADDRESS (which ``ray job submit``
    sets), Ray is started on this machine alone. ``num_gpus`` declares logical GPUs there.
    """
    if ray.is_initialized():
        yield
        return
    # Ray's own progress lines would bury what medspan says; its log files keep them.
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
        # ray.init puts another in the place of a scheduler's, which SIGTERM would then just kill.
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
            f"no Ray cluster answers at {address} (--address, RAY_ADDRESS); is it up, and is "
            "its token, if it has one, known here?"
        ) from error


def _start(num_gpus: int | None) -> None:
    # The core worker prints a false alarm about every actor pool of Ray Data on stderr
    # (ray-project/ray issue 53727), and a line about this setting, which silences it. It also
    # silences why Ray ends a process, so `medspan -v` and the environment choose otherwise.
    level = "warning" if log.isEnabledFor(logging.INFO) else "fatal"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", level)
    with _held_stderr():
        ray.init(
            # Without "local" Ray looks for a cluster that was started here before, and waits
            # minutes for one that has died.
            address="local",
            num_gpus=num_gpus,
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            _system_config={"idle_worker_killing_time_threshold_ms": _IDLE_MS},
        )


@contextmanager
def _held_stderr() -> Iterator[None]:
    """Hold back what C++ code writes to stderr; show it only when the block raises."""
    sys.stderr.flush()
    kept = os.dup(2)
    with TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def fitted(loaded: LoadedPipeline) -> LoadedPipeline:
    """The pipeline with fractions of this cluster's cards that hold its models; see
    ``pipelines.fractions``. A pool with ``cpu_fallback`` gives up its GPU where there is none, also
    after a cluster that grows was asked for one and waited for as long as the pipeline says."""
    pools = [stage.actors for stage in loaded.pooled if stage.actors.num_gpus]
    if not pools:
        return loaded
    if any(pool.num_gpus == "auto" and pool.card_gb is None for pool in pools):
        one = {"CPU": pools[0].num_cpus, "GPU": 1.0}
        _grown([one], _has_cards, loaded.pipeline.cluster_wait_minutes)
    if not _has_cards():
        loaded = replace(loaded, stages=tuple(map(_without_card, loaded.stages)))
    return sized(loaded, cache(smallest_card))


def _without_card(stage: Stage) -> Stage:
    """The stage without a card, where it may fall back on the CPU and has no number yet."""
    pool = stage.pool
    if pool is None or pool.num_gpus != "auto" or not pool.cpu_fallback:
        return stage
    return on_cpu(stage)


def _has_cards() -> bool:
    return bool(ray.cluster_resources().get("GPU", 0.0))


def _grown(bundles: list[dict[str, float]], there: Callable[[], bool], minutes: float) -> None:
    """Ask a cluster that grows for resources, and wait for them, but not for ever."""
    deadline = time.monotonic() + minutes * 60
    if there() or not minutes:
        return
    log.warning("waiting for the cluster to grow to what the least actors need")
    request_resources(bundles=bundles)
    while not there() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def placed(loaded: LoadedPipeline) -> LoadedPipeline:
    """The pipeline with pools as this cluster can place them.

    A cluster that grows is asked for the least actors of all stages at once, and waited for as long
    as the pipeline says. Raises ConfigError, with the numbers, where it holds them even then not
    (Ray would wait for ever). A pool with ``cpu_fallback`` gives up its GPU where there is none.
    """
    wanted = [stage.actors for stage in loaded.pooled]
    bundles = [
        {"CPU": pool.num_cpus, **({"GPU": pool.gpus} if pool.gpus else {})}
        for pool in wanted
        for _ in range(pool.min_actors)
    ]
    _grown(bundles, lambda: _fits(wanted), loaded.pipeline.cluster_wait_minutes)
    if not _has_cards():
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
                f"steps: the least actors need {need:g} {kind}s and the cluster has {have:g}; {how}"
            )
    where = nodes()
    check_nodes(pools, where)
    check_threads(pools, where)
    return loaded


def _needs(pools: Sequence[Pool]) -> list[tuple[str, float, float]]:
    """By kind of resource, what the least actors need and what the cluster has."""
    total = ray.cluster_resources()
    cpus = sum(pool.num_cpus * pool.min_actors for pool in pools)
    gpus = sum(pool.gpus * pool.min_actors for pool in pools)
    return [("CPU", cpus, total.get("CPU", 0.0)), ("GPU", gpus, total.get("GPU", 0.0))]


def _fits(pools: Sequence[Pool]) -> bool:
    return all(need <= have + 1e-6 for _, need, have in _needs(pools))
