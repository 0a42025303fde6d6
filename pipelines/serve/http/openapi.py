"""OpenAPI schemas of request bodies that FastAPI does not parse itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

_SCHEMA = "#/components/schemas/{model}"


def request_body(model: type[BaseModel]) -> dict[str, Any]:
    """The ``openapi_extra`` of an operation with a JSON body."""
    schema = {"$ref": _SCHEMA.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def describe(app: FastAPI, requests: Sequence[type[BaseModel]]) -> None:
    """Add the schemas of these models to the application's OpenAPI description."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schemas = plain()["components"]["schemas"]
            _, found = models_json_schema(
                [(model, "validation") for model in requests], ref_template=_SCHEMA
            )
            schemas |= found["$defs"]
        return plain()

    app.openapi = openapi  # type: ignore[method-assign]
