"""Joining a Ray cluster, or starting a private one for this process."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

import ray

from actors.config import ConfigError
from pipelines.config import LoadedPipeline, Pool

log = logging.getLogger(__name__)


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
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address:
        ray.init(address=address, logging_level=logging.WARNING, log_to_driver=False)
    else:
        # The core worker prints a false alarm about every actor pool of Ray Data on stderr
        # (ray-project/ray issue 53727), and a line about this setting, which silences it.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        with _held_stderr():
            ray.init(
                # Without "local" Ray looks for a cluster that was started here before, and waits
                # minutes for one that has died.
                address="local",
                num_gpus=num_gpus,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
    try:
        yield
    finally:
        ray.shutdown()


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


def placed_pools(loaded: LoadedPipeline) -> list[Pool]:
    """The pools of the steps, and before them of `ocr`, as this cluster can place them.

    Raises ConfigError, with the numbers, where a cluster can never hold the least actors of all
    steps at once (Ray would wait for ever). A pool with ``cpu_fallback`` gives up its GPU where
    the cluster has none.
    """
    total = ray.cluster_resources()
    gpus, cpus = total.get("GPU", 0.0), total.get("CPU", 0.0)
    pools = []
    first = () if loaded.pipeline.ocr is None else (loaded.pipeline.ocr,)
    for step in (*first, *loaded.pipeline.steps):
        pool = step.pool
        if pool.num_gpus and not gpus and pool.cpu_fallback:
            log.warning("no GPU in this cluster: %s runs on the CPU", step.model)
            pool = pool.model_copy(update={"num_gpus": 0.0})
        pools.append(pool)
    need_cpus = sum(pool.num_cpus * pool.min_actors for pool in pools)
    need_gpus = sum(pool.num_gpus * pool.min_actors for pool in pools)
    if need_cpus > cpus + 1e-6:
        raise ConfigError(
            f"steps: the least actors need {need_cpus:g} CPUs and the cluster has {cpus:g}; "
            "lower pool.num_cpus or pool.min_actors"
        )
    if need_gpus > gpus + 1e-6:
        raise ConfigError(
            f"steps: the least actors need {need_gpus:g} GPUs and the cluster has {gpus:g}; lower "
            "pool.num_gpus or pool.min_actors, or set pool.cpu_fallback to run on the CPU"
        )
    return pools
