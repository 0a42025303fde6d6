"""Serve on the Ray that this process is connected to: start, reload, stop."""

from __future__ import annotations

import os

from ray import serve

from pipelines.serve.build import build
from pipelines.serve.catalogue import Catalogue

APPLICATION = "medspan"
_ENVIRONMENT = {
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "pipelines.serve.proxy:protections",
    # Three checks in a row have to fail before a proxy that was killed is replaced.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    # uvicorn would believe X-Forwarded-For of everybody on this machine; see trusted_proxies.
    "FORWARDED_ALLOW_IPS": "",
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
}


def prepare() -> None:
    """Before Ray is started: what its processes are to take from the environment.

    The proxy gets ``pipelines.serve.proxy`` and is checked each second. What is served shares one
    event loop with Serve's own work: by default Serve gives each its own thread, and every request
    changes threads several times. A handler here does not block for long (models have threads of
    their own, and what is large is parsed, cut up and put together in others), and a request that
    is refused costs 5 ms less. Has no effect on a cluster that is joined: see
    configs/deploy/README.md.
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
