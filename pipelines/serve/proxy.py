"""What Serve's HTTP proxy does for medspan: errors of its own in the envelope, and an end for
connections over which no request comes.

Serve calls ``protections`` in each proxy's process where the environment of the cluster has
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

from pipelines.serve.errors import Problem, envelope
from pipelines.serve.guard import HEADERS, PROBED

_HEAD_S, _BODY_S = 20.0, 90.0
_RETRY_S = "2"
_MARK = "content-security-policy"  # of every answer that comes from the application


def protections() -> list[Middleware]:
    """Called by Serve before a proxy listens; returns what it is to wrap its application in."""
    HTTP_PROTOCOLS["auto"] = f"{__name__}:ImpatientProtocol"
    return [Middleware(Envelopes)]


class Envelopes:
    """Has the proxy's own refusals say what the application would: unavailable, come again.

    While the application starts or ends Serve knows no path of it and answers 404 in plain text,
    and 500 where the process that speaks for it has just died. Neither is about the request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not (path.startswith("/v1/") or path in PROBED):
            await self._app(scope, receive, send)
            return
        refused = False

        async def said(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                headers = Headers(raw=message["headers"])
                refused = message["status"] in (404, 500, 503) and _MARK not in headers
                if refused:
                    await _unavailable(headers.get("x-request-id", ""), scope, receive, send)
            if not refused:
                await send(message)

        await self._app(scope, receive, said)


async def _unavailable(request_id: str, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {**HEADERS, "retry-after": _RETRY_S, "x-request-id": request_id}
    answer = envelope(Problem("unavailable", headers), request_id, head=scope["method"] == "HEAD")
    await answer(scope, receive, send)


class ImpatientProtocol(HttpToolsProtocol):
    """uvicorn's, which waits for ever for the rest of a request that has begun, or never does.

    From the first byte, or the connection, a request has ``_HEAD_S`` for its head, and then
    ``_BODY_S`` for its body.
    """

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait(_HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Begin to wait for the rest of whatever this is."""
        if self._patience is None:
            self._wait(_HEAD_S)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Begin to wait for the body."""
        self._wait(_BODY_S)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop waiting: the request is here."""
        self._stop()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Stop waiting: what follows are no requests."""
        self._stop()
        super().handle_websocket_upgrade()

    def _wait(self, seconds: float) -> None:
        self._stop()
        self._patience = self.loop.call_later(seconds, self._lose_patience)

    def _stop(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        self._patience = None
        cycle: Any = self.cycle
        # A request that is here whole is answered: more data behind it has no say.
        if cycle is None or cycle.response_complete or cycle.more_body:
            self.transport.close()
