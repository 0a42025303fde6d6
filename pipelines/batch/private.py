"""A Ray that this process starts for itself listens on loopback, and answers who has its token."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from ray._private import ray_constants

_TOKEN = "RAY_AUTH_TOKEN"


@contextmanager
def private_ray() -> Iterator[None]:
    """For the duration, while ``ray.init`` starts a Ray of this machine and while it runs.

    Ray binds its ports to all interfaces unless the node's address is a loopback one, and takes
    127.0.0.1 as that address only where it has been told that no other machine may join: by a
    variable that was made for desktops, and that it reads on import.

    Ray turns its token authentication on by itself here, with a token that it would keep in
    ``~/.ray/auth_token``. This one is kept nowhere, and a home that is read-only is no trouble.
    ``RAY_AUTH_*`` in the environment hold instead.
    """
    ours = {ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0"}
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        ours[_TOKEN] = _token()
    added = {name: value for name, value in ours.items() if name not in os.environ}
    os.environ.update(added)
    joined = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = joined
        for name in added:
            os.environ.pop(name, None)


@cache
def _token() -> str:
    """One for all that a process starts: Ray remembers the first that it reads."""
    return secrets.token_hex(32)
