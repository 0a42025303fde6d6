"""A private Ray: it listens on loopback only, requires a token, and reports to nobody."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

from ray._common.usage.usage_lib import usage_stats_enabled
from ray._private import parameter, ray_constants, services

_TOKEN = "RAY_AUTH_TOKEN"
_MODE = "RAY_AUTH_MODE"
_USAGE = "RAY_USAGE_STATS_ENABLED"


@contextmanager
def private_ray() -> Iterator[None]:
    """Context for starting and running a local Ray with ``ray.init``.

    Ray binds its ports to all interfaces unless the node's address is a loopback address. It uses
    127.0.0.1 only if multi-node clusters are disabled, by a variable that is meant for desktops and
    read on import.

    Ray enables token authentication here by default, with a token stored in ``~/.ray/auth_token``.
    Our token is never stored, so a read-only home works. ``RAY_AUTH_*`` of the environment take
    precedence.

    Without ``RAY_USAGE_STATS_ENABLED=0`` Ray sends usage statistics to its makers, also where no
    dashboard is started. The environment takes precedence here, too.
    """
    ours = {ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0", _USAGE: "0"}
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        ours[_TOKEN] = _token()
    added = {name: value for name, value in ours.items() if name not in os.environ}
    # Ray sets the mode for good; a Ray started later in this process would want a token, too.
    left = {*added, *({_MODE} - os.environ.keys())}
    os.environ.update(added)
    joined = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = joined
        for name in left:
            os.environ.pop(name, None)


@contextmanager
def without_cluster_services() -> Iterator[None]:
    """Context for ``ray.init`` of a private Ray, in which it does not start what serves clusters.

    Those are the autoscaler's monitor, which has no machines to add, the log monitor, which copies
    workers' logs to a driver that wants them, and the dashboard, which Ray starts and waits for
    even if none is wanted, since it sends usage statistics. Each is a Python process of 1 to 2 CPU
    seconds. Ray has parameters for two of them, which ``ray.init`` does not pass on.
    """
    lean = partial(parameter.RayParams, no_monitor=True, include_log_monitor=False)
    start = services.start_api_server if usage_stats_enabled() else _no_dashboard
    with replaced(parameter, RayParams=lean), replaced(services, start_api_server=start):
        yield


def _no_dashboard(*_: Any, **__: Any) -> tuple[None, None]:
    """Return no address and no process, as Ray does if its dashboard fails to start."""
    return None, None


@contextmanager
def replaced(owner: Any, **values: Any) -> Iterator[None]:
    """Context with other values of names of a module or class of Ray's. Raises KeyError for a name
    that it does not have: Ray was upgraded, and what the replacement is for must be looked at."""
    before = {name: vars(owner)[name] for name in values}
    for name, value in values.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


@cache
def _token() -> str:
    """One token per process: Ray caches the first one that it reads."""
    return secrets.token_hex(32)
