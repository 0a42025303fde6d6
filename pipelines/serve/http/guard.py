"""ASGI middleware around every request: request id, security headers, unexpected errors.

It is the outermost layer: every response gets the headers, and no traceback leaks text.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable, Iterable, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.serve.http.addresses import Network, client_address
from pipelines.serve.http.bearer_tokens import Token
from pipelines.serve.http.receiving import Body, compressed
from pipelines.serve.wire.errors import Problem, envelope

log = logging.getLogger(__name__)

HEADERS = {
    # Only the page's own files: no inline script or style, no frames, no third parties.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
PUBLIC = ("/v1/openapi.json",)
# Cluster probes use ephemeral addresses as Host, and these paths reveal nothing.
PROBED = ("/healthz", "/readyz")
UPLOAD = "/v1/extract/upload"
DEIDENTIFY_UPLOAD = "/v1/deidentify/upload"
_UPLOADS = (UPLOAD, DEIDENTIFY_UPLOAD)
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_JSON = re.compile(r"application/json\s*(;.*)?", re.IGNORECASE)
_FORM = re.compile(r"multipart/form-data\s*;.*", re.IGNORECASE)


Admit = Callable[[str, str], Token | None]
"""Maps an Authorization header and a client address to a token; raises Problem."""


class Guard:
    """The middleware.

    ``hosts``: accepted Host names; None if tokens are required instead. ``admit`` runs for every
    path under /v1 before the body is read. ``body_bytes``: maximum body size. ``proxies``: networks
    trusted to set X-Forwarded-For.

    Without tokens, a malicious web page could make its own host name resolve to this machine and
    read responses in a visitor's browser (DNS rebinding), so the Host header is checked.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Iterable[str] | None,
        admit: Admit,
        body_bytes: int,
        says_id: bool,
        proxies: Sequence[Network],
    ) -> None:
        self._app, self._admit, self._body_bytes = app, admit, body_bytes
        self._says_id, self._proxies = says_id, proxies
        self._hosts = None if hosts is None else {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        client_id = headers.get("x-request-id", "")
        request_id = client_id if _ID.fullmatch(client_id) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                out = MutableHeaders(scope=message)
                if self._says_id:
                    out["x-request-id"] = request_id
                for name, value in HEADERS.items():
                    out.setdefault(name, value)
            await send(message)

        problem = None
        try:
            self._check(scope, headers)
            gzip = compressed(headers.get("content-encoding", ""))
            await self._app(scope, Body(receive, self._body_bytes, gzip), guarded)
            return
        except Problem as refusal:
            problem = refusal
        except ClientDisconnect:
            await Response(status_code=499)(scope, receive, guarded)  # the client is gone
            return
        except Exception as error:
            # Only type and location: a message may quote the input.
            log.error("request %s: %s", request_id, _where(error))
            if started:
                raise RuntimeError("the response was interrupted") from None
            problem = Problem("internal")
        answer = envelope(problem, request_id, head=scope["method"] == "HEAD")
        await answer(scope, receive, guarded)

    def _check(self, scope: Scope, headers: Headers) -> None:
        path: str = scope["path"]
        if self._hosts is not None and path not in PROBED:
            host = re.sub(r":\d+$", "", headers.get("host", "")).lower()
            if host not in self._hosts:
                raise Problem("host_forbidden")
        if path.startswith("/v1/") and path not in PUBLIC:
            peer = scope["client"][0] if scope.get("client") else ""
            forwarded = ",".join(headers.getlist("x-forwarded-for"))
            address = client_address(peer, forwarded, self._proxies)
            scope["state"]["token"] = self._admit(headers.get("authorization", ""), address)
        if scope["method"] == "POST":
            # Browsers send forms and text/plain cross-origin without a preflight request, but
            # always with an Origin header.
            expected = _FORM if path in _UPLOADS else _JSON
            if not expected.fullmatch(headers.get("content-type", "")):
                raise Problem("unsupported_media_type")
            origin = headers.get("origin")
            if path in _UPLOADS and origin is not None and not _same_origin(origin, headers):
                raise Problem("origin_forbidden")
        length = headers.get("content-length", "0")
        if len(length) > 12 or (length.isdecimal() and int(length) > self._body_bytes):
            raise Problem("body_too_large")


def _same_origin(origin: str, headers: Headers) -> bool:
    return origin.partition("://")[2].lower() == headers.get("host", "").lower()


def _where(error: BaseException) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = ""
    if frame is not None:
        place = f" at {frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
    return type(error).__name__ + place
