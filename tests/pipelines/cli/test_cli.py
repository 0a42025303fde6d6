"""The command line as a person meets it: what is printed, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image
from support import ROOT
from support.images import encoded
from typer.testing import CliRunner, Result

from pipelines.cli.app import app

TEXT = "Bệnh nhân\r\nreceived insulin glargine once daily for 12 weeks (n = 28)."
QUICKSTART = str(ROOT / "configs/quickstart.yaml")
GOLD = str(ROOT / "configs/samples/quickstart-gold.jsonl")
weights = pytest.mark.weights


def _run(*arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


@weights
def test_extract_shows_a_table() -> None:
    result = _run("extract", TEXT)
    assert result.exit_code == 0, result.output
    assert "insulin glargine" in result.output
    assert "Grounding" not in result.output, "all of it is exact"


@weights
def test_extract_as_json_has_offsets_that_hold() -> None:
    found = json.loads(_run("extract", "--json", TEXT).stdout)
    assert {"Drug", "Duration"} <= {entity["label"] for entity in found["entities"]}
    for entity in found["entities"]:
        assert TEXT[entity["start"] : entity["end"]] == entity["text"]
        assert 0 <= entity["score"] <= 1
    assert [step["model"] for step in found["steps"]] == ["starter-token-classifier"]


@weights
def test_a_file_and_standard_input_keep_their_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(TEXT.encode())
    direct = json.loads(_run("extract", "--json", TEXT).stdout)["entities"]
    assert json.loads(_run("extract", "--json", "-f", str(path)).stdout)["entities"] == direct
    assert json.loads(_run("extract", "--json", stdin=TEXT.encode()).stdout)["entities"] == direct


@weights
def test_highlight_marks_the_text_without_colour_in_a_pipe() -> None:
    assert "[insulin glargine|Drug]" in _run("extract", "--highlight", TEXT).stdout


@weights
def test_wrong_requests_are_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(b"caf\xe9")
    result = _run("extract", "-f", str(path))
    assert result.exit_code == 2
    # The error is in a box with line breaks anywhere.
    assert "UTF-8 (invalid at byte 3)" in " ".join(result.output.replace("│", " ").split())
    assert _run("extract", "--overlaps", "best", TEXT).exit_code == 2


@weights
def test_a_file_without_text_is_an_error(tmp_path: Path) -> None:
    blank, empty = tmp_path / "blank.png", tmp_path / "empty.txt"
    blank.write_bytes(encoded(Image.new("L", (200, 100), 255)))
    empty.write_bytes(b" \n")
    for path, said in ((blank, "no text found; pages: 1"), (empty, "the document has no text")):
        result = _run("extract", "-f", str(path))
        assert result.exit_code == 0, result.output
        assert said in result.output
        assert "label" not in result.output.lower(), "an empty table"


def test_a_dry_run_prints_the_plan_and_starts_nothing(tmp_path: Path) -> None:
    result = _run("run", QUICKSTART, "--dry-run", "--json", "--sink", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    assert (plan["documents"], plan["files"]) == (66, 2)
    assert plan["stages"][0]["pool"]["num_gpus"] == 0.25
    assert not list((tmp_path / "out").rglob("*.*"))


def test_resuming_what_is_not_there_is_refused(tmp_path: Path) -> None:
    result = _run("run", QUICKSTART, "--sink", str(tmp_path / "out"), "--resume", "r1")
    assert result.exit_code == 2
    assert "has no run r1" in result.output


def test_an_empty_sink_has_no_runs(tmp_path: Path) -> None:
    assert json.loads(_run("runs", "list", str(tmp_path), "--json").stdout) == []
    assert _run("runs", "current", str(tmp_path)).exit_code == 2


@weights
def test_evaluate_scores_the_samples_and_writes_the_errors(tmp_path: Path) -> None:
    page = tmp_path / "errors.html"
    gold = tmp_path / "gold.jsonl"
    gold.write_text("".join(Path(GOLD).read_text().splitlines(keepends=True)[:6]))
    result = _run("evaluate", QUICKSTART, "--gold", str(gold), "--json", "--html", str(page))
    assert result.exit_code == 0, result.output
    assert "confusions" in json.loads(result.stdout)
    assert page.read_text().startswith("<!doctype html>")
    assert "micro" in _run("evaluate", QUICKSTART, "--gold", str(gold)).output


@weights
def test_the_notebook_way() -> None:
    import actors

    ex = actors.load_extractor("starter:token-classifier")
    entities = ex.extract([actors.Document(id="1", text=TEXT)])[0].entities
    ex.close()
    assert ("insulin glargine", "Drug") in {(e.text, e.label) for e in entities}


def test_models_that_ship_are_listed() -> None:
    rows = json.loads(_run("models", "list", "--json").stdout)
    assert "starter:token-classifier" in {row["reference"] for row in rows}


def test_the_version_is_that_of_the_distribution() -> None:
    result = _run("--version")
    assert (result.exit_code, result.stdout) == (0, f"medspan {version('medspan')}\n")


def test_a_folder_or_a_file_of_the_other_kind_is_named_with_what_to_do(tmp_path: Path) -> None:
    (model := tmp_path / "ner.yaml").write_text("name: n\nkind: onnx\nweights: {model: weights}\n")
    (tmp_path / "kind.yaml").write_text("name: n\nkind: bert\nweights: {model: weights}\n")
    (tmp_path / "weights").mkdir()
    (pipeline := tmp_path / "p.yaml").write_text(f"name: p\nsteps: [{{model: {model}}}]\n")
    for words, said in (
        (("extract", "-m", str(tmp_path / "weights"), "x"), "weights.model: "),
        (("extract", "-m", str(model), "x"), "no ONNX model (looked for model.onnx,"),
        (("extract", "-m", str(pipeline), "x"), "a pipeline file where a model file is expected"),
        (("extract", "-m", str(tmp_path / "kind.yaml"), "x"), "the kinds are onnx, gliner, gguf"),
        (("extract", "-p", str(model), "x"), "a model file where a pipeline file is expected"),
        (("run", str(model), "--resume", "r1", "--dry-run"), "--resume cannot be combined"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", "from pipelines.cli.app import main; main()", *words],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2, done.stderr
        assert said in " ".join(done.stderr.split()), done.stderr
