"""Annotated documents of any format become JSONL: examples, and texts for training."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from support.exchange import document, documents, exported
from typer.testing import CliRunner

from actors.config.load import load_guideline
from actors.spans import spanning
from pipelines.cli.app import app
from pipelines.evaluate import GoldDocument, GoldSpan, agreements
from pipelines.exchange.annotations import as_line, few, labels
from pipelines.exchange.formats import ExportFormat
from pipelines.exchange.gold_formats import read_gold
from pipelines.runs.results import Result


def medspan(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == code, result.output
    return result.output


@settings(max_examples=40)
@given(documents())
def test_jsonl_has_the_same_content(result: Result) -> None:
    with tempfile.TemporaryDirectory() as folder:
        exported(Path(folder) / "brat", ExportFormat.BRAT, result)
        before = read_gold(f"{folder}/brat").documents
        lines = b"".join(map(as_line, before.values()))
        (again := Path(folder) / "again.jsonl").write_bytes(lines)
        assert read_gold(str(again)).documents == before


@pytest.mark.parametrize("format_", [ExportFormat.BRAT, ExportFormat.CONLL, ExportFormat.JSONL])
def test_any_format_gives_a_guideline_its_examples(tmp_path: Path, format_: ExportFormat) -> None:
    text = "Insulin for diabetes."
    entities = [spanning(text, 0, 7, "Drug"), spanning(text, 12, 20, "Disease")]
    source = tmp_path / ("brat" if format_ is ExportFormat.BRAT else f"n.{format_}")
    exported(source, format_, document(text, entities))
    medspan("annotations", str(source), "--out", str(tmp_path / "examples.jsonl"), "--n", "1")
    guideline = {"name": "g", "labels": {"Drug": None}, "examples": "examples.jsonl"}
    (tmp_path / "g.yaml").write_text(yaml.safe_dump(guideline))
    (example,) = load_guideline(tmp_path / "g.yaml").examples
    assert (example.text, example.output) == (text, {"Drug": ["Insulin"]})


def gold(id_: str, text: str, *marked: str) -> GoldDocument:
    return GoldDocument(id_, text, tuple(GoldSpan(0, 1, label) for label in marked))


def test_few_documents_show_every_label_in_little_text() -> None:
    long = gold("long", "x" * 90, "A", "B")
    both, one, none = gold("both", "x" * 20, "A", "B"), gold("c", "xxx", "C"), gold("none", "x")
    assert [d.id for d in few([long, none, one, both], 2)] == ["both", "c"]
    assert [d.id for d in few([long, none, one, both], 3)] == ["both", "c", "long"]
    assert {d.id for d in few([long, none, one, both], 9)} == {"both", "c", "long", "none"}
    assert labels(both) == {"A", "B"}


def lines(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_two_people_in_jsonl_agree_or_not(tmp_path: Path) -> None:
    row: dict[str, Any] = {"id": "n", "text": "Insulin."}
    row["entities"] = [{"start": 0, "end": 7, "label": "Drug"}]
    folder = tmp_path / "reviewed"
    folder.mkdir()
    lines(folder / "a.jsonl", row | {"annotator": "ann"})
    lines(folder / "b.jsonl", row | {"annotator": "bob", "entities": []})
    found = read_gold(str(folder)).documents
    assert found["n"].entities == ()  # the last one counts
    (agreement,) = agreements(found.values())
    assert (agreement.first, agreement.second, agreement.strict) == ("ann", "bob", 0.0)


@pytest.mark.parametrize("who", [{}, {"annotator": "ann"}])
def test_a_document_twice_by_the_same_person_is_refused(
    tmp_path: Path, who: dict[str, str]
) -> None:
    row: dict[str, Any] = {"id": "n", "text": "Insulin.", "entities": []}
    path = lines(tmp_path / "a.jsonl", row | {"annotator": "ann"}, row | who)
    said = medspan("annotations", path, "--out", str(tmp_path / "out.jsonl"), code=2)
    assert "different 'annotator'" in " ".join(said.split())
