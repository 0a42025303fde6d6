"""The error envelope: one JSON form for every error response, with a machine-readable code.

No message repeats content of the request: it may be a patient's text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pipelines.serve.wire.responses import Detail, ErrorOut, ErrorResponse

CODES = {
    "bad_json": (400, "the body is not JSON"),
    "bad_encoding": (400, "Content-Encoding is gzip, but the body is not a complete gzip stream"),
    "bad_form": (
        400,
        "expected multipart/form-data with `file` parts and at most one `options` part",
    ),
    "unauthorized": (401, "missing or unknown bearer token"),
    "forbidden": (403, "the token may not use this model"),
    "host_forbidden": (403, "this host name is not served without a token"),
    "origin_forbidden": (403, "cross-origin file uploads are not allowed"),
    "url_forbidden": (403, "a url is not under any prefix of serve.urls"),
    "not_found": (404, "no such path"),
    "model_not_found": (404, "no model or pipeline has this name"),
    "guideline_not_found": (404, "no guideline has this name"),
    "method_not_allowed": (405, "method not allowed on this path"),
    "body_too_slow": (408, "the body did not arrive in time"),
    "body_too_large": (413, "the body is larger than limits.body_mb"),
    "too_many_documents": (413, "the request has more documents than limits.documents"),
    "too_many_values": (413, "the body has too many or too deeply nested values"),
    "document_too_large": (413, "a document has more characters than limits.characters"),
    "unsupported_media_type": (415, "this path does not accept the body's Content-Type"),
    "unsupported_encoding": (415, "Content-Encoding must be gzip or absent"),
    "invalid_request": (422, "the request does not match the schema; see details"),
    "pictures_not_read": (422, "this server has no OCR stage and cannot read images"),
    "prompt_not_supported": (422, "this model does not take prompts"),
    "not_deidentifying": (422, "this server's pipeline has no `deidentify` section"),
    "guideline_not_supported": (422, "no model supports this guideline; see details"),
    "rate_limited": (429, "rate limit exceeded; see Retry-After"),
    "overloaded": (429, "the queue is full; see Retry-After"),
    "internal": (500, "internal server error; the server's log has the request id"),
    "unavailable": (503, "the server is starting or shutting down; see Retry-After"),
    "model_unavailable": (503, "no replica of the model is available"),
    "deadline_exceeded": (504, "deadline exceeded"),
}
_MOST_DETAILS = 20
_BY_STATUS = {404: "not_found", 405: "method_not_allowed"}


class Problem(Exception):
    """Raised to answer a request with the error envelope of one of CODES."""

    def __init__(
        self,
        code: str,
        headers: Mapping[str, str] | None = None,
        details: Sequence[Detail] = (),
    ) -> None:
        super().__init__(code)
        self.code, (self.status, self.message) = code, CODES[code]
        self.headers, self.details = dict(headers or {}), list(details)


def body(problem: Problem, request_id: str) -> ErrorResponse:
    """The envelope of a Problem."""
    return ErrorResponse(
        error=ErrorOut(
            code=problem.code,
            message=problem.message,
            request_id=request_id,
            details=problem.details,
        )
    )


def envelope(problem: Problem, request_id: str, head: bool = False) -> Response:
    """The error response of a Problem; ``head``: without a body."""
    return Response(
        b"" if head else body(problem, request_id).model_dump_json(),
        problem.status,
        problem.headers,
        media_type="application/json",
    )


def invalid(error: ValidationError, where: Sequence[str]) -> Problem:
    """A ValidationError as a Problem, without input values; ``where``: path of its JSON."""
    # Only location and rule: pydantic's `input` and `ctx` hold what the client sent.
    items = error.errors(include_url=False, include_context=False, include_input=False)
    if items[0]["type"] == "json_invalid":
        if "hex escape" not in items[0]["msg"]:
            return Problem("bad_json")
        message = "invalid \\u escape, e.g. a lone surrogate"
        return Problem("invalid_request", details=[Detail(where=_place(where), message=message)])
    details = [
        Detail(where=_place((*where, *item["loc"])), message=_rule(item))
        for item in items[:_MOST_DETAILS]
    ]
    return Problem("invalid_request", details=details)


def answers(*codes: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI error responses of an operation that can return these codes."""
    statuses: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        status, message = CODES[code]
        found = statuses.setdefault(status, {"model": ErrorResponse, "description": ""})
        found["description"] += ("; " if found["description"] else "") + f"{code}: {message}"
        if status in (429, 503):
            found["headers"] = {
                "Retry-After": {"description": "seconds", "schema": {"type": "integer"}}
            }
    return statuses


def install(app: FastAPI) -> None:
    """Register exception handlers that answer with the envelope."""

    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return envelope(error, request.state.request_id)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        problem = Problem(_BY_STATUS.get(error.status_code, "internal"), headers=error.headers)
        return envelope(problem, request.state.request_id, head=request.method == "HEAD")

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(HTTPException, on_http)


_KNOWN = {"body", "text", "documents", "model", "labels", "threshold", "thresholds", "explain"}
_KNOWN |= {"deadline_s", "id", "prompt", "image", "url", "query", "path", "header", "key"}
_KNOWN |= {"options", "guideline", "name", "inline", "definition", "type", "synonyms", "language"}
_KNOWN |= {"description", "examples", "output", "page_pictures", "offsets", "patient", "names"}
_KNOWN |= {"pages"}
_GUIDELINE = "invalid guideline: duplicate label, unknown type, example that does not match its "
_GUIDELINE += "label, or too large"


def _place(loc: Sequence[str | int]) -> str:
    # An unknown key was written by the client and may hold a patient's text.
    named = (str(part) if isinstance(part, int) or part in _KNOWN else "(a key)" for part in loc)
    return ".".join(named)


def _rule(item: Mapping[str, Any]) -> str:
    if item["type"] == "extra_forbidden":
        return "unknown field"
    if item["type"] == "value_error" and "inline" in item["loc"]:
        return _GUIDELINE  # pydantic's message would repeat labels
    return str(item["msg"])
