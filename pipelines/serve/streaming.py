"""Answers as server-sent events, as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pipelines.serve.answer import Said
from pipelines.serve.errors import Problem, body
from pipelines.serve.schema import DocumentOut, DoneOut, StartOut

_QUIET_S = 15.0  # proxies close what says nothing for longer
_MANY = 2_000  # entities, which take some hundredths of a second to write
_NAMES: dict[type, str] = {StartOut: "start", DocumentOut: "document", DoneOut: "done"}

DESCRIPTION = """Events, each with one line of JSON as its data, in this order:
`start` (request_id, model); `text` as it is printed (document, model, window, text): joined per
window, and the windows joined by an empty line, it is that model's completion; `document` once all
models have read it, as in the answer of /v1/extract; `done` (seconds). An `error` (the envelope)
ends the stream instead of `done`: what goes wrong after the first event."""

# Of one event, as OpenAPI 3.2 does it; 3.1 has no word for the items of a stream.
EVENTS: dict[str, Any] = {
    "schema": {
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": {"enum": ["start", "text", "document", "done", "error"]},
            "data": {"type": "string", "contentMediaType": "application/json"},
        },
    }
}


class EventStream(Response):
    """The response. It ends the work when the client goes."""

    media_type = "text/event-stream"

    def __init__(self, said: AsyncGenerator[Said], first: Said, request_id: str) -> None:
        """``first`` was taken from ``said`` already: what refuses a request comes before it, and is
        an answer with a status of its own."""
        super().__init__(headers={"x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._said, self._first, self._request_id = said, first, request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end or nobody listens."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        writing = asyncio.Lock()

        async def write(content: bytes, more: bool = True) -> None:
            async with writing:
                message = {"type": "http.response.body", "body": content, "more_body": more}
                await send(message)

        async def talk() -> None:
            async with aclosing(self._said) as said:
                try:
                    await write(_event(self._first))
                    async for one in said:
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

        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        talking = asyncio.create_task(talk())
        beside: list[asyncio.Task[Any]] = [asyncio.create_task(f()) for f in (keep_alive, gone)]
        try:
            await asyncio.wait({talking, beside[1]}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (talking, *beside):
                task.cancel()
            await asyncio.wait({talking, *beside})
        if not talking.cancelled() and (error := talking.exception()) is not None:
            raise error


def _event(said: Said) -> bytes:
    name = _NAMES.get(type(said), "text")
    return format_sse_event(event=name, data_str=said.model_dump_json())
