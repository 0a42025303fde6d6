"""The body of a request as it comes in: no longer than it may be, no slower, and inflated.

Limits hold for what comes out of a compressed body, while it comes out: a bomb ends at the limit.
"""

from __future__ import annotations

import asyncio
import zlib

from starlette.types import Message, Receive

from pipelines.serve.errors import Problem

_BODY_S = 60.0
"""For a whole body: 8 MB at 1 Mbit/s. Each that is on its way holds memory of the front."""
_GZIP = 16 + zlib.MAX_WBITS


def compressed(encoding: str) -> bool:
    """Whether a Content-Encoding header says gzip; raises Problem for any other encoding."""
    encoding = encoding.strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise Problem("unsupported_encoding", headers={"accept-encoding": "gzip"})
    return encoding.endswith("gzip")


class Body:
    """An ASGI ``receive`` that gives the body of one request, of at most so many bytes.

    Raises Problem where it is longer, slower than a network would be, or not what its encoding
    says.
    """

    def __init__(self, receive: Receive, most: int, gzip: bool) -> None:
        self._receive, self._left = receive, most
        self._gzip = zlib.decompressobj(_GZIP) if gzip else None
        self._whole = False
        self._until = asyncio.get_running_loop().time() + _BODY_S

    async def __call__(self) -> Message:
        """The next message; after the whole body, that the client has gone."""
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
            # In a thread: a few kilobytes may become all that the limit lets through.
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
        # One stream, which ends with the body unless it goes on beyond the limit.
        if gzip.unused_data or (self._whole and not gzip.eof and len(out) <= self._left):
            raise Problem("bad_encoding")
        return out
