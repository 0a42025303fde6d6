"""``medspan pages export``: files in, files of other tools out."""

from __future__ import annotations

from pathlib import Path

import pytest
from pypdf import PdfReader
from support.pages_bombs import text_pdf
from typer.testing import CliRunner

from pipelines.cli.app import app

SAMPLE = Path("configs/samples/pages/handwritten.png")


def export(*files: Path, to: str, out: Path) -> tuple[int, str]:
    done = CliRunner().invoke(
        app, ["pages", "export", *map(str, files), "--to", to, "--out", str(out)]
    )
    return done.exit_code, done.output


@pytest.mark.weights
def test_files_are_exported_and_a_bad_one_takes_none_with_it(tmp_path: Path) -> None:
    letter, broken = tmp_path / "letter.pdf", tmp_path / "broken.pdf"
    letter.write_bytes(text_pdf(b"Metformin 500 mg twice daily"))
    broken.write_bytes(b"%PDF-1.7 cut off")
    out = tmp_path / "out"

    code, said = export(broken, letter, SAMPLE, to="searchable-pdf", out=out)

    assert code == 1
    assert "DamagedFile" in said
    assert sorted(path.name for path in out.iterdir()) == ["handwritten.pdf", "letter.pdf"]
    assert "Metformin" in PdfReader(out / "letter.pdf").pages[0].extract_text()
    assert len(PdfReader(out / "handwritten.pdf").pages[0].extract_text()) > 50
    for to, ending in (("hocr", "hocr"), ("alto", "alto.xml")):
        assert export(letter, to=to, out=out)[0] == 0
        assert "Metformin" in (out / f"letter.{ending}").read_text()


def test_unwritable_target_is_an_error_before_any_work(tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "scan.png", tmp_path / "b" / "scan.png"
    for path in (first, second):
        path.parent.mkdir()
        path.write_bytes(SAMPLE.read_bytes())
    pdf = tmp_path / "own.pdf"
    pdf.write_bytes(text_pdf(b"words"))
    for files, message in (
        ((first, second), "2 files would be written to"),
        ((pdf,), "would overwrite an input"),
        ((tmp_path / "absent.png",), "no such file"),
    ):
        code, said = export(*files, to="searchable-pdf", out=tmp_path)
        assert code == 2
        assert message in " ".join(said.replace("│", " ").split())
    assert pdf.read_bytes() == text_pdf(b"words")
