"""Multipart uploads: texts, images and PDFs without base64."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from pipelines.serve.answering.request_documents import InputDocument
from pipelines.serve.http.bodies import parsed
from pipelines.serve.wire.errors import Problem

_MOST_OPTIONS = 200_000
_Options = TypeVar("_Options", bound=BaseModel)

_FILE = (
    "One document each, detected by content: an image, a PDF, a DICOM file, a Word document "
    "(.docx), or a text, which may be compressed (gzip, bzip2, xz, zstd) and may be HTML, RTF, "
    "C-CDA, FHIR or HL7 v2. Ids are their indices, from 0. {offsets}"
)


def form_body(options: str, offsets: str) -> dict[str, Any]:
    """The ``openapi_extra`` of an operation with a form, whose schema FastAPI cannot derive.

    ``options`` says what that part is, ``offsets`` what the answer's offsets refer to.
    """
    parts = {
        "file": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "format": "binary"},
            "description": _FILE.format(offsets=offsets),
        },
        "options": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": options,
        },
    }
    schema = {"type": "object", "required": ["file"], "properties": parts}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


class _InMemory(MultiPartParser):
    """Keeps files in memory: they are patients' data, and the body size is bounded."""

    spool_max_size = 1 << 62


async def read_form(
    request: Request, model: type[_Options], most: int
) -> tuple[_Options, list[InputDocument]]:
    """Parse a form with at most ``most`` files into options and files; raises Problem."""
    parser = _InMemory(
        request.headers,
        request.stream(),
        max_files=most + 1,
        max_fields=8,
        max_part_size=_MOST_OPTIONS,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, FormParserError):
        raise Problem("bad_form") from None
    try:
        files: list[InputDocument] = []
        fields: list[str] = []
        for name, value in form.multi_items():
            if name == "file" and isinstance(value, UploadFile):
                files.append(InputDocument(str(len(files)), file=await value.read()))
            elif name == "options" and isinstance(value, str):
                fields.append(value)
            else:
                raise Problem("bad_form")
    finally:
        await form.close()
    if not files or len(fields) > 1:
        raise Problem("bad_form")
    if not fields:
        return model(), files
    return parsed(fields[0].encode(), model, most, ("body", "options")), files
