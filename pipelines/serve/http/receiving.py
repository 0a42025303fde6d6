"""Receive and inflate a request body, bounded in size and time.

Size limits apply to the inflated bytes as they are produced, so a zip bomb stops at the limit.
"""

from __future__ import annotations

import asyncio
import zlib

from starlette.types import Message, Receive

from pipelines.serve.wire.errors import Problem

_BODY_S = 60.0
"""Time for a whole body: 8 MB at 1 Mbit/s. Bodies in transit hold memory of the ingress."""
_GZIP = 16 + zlib.MAX_WBITS


def compressed(encoding: str) -> bool:
    """True if Content-Encoding is gzip; raises Problem for any unsupported encoding."""
    encoding = encoding.strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise Problem("unsupported_encoding", headers={"accept-encoding": "gzip"})
    return encoding.endswith("gzip")


class Body:
    """An ASGI ``receive`` that yields the inflated body of one request, at most ``most`` bytes.

    Raises Problem if the body is too large, too slow, or not valid in its encoding.
    """

    def __init__(self, receive: Receive, most: int, gzip: bool) -> None:
        self._receive, self._left = receive, most
        self._gzip = zlib.decompressobj(_GZIP) if gzip else None
        self._whole = False
        self._until = asyncio.get_running_loop().time() + _BODY_S

    async def __call__(self) -> Message:
        """The next message; after the whole body, the disconnect."""
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise Problem("body_too_slow", headers={"connection": "close"}) from None
        if message["type"] != "http.request":
            return message
        self._whole = not message.get("more_body", False)
        part = message.get("body", b"")
        if self._gzip is not None:
            # In a thread: a few kilobytes may inflate up to the limit.
            part = await asyncio.to_thread(self._inflated, self._gzip, part)
        self._left -= len(part)
        if self._left < 0:
            raise Problem("body_too_large")
        return {**message, "body": part}

    def _inflated(self, gzip: zlib._Decompress, part: bytes) -> bytes:
        try:
            out = gzip.decompress(part, self._left + 1)
        except zlib.error:
            raise Problem("bad_encoding") from None
        # Exactly one gzip stream, which ends with the body unless it exceeds the limit.
        if gzip.unused_data or (self._whole and not gzip.eof and len(out) <= self._left):
            raise Problem("bad_encoding")
        return out
