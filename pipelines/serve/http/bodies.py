"""Parse a JSON body into a request model. Values are counted before anything is parsed.

A body of a few megabytes can hold a million lists, keys or documents, each of which would become
objects and errors. The count scans only the structure and stops at the first excess.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from pipelines.serve.wire.errors import Problem, invalid
from pipelines.serve.wire.requests import MOST_PARTS

_PER_DOCUMENT = 8  # JSON values of one document: itself and its keys
_DEEPEST = 32
_LARGE = 100_000  # bytes, which take a few milliseconds to parse
# A string is one token even if unterminated, so that the scan never backtracks over it.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)
_DOCUMENTS = b'"documents"'
_Model = TypeVar("_Model", bound=BaseModel)


async def read_body(request: Request, model: type[_Model], documents: int) -> _Model:
    """Parse the body; raises Problem. A large body is parsed off the event loop."""
    body = await request.body()
    if len(body) > _LARGE:
        return await asyncio.to_thread(parsed, body, model, documents)
    return parsed(body, model, documents)


def parsed(
    body: bytes, model: type[_Model], documents: int, where: Sequence[str] = ("body",)
) -> _Model:
    """Parse JSON with at most ``documents`` documents.

    Raises Problem; its details locate the error below ``where`` in the request.
    """
    _count(body, documents)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error, where) from None


def _count(body: bytes, documents: int) -> None:
    """Raise Problem if the JSON has too many documents, too many values or is too deep.

    Invalid JSON may be miscounted; the parser rejects it afterwards.
    """
    most = MOST_PARTS + _PER_DOCUMENT * documents
    depth = values = listed = 0
    key = b""
    in_documents = False
    for token in _TOKEN.finditer(body):
        kind = body[token.start()]
        if kind == ord('"'):
            if depth == 1 and token.end() - token.start() == len(_DOCUMENTS):
                key = token[0]
            elif depth == 1:
                key = b""
            continue
        if kind in b"]}":
            depth -= 1
            in_documents = in_documents and depth >= 2
            continue
        values += 1
        if kind in b"[{":
            in_documents = in_documents or (depth == 1 and kind == ord("[") and key == _DOCUMENTS)
            depth += 1
        elif in_documents and depth == 2:
            listed += 1
            if listed >= documents:
                raise Problem("too_many_documents")
        if values > most or depth > _DEEPEST:
            raise Problem("too_many_values")
