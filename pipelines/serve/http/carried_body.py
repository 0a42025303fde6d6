"""Small bodies travel from Serve's proxy to the ingress inside the request.

Serve sends the ingress the head of a request only. The ingress then calls the proxy for the body,
and once more to learn of a disconnect: a fifth of its CPU time for a short document, and most such
calls come after the response and end in an exception. With the body in the scope, the second call
is left until a request has taken a while. The body also stays where Serve expects it, since the
path may belong to another application of the cluster.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

_BODY = "medspan.body"
_LARGEST = 64_000  # bytes
_HERE_S = 0.02  # most small bodies come with the head
_WATCH_AFTER_S = 1.0


async def carry(scope: Scope, receive: Receive) -> Receive:
    """In the proxy: copy the body into the scope if it is small and already here. Returns the
    ``receive`` from which Serve gets it."""
    headers = Headers(scope=scope)
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdecimal() or int(length) > _LARGEST:
        return receive
    try:
        async with asyncio.timeout(_HERE_S):
            first = await receive()
    except TimeoutError:
        return receive
    if first["type"] == "http.request" and not first.get("more_body", False):
        scope[_BODY] = first.get("body", b"")
    waiting: list[Message] = [first]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


def carried(scope: Scope, receive: Receive) -> Receive:
    """In the ingress: return a ``receive`` that begins with the body in the scope, if there is
    one."""
    body: bytes | None = scope.pop(_BODY, None)
    if body is None:
        return receive
    _watch_later(receive)
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def begun() -> Message:
        if waiting:
            return waiting.pop()
        while (message := await receive())["type"] == "http.request":
            pass  # the body again, as the proxy holds it
        return message

    return begun


def _watch_later(receive: Any) -> None:
    """Have Serve ask the proxy for further messages later. It cancels the request if the client
    disconnects, also when nobody asks."""
    ask = getattr(receive, "_receive_asgi_messages", None)
    if ask is None:
        return

    async def later(request: Any) -> Any:
        await asyncio.sleep(_WATCH_AFTER_S)
        return await ask(request)

    receive._receive_asgi_messages = later
