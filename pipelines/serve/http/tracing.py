"""A span per request of the API, which continues the trace of the caller."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.worker.traces import Tracer

_CONTEXT = ("traceparent", "tracestate")


class RequestSpans:
    """Middleware around the whole application, so that refused requests have a span, too."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app, self._tracer = app, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        parent = {name: headers[name] for name in _CONTEXT if name in headers}
        status = 0

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._tracer.span("request", parent, "server") as span:
            try:
                await self._app(scope, receive, seen)
            finally:
                # The route as it was declared: a path that matches none may hold anything.
                route = getattr(scope.get("route"), "path", "unknown")
                span.http(
                    f"{scope['method']} {route}",
                    request__method=scope["method"],
                    route=route,
                    response__status_code=status,
                )
                span.set(request_id=scope.get("state", {}).get("request_id", ""))
