"""Streaming responses as server-sent events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi.sse import format_sse_event
from sse_starlette import EventSourceResponse

from pipelines.serve.answering.answer import StreamedAnswer
from pipelines.serve.wire.errors import Problem, body
from pipelines.serve.wire.responses import DocumentOut, DoneOut, PagesOut, StartOut

# At debug level it logs every event, and it logs exceptions whole: both may quote documents.
logging.getLogger("sse_starlette").setLevel(logging.CRITICAL)

_QUIET_S = 15.0  # proxies close connections that are idle for longer
_MANY = 2_000  # entities: serialising them takes some hundredths of a second
_NAMES: dict[type, str] = {
    StartOut: "start",
    PagesOut: "pages",
    DocumentOut: "document",
    DoneOut: "done",
}

MEDIA_TYPE = "text/event-stream"
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


def event_stream(
    events: AsyncGenerator[StreamedAnswer], first: StreamedAnswer, request_id: str
) -> EventSourceResponse:
    """Return the streaming response; a client that disconnects cancels the work.

    ``first`` was already taken from ``events``: a request that is rejected fails before it, and
    gets a normal error response.
    """
    return EventSourceResponse(_framed(events, first, request_id), ping=_QUIET_S, sep="\n")


async def _framed(
    events: AsyncGenerator[StreamedAnswer], first: StreamedAnswer, request_id: str
) -> AsyncGenerator[bytes]:
    async with aclosing(events):
        try:
            yield _event(first)
            async for one in events:
                large = isinstance(one, DocumentOut) and len(one.entities) > _MANY
                yield await asyncio.to_thread(_event, one) if large else _event(one)
        except Problem as problem:
            error = body(problem, request_id).model_dump_json()
            yield format_sse_event(event="error", data_str=error)


def _event(events: StreamedAnswer) -> bytes:
    name = _NAMES.get(type(events), "text")
    return format_sse_event(event=name, data_str=events.model_dump_json())
