"""Streaming responses as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pipelines.serve.answering.answer import StreamedAnswer
from pipelines.serve.wire.errors import Problem, body
from pipelines.serve.wire.responses import DocumentOut, DoneOut, PagesOut, StartOut

_QUIET_S = 15.0  # proxies close connections that are idle for longer
_MANY = 2_000  # entities: serialising them takes some hundredths of a second
_NAMES: dict[type, str] = {
    StartOut: "start",
    PagesOut: "pages",
    DocumentOut: "document",
    DoneOut: "done",
}

DESCRIPTION = """Events, each with one line of JSON as its data, in this order:
`start` (request_id, model); `pages` after each page that OCR has read (document, pages: how many so
far); `text` as the model generates it (document, model, window, text): the
pieces of a window concatenated, and the windows joined by an empty line, are that model's
completion; `document` once all models have processed it, as in the response of /v1/extract; `done`
(seconds). If something fails after the first event, an `error` (the envelope) ends the stream
instead of `done`."""

# The schema of one event, as in OpenAPI 3.2; 3.1 cannot describe the items of a stream.
EVENTS: dict[str, Any] = {
    "schema": {
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": {"enum": ["start", "pages", "text", "document", "done", "error"]},
            "data": {"type": "string", "contentMediaType": "application/json"},
        },
    }
}


class EventStream(Response):
    """The streaming response. It cancels the work when the client disconnects."""

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncGenerator[StreamedAnswer], first: StreamedAnswer, request_id: str
    ) -> None:
        """``first`` was already taken from ``events``: a request that is rejected fails before it,
        and gets a normal error response."""
        super().__init__(headers={"x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events, self._first, self._request_id = events, first, request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end or the client disconnects."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        writing = asyncio.Lock()

        async def write(content: bytes, more: bool = True) -> None:
            async with writing:
                message = {"type": "http.response.body", "body": content, "more_body": more}
                await send(message)

        async def send_events() -> None:
            async with aclosing(self._events) as events:
                try:
                    await write(_event(self._first))
                    async for one in events:
                        large = isinstance(one, DocumentOut) and len(one.entities) > _MANY
                        await write(await asyncio.to_thread(_event, one) if large else _event(one))
                except Problem as problem:
                    error = body(problem, self._request_id).model_dump_json()
                    await write(format_sse_event(event="error", data_str=error))
            await write(b"", more=False)

        async def keep_alive() -> None:
            while True:
                await asyncio.sleep(_QUIET_S)
                await write(KEEPALIVE_COMMENT)

        async def disconnected() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        sending = asyncio.create_task(send_events())
        beside: list[asyncio.Task[Any]] = [
            asyncio.create_task(f()) for f in (keep_alive, disconnected)
        ]
        try:
            await asyncio.wait({sending, beside[1]}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, *beside):
                task.cancel()
            await asyncio.wait({sending, *beside})
        if not sending.cancelled() and (error := sending.exception()) is not None:
            raise error


def _event(events: StreamedAnswer) -> bytes:
    name = _NAMES.get(type(events), "text")
    return format_sse_event(event=name, data_str=events.model_dump_json())
