from pathlib import Path

import numpy as np
import pytest
from support import tiny_onnx
from typer.testing import CliRunner

from actors.config.linking import Linking
from actors.linking import VocabularyError, read_manifest
from actors.spans import Annotations, Entity
from pipelines.cli.app import app, main
from pipelines.config import load_pipeline
from pipelines.refine import refiner
from pipelines.runs.identity import pipeline_fingerprint
from pipelines.stages import Stage


def write(folder: Path, content: str) -> Path:
    path = folder / "own.csv"
    path.write_text(content)
    return path


def test_build_and_describe(tmp_path: Path) -> None:
    path = write(tmp_path, "code,term\nA,asthma\nA,wheeze\nB,bronchitis\n")
    options = ["--name", "own", "--version", "2026-10", "--into", str(tmp_path / "indexes")]

    built = CliRunner().invoke(app, ["vocabulary", "build", str(path), *options])
    target = tmp_path / "indexes" / "own-2026-10"
    said = CliRunner().invoke(app, ["vocabulary", "describe", str(target)])

    assert built.exit_code == said.exit_code == 0
    assert "2 concepts, 3 names" in built.output
    assert read_manifest(target).digest in said.output
    again = CliRunner().invoke(app, ["vocabulary", "build", str(path), *options])
    assert isinstance(again.exception, VocabularyError)


def test_names_of_another_language_are_added_to_the_codes(tmp_path: Path) -> None:
    path = write(tmp_path, "code,term\nI10,Essential hypertension\n")
    spanish = tmp_path / "es.csv"
    spanish.write_text("code,term\nI10,hipertensi\u00f3n arterial\n", encoding="utf-8")
    options = ["--name", "own", "--version", "1", "--into", str(tmp_path)]

    built = CliRunner().invoke(
        app, ["vocabulary", "build", str(path), *options, "--synonyms", str(spanish)]
    )

    assert "1 concepts, 2 names" in built.output
    linked = {"index": str(tmp_path / "own-1"), "labels": {"Disease": []}}
    refine = refiner((Stage("linking", Linking.model_validate({"vocabularies": [linked]}), None),))
    text = "Hipertension arterial"
    refined = refine(text, Annotations((Entity("Disease", text, 0, len(text)),)))
    (code,) = refined.entities[0].codes
    assert (code.code, code.term, code.how) == ("I10", "Essential hypertension", "exact")


def test_names_are_found_by_the_vectors_of_the_users_model(tmp_path: Path) -> None:
    tokenizer = tiny_onnx.wordpiece()
    table = np.random.default_rng(1).normal(size=(tokenizer.get_vocab_size(), 24))
    model = tiny_onnx.by_token(table.astype(np.float32))
    weights = tiny_onnx.save(tmp_path / "model", model, tokenizer, labels=[*map(str, range(24))])
    path = write(tmp_path, "code,term\nA,heart failure\nB,type 2 diabetes\n")
    options = ["--name", "own", "--version", "1", "--into", str(tmp_path)]

    built = CliRunner().invoke(
        app, ["vocabulary", "build", str(path), *options, "--embedding", str(weights)]
    )
    assert built.exit_code == 0, built.output
    assert "vectors of 24 numbers" in built.output

    def codes(threshold: float) -> list[tuple[str, str]]:
        vocabulary = {
            "index": str(tmp_path / "own-1"),
            "labels": {"Disease": []},
            "embedding": {"weights": {"model": str(weights)}, "threshold": threshold},
        }
        # Only equal names score 0.95, so what is found besides is found by vectors.
        config = Linking.model_validate({"vocabularies": [vocabulary], "threshold": 0.95})
        refine = refiner((Stage("linking", config, None),))
        text = "type 2 diabetes, insulin"
        refined = refine(text, Annotations((Entity("Disease", text, 0, len(text)),)))
        return [(code.code, code.how) for code in refined.entities[0].codes]

    assert codes(0.5) == [("B", "embedding")]
    assert codes(1.0) == []

    file = tmp_path / "lake.yaml"

    def fingerprint(embedding: str) -> str:
        file.write_text(
            f"name: p\nsource: {{path: notes}}\nsink: {{path: out}}\n"
            f"steps: [{{model: 'starter:token-classifier'}}]\n"
            f"linking: {{vocabularies: [{{index: own-1, labels: {{Disease: []}}{embedding}}}]}}\n"
        )
        return pipeline_fingerprint(load_pipeline(file))

    without = fingerprint("")
    with_model = fingerprint(", embedding: {weights: {model: model}}")
    assert with_model != without
    manifest = tmp_path / "own-1" / "vocabulary.json"
    embedded = read_manifest(tmp_path / "own-1").embedding
    assert embedded is not None
    manifest.write_text(manifest.read_text().replace(embedded.digest, "0" * 64))
    assert fingerprint(", embedding: {weights: {model: model}}") != with_model
    assert fingerprint("") == without

    (weights / "tokenizer.json").write_text((weights / "tokenizer.json").read_text() + " ")
    with pytest.raises(VocabularyError, match="of another model"):
        codes(0.6)


def test_a_dry_run_names_the_weights_that_are_missing(tmp_path: Path) -> None:
    write(tmp_path, "code,term\nA,asthma\n")
    (tmp_path / "notes.jsonl").write_text('{"id": "1", "text": "asthma"}\n')
    file = tmp_path / "lake.yaml"
    file.write_text(
        "name: p\nsource: {path: notes.jsonl, format: jsonl}\nsink: {path: out}\n"
        "steps: [{model: 'starter:token-classifier'}]\n"
        "linking: {vocabularies: [{index: own-1, labels: {Disease: []}, "
        "embedding: {weights: {model: no-model}}}]}\n"
    )

    result = CliRunner().invoke(app, ["run", str(file), "--dry-run"])

    assert isinstance(result.exception, FileNotFoundError)
    assert "no-model" in str(result.exception)


def test_bad_input_is_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "term\nasthma\n")
    arguments = f"medspan vocabulary build {path} --name x --version 1 --into {tmp_path}"
    monkeypatch.setattr("sys.argv", arguments.split())

    with pytest.raises(SystemExit) as left:
        main()

    assert left.value.code == 2
    assert "own.csv: row 1: no column code" in capsys.readouterr().err
