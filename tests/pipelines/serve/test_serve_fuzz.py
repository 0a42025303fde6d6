"""The API against its own OpenAPI: whatever schemathesis thinks of, no answer is a 5xx, every
answer fits the schema, and every error has the envelope."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.deidentify import SECRET
from support.serve import make_app

from pipelines.deidentification import KEY
from pipelines.serve.wire.errors import CODES

PATHS = [
    ("POST", "/v1/extract"),
    ("POST", "/v1/extract/upload"),
    ("POST", "/v1/extract/stream"),
    ("POST", "/v1/deidentify"),
    ("POST", "/v1/deidentify/upload"),
    ("GET", "/v1/models"),
    ("GET", "/v1/vocabularies"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Any:
    # The names of schemathesis's transport, which a server without tokens must be told.
    folder: Path = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY, SECRET.decode())
        app = make_app(folder, "{hosts: [testserver, localhost]}", more="deidentify: {}")
    return schemathesis.openapi.from_asgi("/v1/openapi.json", app)


def test_the_list_of_operations_is_whole(api: Any) -> None:
    found = {(o.ok().method.upper(), o.ok().path) for o in api.get_all_operations()}
    assert found == set(PATHS)


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        *((*operation, GenerationMode.POSITIVE) for operation in PATHS),
        *((*operation, GenerationMode.NEGATIVE) for operation in PATHS if operation[0] == "POST"),
    ],
)
def test_no_request_breaks_the_server_or_its_word(
    api: Any, method: str, path: str, mode: GenerationMode
) -> None:
    seen: set[int] = set()

    @settings(
        max_examples=100 if method == "POST" else 10,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=api[path][method].as_strategy(generation_mode=mode))
    def attempt(case: Any) -> None:
        answer = case.call_and_validate(checks=CHECKS)
        seen.add(answer.status_code)
        assert answer.headers["x-content-type-options"] == ["nosniff"]
        if answer.status_code >= 400:
            assert CODES[answer.json()["error"]["code"]][0] == answer.status_code

    attempt()
    assert any(status < 300 for status in seen) or mode is GenerationMode.NEGATIVE, seen
