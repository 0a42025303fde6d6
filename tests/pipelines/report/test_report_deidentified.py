"""The report of what de-identification replaced."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
from support.deidentify import SECRET
from support.lake import FAILING, Quiet, hashing, pipeline
from support.without_ray import _without_ray  # noqa: F401
from typer.testing import CliRunner

from actors.config.deidentify import Category
from actors.deidentify import Deidentifier, Residue
from pipelines.cli.app import app
from pipelines.deidentification import KEY
from pipelines.enrich import enrich_once

pytestmark = pytest.mark.usefixtures("_without_ray")
TEXTS = {
    "a": "Patient: Jonathan Doe, seen on 2024-03-05.",
    "b": f"Mr. Roe <b>&amp; {FAILING}",
    "c": "aspirin",
}


def _report(folder: Path, *options: str) -> str:
    out = str(folder / "report.html")
    command = ["report", str(folder / "out"), "--deidentified", "--out", out, *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return Path(out).read_text()


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(KEY, SECRET.decode())
    (tmp_path / "in").mkdir()
    rows = (json.dumps({"id": id_, "text": text}) for id_, text in TEXTS.items())
    (tmp_path / "in/notes.jsonl").write_text("\n".join(rows))
    return tmp_path


def _run(lake: Path, **section: object) -> None:
    policies = {"NAME": "surrogate", "DATE": "generalise"}
    section = {"policies": policies, **section}
    loaded = pipeline(str(lake / "in"), str(lake / "out"), deidentify=section)
    enrich_once(loaded, Quiet(), nullcontext(), hashing())


def test_each_mark_has_what_stood_there_before_and_counts_are_of_the_run(
    lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(lake)
    monkeypatch.delenv(KEY)  # reading needs none
    page = _report(lake)
    assert 'data-t="NAME ← Jonathan Doe"' in page
    assert 'data-t="DATE ← 2024-03-05"' in page
    assert ">2024</mark>" in page
    assert "residue</button>" not in page, "there is none"
    assert "3 documents, 2 identifiers replaced" in page
    assert "<b>1</b>" in page


def test_a_document_that_is_held_back_shows_its_original_and_why(lake: Path) -> None:
    _run(lake)
    page = _report(lake)
    assert "Nothing leaves of this document: Refused. Below is the original." in page
    assert "Mr. Roe &lt;b&gt;&amp;amp; " in page


def test_residue_is_marked_in_the_original(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaks(self: Deidentifier, text: str, *_: object) -> list[Residue]:
        return [Residue(0, 7, Category.NAME, "test")] if text == "aspirin" else []

    monkeypatch.setattr(Deidentifier, "_rules_again", leaks)
    _run(lake)
    page = _report(lake)
    assert "The second look found an identifier, and nothing leaves" in page
    assert 'data-t="residue">aspirin</mark>' in page
    _run(lake, residue="allow")
    assert "and the configuration lets it pass" in _report(lake)


def test_a_sample_of_a_large_run(lake: Path) -> None:
    _run(lake)
    assert "<strong>1 of its 3 documents</strong>" in _report(lake, "--documents", "1")


def test_a_sink_without_deidentified_tables_is_an_error(lake: Path) -> None:
    loaded = pipeline(str(lake / "in"), str(lake / "out"))
    enrich_once(loaded, Quiet(), nullcontext(), hashing())
    result = CliRunner().invoke(app, ["report", str(lake / "out"), "--deidentified"])
    assert result.exit_code == 2
    assert "has no de-identified documents; add a `deidentify` section" in " ".join(
        result.output.split()
    )
