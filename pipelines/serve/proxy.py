"""Hooks for Serve's HTTP proxy: its errors in medspan's envelope, small bodies inside the request,
and timeouts for slow connections.

Serve calls ``protections`` in each proxy process if the cluster's environment sets
``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=pipelines.serve.proxy:protections``.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pipelines.serve.http.carried_body import carry
from pipelines.serve.http.guard import HEADERS, PROBED
from pipelines.serve.wire.errors import Problem, envelope

_HEAD_S, _BODY_S = 20.0, 90.0
_RETRY_S = "2"
_MARK = "content-security-policy"  # every response of the application has it


def protections() -> list[Middleware]:
    """Called by Serve before a proxy listens; returns the middleware for its application."""
    HTTP_PROTOCOLS["auto"] = f"{__name__}:TimeoutProtocol"
    return [Middleware(Envelopes)]


class Envelopes:
    """Middleware that rewrites the proxy's own errors as the application's `unavailable`.

    While the application starts or stops, Serve has no route for it and answers 404 in plain text;
    if the ingress process has just died it answers 500. Neither concerns the request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not (path.startswith("/v1/") or path in PROBED):
            await self._app(scope, receive, send)
            return
        rejected = False

        async def filtered(message: Message) -> None:
            nonlocal rejected
            if message["type"] == "http.response.start":
                headers = Headers(raw=message["headers"])
                rejected = message["status"] in (404, 500, 503) and _MARK not in headers
                if rejected:
                    await _unavailable(headers.get("x-request-id", ""), scope, receive, send)
            if not rejected:
                await send(message)

        await self._app(scope, await carry(scope, receive), filtered)


async def _unavailable(request_id: str, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {**HEADERS, "retry-after": _RETRY_S, "x-request-id": request_id}
    answer = envelope(Problem("unavailable", headers), request_id, head=scope["method"] == "HEAD")
    await answer(scope, receive, send)


class TimeoutProtocol(HttpToolsProtocol):
    """uvicorn's protocol with timeouts; uvicorn itself waits forever for an unfinished request.

    The head must arrive within ``_HEAD_S`` of the connection or of the first byte, and the body
    within ``_BODY_S`` after it.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for a request."""
        super().connection_made(transport)
        self._wait(_HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Start the timer for the rest of the head."""
        if self._timer is None:
            self._wait(_HEAD_S)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Start the timer for the body."""
        self._wait(_BODY_S)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop the timer: the request is complete."""
        self._stop()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Stop the timer: what follows is not HTTP."""
        self._stop()
        super().handle_websocket_upgrade()

    def _wait(self, seconds: float) -> None:
        self._stop()
        self._timer = self.loop.call_later(seconds, self._on_timeout)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        self._timer = None
        cycle: Any = self.cycle
        # A complete request is still answered, whatever data follows it.
        if cycle is None or cycle.response_complete or cycle.more_body:
            self.transport.close()
