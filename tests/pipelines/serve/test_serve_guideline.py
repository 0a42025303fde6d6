"""A request's own guideline: inline or by name, over a token classifier; errors that help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from support.serve import MODEL, make_app, make_client

from actors.config import ConfigError
from pipelines.config import load_pipeline
from pipelines.serve.catalogue import catalogue_of

TEXT = "metformin and insulin for diabetes"
MINE = {"name": "mine", "labels": {"Medication": {"synonyms": ["drug"]}}}
FILE = "name: ward\nlanguage: de\nlabels: {Disease: What ails a patient.}\n"


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    (tmp_path / "ward.yaml").write_text(FILE)
    return make_client(tmp_path, "{guidelines: [ward.yaml]}")


def _found(client: TestClient, guideline: Any, **more: Any) -> list[tuple[str, str]]:
    answer = client.post("/v1/extract", json={"text": TEXT, "guideline": guideline} | more)
    assert answer.status_code == 200, answer.text
    return [(e["label"], e["text"]) for e in answer.json()["documents"][0]["entities"]]


def test_inline_it_chooses_and_names_the_labels(client: TestClient) -> None:
    assert _found(client, MINE) == [("Medication", "metformin"), ("Medication", "insulin")]
    assert _found(client, MINE, thresholds={"Medication": 0.7}) == [("Medication", "metformin")]


def test_by_name(client: TestClient) -> None:
    assert _found(client, "ward") == [("Disease", "diabetes")]


def test_models_lists_the_names_and_what_each_model_can_follow(client: TestClient) -> None:
    body = client.get("/v1/models").json()
    [known] = body["guidelines"]
    assert (known["name"], known["language"]) == ("ward", "de")
    assert [label["name"] for label in known["labels"]] == ["Disease"]
    assert {model["guideline"] for model in body["models"]} == {"labels"}


def test_its_fingerprint_is_of_the_guideline_too(client: TestClient) -> None:
    def fingerprint(**more: Any) -> str:
        answer = client.post("/v1/extract", json={"text": TEXT, "model": MODEL} | more)
        step = answer.json()["documents"][0]["steps"][0]
        return str(step["fingerprint"])

    assert len({fingerprint(), fingerprint(guideline=MINE), fingerprint(guideline="ward")}) == 3


@pytest.mark.parametrize(
    ("guideline", "code", "where"),
    [
        ("nobody", "guideline_not_found", None),
        ("../ward.yaml", "guideline_not_found", None),
        (
            {"name": "m", "labels": {"Drug": {}, "Miller": {}}},
            "guideline_not_supported",
            "labels.1",
        ),
        ({"name": "m", "labels": {}}, "invalid_request", "labels"),
        (
            {"name": "m", "labels": {"Miller": {"type": "Miller"}}},
            "invalid_request",
            "(a key).type",
        ),
        ({"name": "m", "labels": {"Miller": {}, "miller": {}}}, "invalid_request", "inline"),
        (
            {"name": "m", "labels": {"Drug": {}}, "examples": [{"text": "x", "output": {"M": 1}}]},
            "invalid_request",
            "inline",
        ),
        ({"name": "m", "labels": {"Drug": {}}, "file": "/etc/passwd"}, "invalid_request", "key"),
        (7, "invalid_request", "inline"),
    ],
)
def test_invalid_guideline_error_names_the_field_without_its_value(
    client: TestClient, guideline: Any, code: str, where: str | None
) -> None:
    answer = client.post("/v1/extract", json={"text": TEXT, "guideline": guideline})
    error = answer.json()["error"]
    assert error["code"] == code
    assert "iller" not in answer.text
    if where is not None:
        assert where in error["details"][0]["where"]


@pytest.mark.parametrize("deep", [40, 5_000, 200_000])
def test_a_guideline_like_a_well_is_refused(client: TestClient, deep: int) -> None:
    body = '{"text": "x", "guideline": {"name": "m", "labels": {"Drug": {"type": '
    body += "[" * deep + '"string"' + "]" * deep + "}}}}"
    answer = client.post("/v1/extract", content=body, headers={"content-type": "application/json"})
    assert answer.json()["error"]["code"] == "too_many_values"


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ({f"L{i}": {} for i in range(20_000)}, "too_many_values"),
        ({"Drug": "x" * 200_000}, "invalid_request"),
        ({"Drug": "\ud800"}, "invalid_request"),
    ],
)
def test_a_guideline_that_no_prompt_could_hold_is_refused(
    client: TestClient, label: dict[str, Any], code: str
) -> None:
    body = json.dumps({"text": "x", "guideline": {"name": "m", "labels": label}})
    answer = client.post("/v1/extract", content=body, headers={"content-type": "application/json"})
    assert answer.json()["error"]["code"] == code


def test_a_model_of_prose_has_no_use_for_one(tmp_path: Path) -> None:
    app = make_app(tmp_path, guideline="none")
    with TestClient(app, base_url="http://127.0.0.1") as client:
        answer = client.post("/v1/extract", json={"text": TEXT, "guideline": MINE})
    assert answer.json()["error"]["code"] == "guideline_not_supported"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.yaml": FILE, "b.yaml": FILE}, "duplicate guideline ward"),
        ({"a.yaml": "name: ward\n"}, "labels: required"),
    ],
)
def test_guideline_files_are_checked_at_the_start(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=message):
        make_client(tmp_path, f"{{guidelines: {json.dumps(list(files))}}}")


def test_the_guidelines_of_a_pipeline_file_are_found_from_there(tmp_path: Path) -> None:
    make_client(tmp_path)
    (tmp_path / "g").mkdir()
    (tmp_path / "g/ward.yaml").write_text(FILE)
    path = tmp_path / "pipe.yaml"
    path.write_text(path.read_text().replace("serve: {}", "serve: {guidelines: [g/ward.yaml]}"))
    assert list(catalogue_of(load_pipeline(path)).guidelines) == ["ward"]
