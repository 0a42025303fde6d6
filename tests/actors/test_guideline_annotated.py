"""Examples of a guideline that stand in a file of annotated documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actors.config import ConfigError
from actors.config.load import load_guideline

GUIDELINE: dict[str, Any] = {
    "name": "g",
    "labels": {"DRUG": {"synonyms": ["Medication"]}, "MAIN": {"type": "verbatim-string"}},
    "examples": "notes/examples.jsonl",
}
TEXT = "Insulin, then metformin\n500 mg for diabetes."


def span(words: str, label: str) -> dict[str, Any]:
    start = TEXT.index(words)
    return {"start": start, "end": start + len(words), "label": label}


def guideline_file(folder: Path, *lines: dict[str, Any] | str, **changes: Any) -> Path:
    (folder / "notes").mkdir()
    rows = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / "notes/examples.jsonl").write_text("\n".join(rows))
    path = folder / "g.yaml"
    path.write_text(json.dumps(GUIDELINE | changes))  # JSON is YAML
    return path


def test_entities_fill_lists_and_single_strings(tmp_path: Path) -> None:
    entities = [
        span("metformin\n500 mg", "DRUG"),
        span("Insulin", "medication"),
        span("diabetes", "MAIN"),
        span("Insulin", "MAIN"),
        span("for", "Elsewhere"),
    ]
    found = load_guideline(guideline_file(tmp_path, {"text": TEXT, "entities": entities}))
    (example,) = found.examples
    assert example.text == TEXT
    assert example.output == {"DRUG": ["Insulin", "metformin 500 mg"], "MAIN": "Insulin"}


def test_outputs_stand_as_they_are(tmp_path: Path) -> None:
    line = {"text": TEXT, "output": {"KIND": "oral"}}
    labels = {"KIND": {"type": ["oral", "topical"]}}
    assert load_guideline(guideline_file(tmp_path, line, labels=labels)).examples[0].output == {
        "KIND": "oral"
    }


@pytest.mark.parametrize(
    ("line", "changes", "said"),
    [
        ("{", {}, "line 1: not JSON"),
        ({"text": TEXT}, {}, "line 1: 'entities' must be a list"),
        ({"text": TEXT, "entities": [{"start": 0, "end": 99, "label": "DRUG"}]}, {}, "entity 0"),
        (
            {"text": TEXT, "entities": [], "offsets": "utf16"},
            {},
            "medspan annotations",
        ),
        ({"text": TEXT, "entities": [span("for", "Elsewhere")]}, {}, "no entity in the file"),
        (
            {"text": TEXT, "entities": [span("Insulin", "KIND")]},
            {"labels": {"KIND": {"type": ["oral", "topical"]}}},
            "label KIND: entities cannot fill its type",
        ),
        ({"text": TEXT, "output": {"MAIN": "aspirin"}}, {}, "does not occur"),
    ],
)
def test_errors_name_file_and_line_and_quote_nothing(
    tmp_path: Path, line: dict[str, Any] | str, changes: dict[str, Any], said: str
) -> None:
    path = guideline_file(tmp_path, line, **changes)
    with pytest.raises(ConfigError) as caught:
        load_guideline(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "metformin" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(json.dumps(GUIDELINE))
    with pytest.raises(ConfigError, match=r"examples\.jsonl: No such file"):
        load_guideline(path)
