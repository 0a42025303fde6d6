"""A private Ray: it listens on loopback only, requires a token, and reports to nobody."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from ray._private import ray_constants

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


@cache
def _token() -> str:
    """One token per process: Ray caches the first one that it reads."""
    return secrets.token_hex(32)
