from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.linking import VocabularyError, read_manifest
from pipelines.cli.app import app, main


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
