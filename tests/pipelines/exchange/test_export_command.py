"""``medspan export`` over a sink of several runs, and ``medspan evaluate`` on what it wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.lake import store_rows
from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.runs.maintenance import compact_sink
from pipelines.runs.plan import RunPlan
from pipelines.runs.results import read_results
from pipelines.runs.store import RunStore


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """Two runs, of which the second wrote one document anew and added one."""
    store = RunStore(str(tmp_path / "out"))
    for run, units, replaced in (
        ("r1", {"u1": ["a", "b"], "u2": ["c"]}, ()),
        ("r2", {"u2": ["c", "d"]}, (("r1", "u2"),)),
    ):
        store.begin(run, RunPlan("{}", (), pa.schema([])))
        store_rows(store, run, units, *replaced)
    return store


def medspan(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == code, result.output
    return result.output


def ids(path: Path) -> list[str]:
    return sorted(json.loads(line)["id"] for line in path.read_text().splitlines())


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], ["a", "b", "c", "d"]),
        (["--run", "r2"], ["c", "d"]),
        (["--run", "r1"], ["a", "b", "c"]),
        (["--document", "a", "--document", "d"], ["a", "d"]),
    ],
)
def test_live_documents_or_those_of_a_run(
    store: RunStore, tmp_path: Path, options: list[str], found: list[str]
) -> None:
    out = tmp_path / "x.jsonl"
    said = medspan("export", store.path, "--to", "jsonl", "--out", str(out), *options)
    assert f"{len(found)} documents in" in said
    assert ids(out) == found


def test_a_compacted_sink_reads_the_same(store: RunStore) -> None:
    before = {one.doc_id: one for one in read_results(store.snapshot())}
    compact_sink(store, 128)
    after = list(read_results(store.snapshot()))
    assert {one.doc_id: one for one in after} == before
    assert all(len(one.entities) == 1 for one in after)
    assert {one.doc_id for one in read_results(store.snapshot(), "r2")} == {"c", "d"}


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--to", "omop", "--patient", "mrn"], "--patient mrn: the table documents has no such"),
        (["--to", "jsonl", "--status", "maybe"], "--status maybe: expected one of present"),
        (["--to", "fhir", "--resource", "Drug"], "--resource Drug: expected LABEL=TYPE"),
        (["--to", "brat", "--offsets", "bytes"], "--offsets bytes: brat counts code points"),
        (["--to", "conll", "--parquet"], "--parquet does not apply to conll, only to omop"),
        (["--to", "jsonl", "--run", "r9"], "the run r9 is not committed"),
    ],
)
def test_errors_have_advice(store: RunStore, tmp_path: Path, words: list[str], error: str) -> None:
    said = medspan("export", store.path, "--out", str(tmp_path / "x"), *words, code=2)
    assert error in said
    assert not (tmp_path / "x").exists()


def test_an_empty_sink_is_an_error(tmp_path: Path) -> None:
    words = ["export", str(tmp_path / "none"), "--to", "jsonl", "--out", str(tmp_path / "x")]
    assert "none has no table documents" in medspan(*words, code=2)


def test_a_file_of_section_concepts_is_checked(store: RunStore, tmp_path: Path) -> None:
    (concepts := tmp_path / "sections.csv").write_text("plan,42\nhistory,none\n")
    words: list[Any] = ["--to", "omop", "--section-concepts", str(concepts)]
    said = medspan("export", store.path, "--out", str(tmp_path / "x"), *words, code=2)
    assert "sections.csv, line 2: expected a section and a concept id" in said


def test_evaluate_sees_what_a_run_wrote_or_all_that_is_live(store: RunStore) -> None:
    from pipelines.cli.evaluate import _stored

    assert sorted(one.doc_id for one in _stored(store.path, "r2")) == ["c", "d"]
    assert sorted(one.doc_id for one in _stored(store.path, "live")) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("format_", ["jsonl", "conll", "brat", "docbin"])
def test_export_can_be_read_as_gold(store: RunStore, tmp_path: Path, format_: str) -> None:
    """A run against itself: every score is 1, whatever the format did to the text."""
    from pipelines.evaluate import Prediction, compare
    from pipelines.exchange.gold_formats import read_gold

    out = tmp_path / {"jsonl": "x.jsonl", "conll": "x.conll"}.get(format_, "x")
    medspan("export", store.path, "--to", format_, "--out", str(out))
    gold = read_gold(str(out)).documents
    assert sorted(gold) == ["a", "b", "c", "d"]
    results = read_results(store.snapshot())
    predictions = [Prediction(one.doc_id, one.text, one.entities) for one in results]
    comparison = compare(gold, predictions, resamples=0)
    assert comparison.scores.micro["strict"].f1 == 1
