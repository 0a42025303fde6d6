"""``medspan export`` and ``medspan sample`` of de-identified documents."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from pathlib import Path

import pytest
from support.deidentify import SECRET
from support.lake import Quiet, hashing, pipeline
from support.without_ray import without_ray
from typer.testing import CliRunner, Result

from pipelines.cli.app import app
from pipelines.deidentification import KEY
from pipelines.enrich import enrich_once
from pipelines.exchange.formats import ExportFormat

TEXT = "Patient: Jonathan {last}, MRN 998{n}. Seen on 2024-03-05. aspirin 100 mg, metformin"
SECRETS = ("Jonathan", "Doe", "Miller", "9980", "9981", "2024-03-05", "notes.jsonl", "d0", "d1")


@pytest.fixture(scope="module")
def sink(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("lake")
    (folder / "in").mkdir()
    rows = [
        {"id": f"d{n}", "pid": n, "text": TEXT.format(last=last, n=n)}
        for n, last in enumerate(("Doe", "Miller"))
    ]
    (folder / "in/notes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch.setattr)
        patch.setenv(KEY, SECRET.decode())
        section = {"policies": {"NAME": "surrogate", "DATE": "shift"}, "patient_column": "pid"}
        loaded = pipeline(
            str(folder / "in"),
            str(folder / "out"),
            columns=("pid",),
            deidentify=section,
            context={},
        )
        enrich_once(loaded, Quiet(), nullcontext(), hashing())
    return str(folder / "out")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


def _content(path: Path) -> bytes:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    names = " ".join(str(file.relative_to(path.parent)) for file in files)
    return b"\n".join([names.encode(), *(file.read_bytes() for file in files)])


@pytest.mark.parametrize("format_", list(ExportFormat))
def test_every_format_has_the_new_texts_and_nothing_of_the_old(
    sink: str, tmp_path: Path, format_: ExportFormat
) -> None:
    if format_ is ExportFormat.DOCBIN:
        pytest.importorskip("spacy")
    out = tmp_path / "exported"
    done = run("export", sink, "--to", format_, "--out", str(out), "--deidentified")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("2 documents")
    content = _content(out)
    for secret in SECRETS:
        assert not re.search(rf"(?<![0-9a-f]){secret}(?![0-9a-f])".encode(), content), secret


def test_offsets_are_those_of_the_new_text(sink: str, tmp_path: Path) -> None:
    out = tmp_path / "new.jsonl"
    run("export", sink, "--to", "jsonl", "--out", str(out), "--deidentified")
    for line in out.read_text().splitlines():
        document = json.loads(line)
        assert "aspirin 100 mg" in document["text"]
        assert document["entities"]
        for entity in document["entities"]:
            assert document["text"][entity["start"] : entity["end"]] == entity["text"]


def test_a_sample_and_its_patients(sink: str, tmp_path: Path) -> None:
    out = tmp_path / "tasks"
    done = run(
        "sample", sink, "--out", str(out), "--n", "2", "--patient", "patient", "--deidentified"
    )
    assert done.exit_code == 0, done.output
    content = _content(out)
    assert b"aspirin 100 mg" in content
    assert b"Jonathan" not in content
    refused = run("sample", sink, "--out", "x", "--patient", "pid", "--deidentified")
    assert "--patient pid: the table deidentified/documents has no such column" in refused.output
    assert "deidentify.extra_columns" in refused.output


def test_a_sink_without_deidentified_tables_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/notes.jsonl").write_text(json.dumps({"id": "a", "text": "aspirin"}))
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch.setattr)
        plain = pipeline(str(tmp_path / "in"), str(tmp_path / "out"))
        enrich_once(plain, Quiet(), nullcontext(), hashing())
    done = run("export", str(tmp_path / "out"), "--to", "jsonl", "--out", "x", "--deidentified")
    assert done.exit_code == 2
    assert "no de-identified documents" in done.output
