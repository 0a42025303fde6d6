"""Around every request: its id, the security headers, and an end for errors that nobody foresaw.

The outermost layer, so that no answer leaves without the headers and no text leaves by a traceback.
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

from pipelines.serve.addresses import Network, asking
from pipelines.serve.errors import Problem, envelope
from pipelines.serve.receiving import Body, compressed
from pipelines.serve.tokens import Token

log = logging.getLogger(__name__)

HEADERS = {
    # The page's own files only: no inline script or style, no frame, nothing from elsewhere.
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
# A cluster's probes come by an address of the moment, and these paths tell nothing.
PROBED = ("/healthz", "/readyz")
UPLOAD = "/v1/extract/upload"
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_JSON = re.compile(r"application/json\s*(;.*)?", re.IGNORECASE)
_FORM = re.compile(r"multipart/form-data\s*;.*", re.IGNORECASE)


LetIn = Callable[[str, str], Token | None]
"""From an Authorization header and a client's address to its token; raises Problem."""


class Guard:
    """The layer. ``hosts``: names to which anything is said; None when tokens guard instead.
    ``let_in`` is asked for every path under /v1 before its body is read, of which it is at most
    ``body_bytes`` that are. ``proxies``: whose X-Forwarded-For says who asks.

    Without tokens a web page elsewhere could have its own name resolve to this machine and read
    the answers in a visitor's browser (DNS rebinding), so the Host header must be known.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Iterable[str] | None,
        let_in: LetIn,
        body_bytes: int,
        says_id: bool,
        proxies: Sequence[Network],
    ) -> None:
        self._app, self._let_in, self._body_bytes = app, let_in, body_bytes
        self._says_id, self._proxies = says_id, proxies
        self._hosts = None if hosts is None else {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex
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
            await Response(status_code=499)(scope, receive, guarded)  # nobody reads it
            return
        except Exception as error:
            # By its type and place alone: a message may quote what it choked on.
            log.error("request %s: %s", request_id, _where(error))
            if started:
                raise RuntimeError("the answer broke off") from None
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
            address = asking(peer, forwarded, self._proxies)
            scope["state"]["token"] = self._let_in(headers.get("authorization", ""), address)
        if scope["method"] == "POST":
            # A form or text/plain lets a web page elsewhere post here without asking; a browser
            # then says which page that is.
            wanted = _FORM if path == UPLOAD else _JSON
            if not wanted.fullmatch(headers.get("content-type", "")):
                raise Problem("unsupported_media_type")
            origin = headers.get("origin")
            if path == UPLOAD and origin is not None and not _same(origin, headers):
                raise Problem("origin_forbidden")
        length = headers.get("content-length", "0")
        if len(length) > 12 or (length.isdecimal() and int(length) > self._body_bytes):
            raise Problem("body_too_large")


def _same(origin: str, headers: Headers) -> bool:
    return origin.partition("://")[2].lower() == headers.get("host", "").lower()


def _where(error: BaseException) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = ""
    if frame is not None:
        place = f" at {frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
    return type(error).__name__ + place
