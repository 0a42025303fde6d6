"""One envelope for every answer that is not a success, with a code that programs can use.

No message repeats what a request held: it may be a patient's text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pipelines.serve.schema import Detail, ErrorOut, ErrorResponse

CODES = {
    "bad_json": (400, "the body is not JSON"),
    "bad_encoding": (400, "the body is no complete gzip stream, though Content-Encoding says so"),
    "bad_form": (400, "the body is no form of parts named `file`, with at most one `options`"),
    "unauthorized": (401, "a bearer token is needed, and this is none that is known"),
    "forbidden": (403, "the token may not use this model"),
    "host_forbidden": (403, "this host name is not served without a token"),
    "origin_forbidden": (403, "a web page of another origin may not post files here"),
    "url_forbidden": (403, "a url is below no address that this server may read"),
    "not_found": (404, "there is nothing at this path"),
    "model_not_found": (404, "no model or pipeline has this name"),
    "guideline_not_found": (404, "no guideline has this name"),
    "method_not_allowed": (405, "the path has no such method"),
    "body_too_slow": (408, "the body did not arrive in time"),
    "body_too_large": (413, "the body is larger than limits.body_mb"),
    "too_many_documents": (413, "the request has more documents than limits.documents"),
    "too_many_values": (413, "the body has more or deeper lists and objects than a request may"),
    "document_too_large": (413, "a document has more characters than limits.characters"),
    "unsupported_media_type": (415, "the body's type must be that of the path"),
    "unsupported_encoding": (415, "Content-Encoding may be gzip, or absent"),
    "invalid_request": (422, "the request does not fit the schema; see details"),
    "pictures_not_read": (422, "this server has no reader of pictures"),
    "prompt_not_supported": (422, "this model takes no prompt"),
    "guideline_not_supported": (422, "no model can follow this guideline; see details"),
    "rate_limited": (429, "this token has used its requests; come again after Retry-After"),
    "overloaded": (429, "the queue is full; come again after Retry-After"),
    "internal": (500, "a fault of the server; its log has the request's id"),
    "unavailable": (503, "the server is starting or ending; come again after Retry-After"),
    "model_unavailable": (503, "no replica of the model can answer now"),
    "deadline_exceeded": (504, "the deadline passed before the answer was there"),
}
_MOST_DETAILS = 20
_BY_STATUS = {404: "not_found", 405: "method_not_allowed"}


class Problem(Exception):
    """Ends a request with the envelope of a code of CODES."""

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
    """The answer to a request that a Problem ended; ``head``: without its body."""
    return Response(
        b"" if head else body(problem, request_id).model_dump_json(),
        problem.status,
        problem.headers,
        media_type="application/json",
    )


def invalid(error: ValidationError, where: Sequence[str]) -> Problem:
    """What a request's ValidationError says, without what it held; ``where`` its JSON stands."""
    # Only the place and the rule: pydantic's `input` and `ctx` hold what was sent.
    items = error.errors(include_url=False, include_context=False, include_input=False)
    if items[0]["type"] == "json_invalid":
        if "hex escape" not in items[0]["msg"]:
            return Problem("bad_json")
        message = "a \\u escape that is no character, such as a lone surrogate"
        return Problem("invalid_request", details=[Detail(where=_place(where), message=message)])
    details = [
        Detail(where=_place((*where, *item["loc"])), message=_rule(item))
        for item in items[:_MOST_DETAILS]
    ]
    return Problem("invalid_request", details=details)


def answers(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI responses of an operation that may end with these codes."""
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
    """Have the application say its errors in the envelope."""

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
_KNOWN |= {"description", "examples", "output", "page_pictures", "offsets"}
_GUIDELINE = "does not hold: two labels of one name, no type of the type language, an example that "
_GUIDELINE += "does not fit its label, or more than a request may bring"


def _place(loc: Sequence[str | int]) -> str:
    # A key that is not ours was written by the client, who may have put a note there.
    named = (str(part) if isinstance(part, int) or part in _KNOWN else "(a key)" for part in loc)
    return ".".join(named)


def _rule(item: Mapping[str, Any]) -> str:
    if item["type"] == "extra_forbidden":
        return "there is no such key"
    if item["type"] == "value_error" and "inline" in item["loc"]:
        return _GUIDELINE  # its own message names labels
    return str(item["msg"])
