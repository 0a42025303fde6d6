"""The web page at ``/``: static files that use only the public API.

It shares its style with the report: ``reader.css`` of ``pipelines.markup``, plus ``page.css``.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

# Exact paths only, so path traversal is impossible.
_HERE, _MARKUP = "pipelines.serve.page", "pipelines.markup"
_SCRIPTS = [
    "page",
    "ask",
    "curl",
    "deidentify",
    "details",
    "dom",
    "files",
    "layout",
    "marks",
    "result",
    "review",
]
_SCRIPTS += ["samples", "sections", "sheets", "state", "tips", "wanted"]
_FILES = {
    "/": (_HERE, "index.html", "text/html; charset=utf-8"),
    "/reader.css": (_MARKUP, "reader.css", "text/css; charset=utf-8"),
    "/page.css": (_HERE, "page.css", "text/css; charset=utf-8"),
    **{f"/{name}.js": (_HERE, f"{name}.js", "text/javascript; charset=utf-8") for name in _SCRIPTS},
    "/icon.svg": (_HERE, "icon.svg", "image/svg+xml"),
}


def add_page(app: FastAPI) -> None:
    """Add routes for the page's files."""
    for path in _FILES:
        app.add_route(path, _file, methods=["GET"], include_in_schema=False)


async def _file(request: Request) -> Response:
    package, name, kind = _FILES[request.url.path]
    return Response(_content(package, name), media_type=kind)


@cache
def _content(package: str, name: str) -> bytes:
    return (files(package) / name).read_bytes()
