"""Serve on the Ray that this process is connected to: start, reload, stop."""

from __future__ import annotations

import os

from ray import serve

from pipelines.serve.build import build
from pipelines.serve.catalogue import Catalogue

APPLICATION = "medspan"
_ENVIRONMENT = {
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
}


def prepare() -> None:
    """Before Ray is started: have what is served share one event loop with Serve's own work.

    By default Serve gives each its own thread, and every request changes threads several times. A
    handler here does not block for long (models have threads of their own, and documents that are
    large are cut up, and their answers put together, in others), and a request that is refused
    costs 5 ms less. Has no effect on a cluster that is joined: see configs/deploy/README.md.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def start(catalogue: Catalogue, host: str, port: int) -> None:
    """Start Serve's proxy and the application; returns when every replica is up."""
    serve.start(
        proxy_location="HeadOnly",
        http_options={
            "host": host,
            "port": port,
            # After every deadline of our own, whose answer has the envelope.
            "request_timeout_s": catalogue.serve.limits.max_deadline_s + 30,
            "keep_alive_timeout_s": 75,
        },
    )
    update(catalogue)


def update(catalogue: Catalogue) -> None:
    """Have the application be this catalogue: a rolling update that drops no request."""
    serve.run(build(catalogue), name=APPLICATION, route_prefix="/")


def stop() -> None:
    """End the application after the requests that are under way; a joined cluster keeps its Serve
    and other applications."""
    serve.delete(APPLICATION)
