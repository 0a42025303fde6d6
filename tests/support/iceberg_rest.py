"""An Iceberg REST catalog over a SQL one: the paths of the specification that tables need.

https://github.com/apache/iceberg/blob/main/open-api/rest-catalog-open-api.yaml
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.catalog.rest import CreateTableRequest
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.table import CommitTableRequest, Table

TOKEN = "of-the-tests"
_STATUS = {
    CommitFailedException: 409,
    NamespaceAlreadyExistsError: 409,
    NoSuchTableError: 404,
    TableAlreadyExistsError: 409,
}


def rest_catalog(folder: Path) -> tuple[FastAPI, Catalog]:
    """The server, which wants TOKEN, and the catalog behind it."""
    folder.mkdir(parents=True, exist_ok=True)
    behind = load_catalog(
        "behind",
        type="sql",
        uri=f"sqlite:///{folder}/rest.db",
        warehouse=(folder / "warehouse").as_uri(),
    )
    app = FastAPI()

    @app.middleware("http")
    async def known(request: Request, go_on: Any) -> Any:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _error(401, "NotAuthorizedException")
        return await go_on(request)

    for kind, status in _STATUS.items():
        app.add_exception_handler(
            kind, lambda _, error, code=status: _error(code, type(error).__name__)
        )

    @app.get("/v1/config")
    def config() -> Any:
        return {"defaults": {}, "overrides": {}}

    @app.post("/v1/namespaces")
    def create_namespace(body: dict[str, Any]) -> Any:
        behind.create_namespace(tuple(body["namespace"]))
        return {"namespace": body["namespace"], "properties": {}}

    @app.post("/v1/namespaces/{namespace}/tables")
    async def create_table(namespace: str, request: Request) -> Any:
        unset = dict.fromkeys(
            ("location", "partition-spec", "write-order")
        )  # clients leave them out
        asked = CreateTableRequest.model_validate(unset | await request.json())
        table = behind.create_table(
            (namespace, asked.name), asked.table_schema, properties=asked.properties
        )
        return _described(table)

    @app.get("/v1/namespaces/{namespace}/tables/{name}")
    def load_table(namespace: str, name: str) -> Any:
        return _described(behind.load_table((namespace, name)))

    @app.post("/v1/namespaces/{namespace}/tables/{name}")
    async def commit_table(namespace: str, name: str, request: Request) -> Any:
        asked = CommitTableRequest.model_validate_json(await request.body())
        table = behind.load_table((namespace, name))
        behind.commit_table(table, asked.requirements, asked.updates)
        return _described(behind.load_table((namespace, name)))

    return app, behind


def _described(table: Table) -> Any:
    return {
        "metadata-location": table.metadata_location,
        "metadata": table.metadata.model_dump(mode="json", by_alias=True, exclude_none=True),
        "config": {},
    }


def _error(status: int, kind: str) -> JSONResponse:
    error = {"message": kind, "type": kind, "code": status}
    return JSONResponse({"error": error}, status)
