"""``medspan deidentify``: what is printed and written, and how it ends."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image
from support.bar_codes import coded_file, codes_of
from support.named_page import assert_name_is_black, named_page
from typer.testing import CliRunner, Result

from actors.pages import OcrResult, PageSize, Word
from actors.spans import Box, Document
from pipelines.cli.app import app

KEY = "a secret of tests, not of anybody"
NOTE = "Patient: John Smith, DOB 3/4/1950, MRN 998877.\r\nMr. Smith has pain.\n"


def run(*arguments: str, key: str | None = None) -> Result:
    return CliRunner().invoke(app, ["deidentify", *arguments], env={"MEDSPAN_DEIDENTIFY_KEY": key})


@pytest.fixture
def note(tmp_path: Path) -> str:
    path = tmp_path / "note.txt"
    path.write_bytes(NOTE.encode())
    return str(path)


@pytest.fixture
def made_up(tmp_path: Path) -> str:
    path = tmp_path / "policies.yaml"
    path.write_text("policies: {NAME: surrogate, DATE: shift}\n")
    return str(path)


def test_a_note_comes_out_without_identifiers(note: str) -> None:
    result = run(note)
    assert result.exit_code == 0, result.output
    assert result.stdout_bytes == (
        b"Patient: [NAME], DOB 1950, MRN [MRN].\r\nMr. [NAME] has pain.\n"
    )


def test_as_json_with_a_map_that_holds(note: str, made_up: str) -> None:
    result = run(note, "--config", made_up, "--patient", "p", "--json", key=KEY)
    assert result.exit_code == 0, result.output
    done = json.loads(result.stdout)
    assert done["residue"] == []
    assert {(c["category"], c["policy"]): c["count"] for c in done["counts"]} == {
        ("DATE", "shift"): 1,
        ("MRN", "mask"): 1,
        ("NAME", "surrogate"): 2,
    }
    last = done["edits"][-1]
    assert NOTE[last["start"] : last["end"]] == "Smith"
    surname = done["text"][last["new_start"] : last["new_end"]]
    assert done["text"].startswith("Patient: ")
    assert done["text"].split()[2] == f"{surname},"


def test_the_patient_decides_the_surrogates(note: str, made_up: str) -> None:
    def text(patient: str) -> str:
        return run(note, "--config", made_up, "--patient", patient, key=KEY).stdout

    assert text("p") == text("p") != text("q")


def test_without_a_key_there_is_an_error_and_no_text(note: str, made_up: str) -> None:
    result = run(note, "--config", made_up)
    assert result.exit_code != 0
    assert "MEDSPAN_DEIDENTIFY_KEY" in str(result.exception)
    assert "pain" not in result.output


def test_a_wrong_policy_names_file_and_key(note: str, tmp_path: Path) -> None:
    config = tmp_path / "wrong.yaml"
    config.write_text("policies: {NAME: shift}\n")
    result = run(note, "--config", str(config))
    assert result.exit_code != 0
    assert "wrong.yaml" in str(result.exception)
    assert "policies.NAME" in str(result.exception)


def test_undecodable_text_names_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(b"caf\xe9")
    result = run(str(path))
    assert result.exit_code == 2
    assert "byte 3" in result.output


def test_a_picture_needs_a_place_to_be_written(tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    Image.new("RGB", (60, 40), "white").save(path)
    result = run(str(path))
    assert result.exit_code == 2
    assert "--out" in result.output


def test_a_page_that_still_shows_a_name_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OCR reads the same words again, as if their boxes had missed them."""
    text = "Patient: John Smith has pain"
    words = tuple(
        Word(m.start(), m.end(), Box(0, 10.0 * m.start(), 5, 10.0 * m.end(), 25), None)
        for m in re.finditer(r"\S+", text)
    )
    reading = OcrResult(text, words, (PageSize(400, 60),))

    def read(file: Path, content: bytes, ocr: str) -> tuple[Document, OcrResult]:
        return Document(id="scan", text=text), reading

    monkeypatch.setattr("pipelines.cli.deidentify._read", read)
    scan, out = tmp_path / "scan.png", tmp_path / "out.png"
    Image.new("RGB", (400, 60), "white").save(scan)
    result = run(str(scan), "--out", str(out))
    assert result.exit_code == 1
    assert "the second look reads NAME by" in result.output
    assert "Smith" not in result.output
    assert not out.exists()
    allowed = tmp_path / "allowed.yaml"
    allowed.write_text("residue: allow")
    assert run(str(scan), "--out", str(out), "--config", str(allowed)).exit_code == 0
    assert out.exists()


def test_a_bar_code_is_covered_unless_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "has pain"
    reading = OcrResult(text, (), (PageSize(400, 100),))

    def read(file: Path, content: bytes, ocr: str) -> tuple[Document, OcrResult]:
        return Document(id="scan", text=text), reading

    monkeypatch.setattr("pipelines.cli.deidentify._read", read)
    scan, out, kept = tmp_path / "scan.png", tmp_path / "out.png", tmp_path / "kept.yaml"
    scan.write_bytes(coded_file(Image.new("RGB", (400, 100), "white"), "4471120"))
    result = run(str(scan), "--out", str(out), "--json")
    assert result.exit_code == 0, result.output
    counts = json.loads(result.stdout)["counts"]
    assert counts == [{"category": "BARCODE", "policy": "mask", "count": 1}]
    assert codes_of(out.read_bytes()) == []
    assert "4471120" not in result.output
    kept.write_text("policies: {BARCODE: keep}")
    assert run(str(scan), "--out", str(out), "--config", str(kept)).exit_code == 0
    assert codes_of(out.read_bytes()) == ["4471120"]


@pytest.mark.weights
def test_a_scan_is_written_with_its_names_black(tmp_path: Path) -> None:
    page = named_page()
    scan, out = tmp_path / "scan.png", tmp_path / "out.png"
    page.save(scan)
    result = run(str(scan), "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "[NAME]" in result.stdout
    assert_name_is_black(out, page)
