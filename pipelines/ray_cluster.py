"""Join a Ray cluster, or start a private one for this process."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from tempfile import TemporaryFile

import ray

from actors.config import ConfigError
from actors.memory import cores
from pipelines.private_ray import private_ray, without_cluster_services

log = logging.getLogger(__name__)
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

_START_ATTEMPTS = 3
_private = threading.Event()


def is_private() -> bool:
    """True while this process runs a Ray that `cluster` has started for it alone."""
    return _private.is_set()


@contextmanager
def cluster(
    address: str | None = None, num_gpus: int | None = None, serving: bool = False
) -> Iterator[None]:
    """Connect to Ray while the block runs; afterwards a private one is shut down.

    ``address`` as in ray.init. Without it, and without RAY_ADDRESS (which ``ray job submit`` sets),
    Ray starts on this machine only; ``num_gpus`` declares logical GPUs. Without ``serving`` it
    starts only what a run needs.
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
            _start(num_gpus, serving)
            _private.set()
            private.callback(_private.clear)
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


def _start(num_gpus: int | None, serving: bool) -> None:
    # The core worker prints a false alarm about every Ray Data actor pool on stderr
    # (ray-project/ray issue 53727). This level silences it. It also hides why Ray kills a
    # process, so `medspan -v` and the environment can raise it.
    level = "warning" if log.isEnabledFor(logging.INFO) else "fatal"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", level)
    with _buffered_stderr(), nullcontext() if serving else without_cluster_services():
        for attempt in range(1, _START_ATTEMPTS + 1):
            try:
                ray.init(
                    # Without "local" Ray looks for a cluster started earlier on this machine, and
                    # waits minutes for one that has died.
                    address="local",
                    # Ray counts all cores of the machine, also those that a container or an
                    # affinity keeps from this process.
                    num_cpus=cores(),
                    num_gpus=num_gpus,
                    include_dashboard=False,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    _system_config={"idle_worker_killing_time_threshold_ms": _IDLE_MS},
                )
            except Exception as error:
                # Ray gives its processes 30 s, which no setting changes, and raises a plain
                # Exception after them.
                ray.shutdown()
                if attempt == _START_ATTEMPTS:
                    raise ConfigError(
                        f"Ray did not start on this machine in {attempt} attempts; it may be "
                        "overloaded, or out of memory or of disk space in /tmp. Ray's logs: "
                        "/tmp/ray/session_latest/logs"
                    ) from error
                log.info("Ray did not start; retrying")
            else:
                return


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
