"""Logging of a replica."""

from __future__ import annotations

import logging


def log_with_serve() -> None:
    """Route medspan's loggers to Serve's log of this replica: Ray drops the records of other
    loggers, even errors."""
    for name in ("actors", "pipelines"):
        logging.getLogger(name).parent = logging.getLogger("ray.serve")
