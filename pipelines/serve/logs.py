"""Where a replica's log goes."""

from __future__ import annotations

import logging


def log_with_serve() -> None:
    """Have what medspan logs in this process stand in Serve's own log of the replica: Ray shows
    nothing of other loggers, not even errors."""
    for name in ("actors", "pipelines"):
        logging.getLogger(name).parent = logging.getLogger("ray.serve")
