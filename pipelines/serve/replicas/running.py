"""Start, update and stop Serve on the connected Ray cluster."""

from __future__ import annotations

import os

from ray import serve

from pipelines.serve.catalogue import Catalogue
from pipelines.serve.replicas.build import build_application

APPLICATION = "medspan"
_ENVIRONMENT = {
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "pipelines.serve.proxy:protections",
    # A killed proxy is replaced after three failed checks in a row.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    # uvicorn would trust X-Forwarded-For from any local process; see trusted_proxies.
    "FORWARDED_ALLOW_IPS": "",
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_PROXY_USE_GRPC": "1",
}


def prepare() -> None:
    """Set the environment of Ray's processes; call it before Ray starts.

    The proxy loads ``pipelines.serve.proxy`` and is checked every second. User code shares one
    event loop with Serve: by default each has its own thread, and every request changes threads
    several times. Handlers here do not block for long (models have their own threads, and large
    requests are parsed, split and serialised off the loop), so sharing is safe. The proxy calls the
    ingress over gRPC. It has no effect on a cluster that is joined; see configs/deploy/README.md.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def start(catalogue: Catalogue, host: str, port: int) -> None:
    """Start Serve's proxy and the application; returns when all replicas are ready."""
    serve.start(
        proxy_location="HeadOnly",
        http_options={
            "host": host,
            "port": port,
            # Longer than our own deadlines, so that timeouts use our error envelope.
            "request_timeout_s": catalogue.serve.limits.max_deadline_s + 30,
            "keep_alive_timeout_s": 75,
        },
    )
    update(catalogue)


def update(catalogue: Catalogue) -> None:
    """Deploy this catalogue in a rolling update that drops no request."""
    serve.run(build_application(catalogue), name=APPLICATION, route_prefix="/")


def stop() -> None:
    """Delete the application after draining it; a joined cluster keeps Serve and its other
    applications."""
    serve.delete(APPLICATION)
