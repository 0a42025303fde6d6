"""The page at ``/``: three files from the package, a client of the public API and nothing else."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

# By exact path, so there is no path to traverse.
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/marks.js": ("marks.js", "text/javascript; charset=utf-8"),
    "/samples.js": ("samples.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


def add_page(app: FastAPI) -> None:
    """Serve the page's files."""
    for path in _FILES:
        app.add_route(path, _file, methods=["GET"], include_in_schema=False)


async def _file(request: Request) -> Response:
    name, kind = _FILES[request.url.path]
    return Response(_content(name), media_type=kind)


@cache
def _content(name: str) -> bytes:
    return (files("pipelines.serve.page") / name).read_bytes()
