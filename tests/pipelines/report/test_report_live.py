"""After several passes: the report and the scores of all live documents, or of one run's."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from support.enrich import Lake
from support.lake import store_rows
from support.without_ray import _without_ray  # noqa: F401

from pipelines.cli.evaluate import predictions_of, scored
from pipelines.cli.report import write_report
from pipelines.runs.plan import RunPlan
from pipelines.runs.results import read_results
from pipelines.runs.store import RunStore

pytestmark = pytest.mark.usefixtures("_without_ray")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Five documents of a first pass; of the second, three in a new file."""
    made = Lake(tmp_path)
    made.write("a", *(f"a{i}" for i in range(5)))
    made.enrich()
    made.write("b", *(f"b{i}" for i in range(3)))
    made.enrich()
    return made


def test_a_report_is_of_what_is_live_or_of_a_run(lake: Lake) -> None:
    first, second = lake.sink.committed()
    live = Path(write_report(lake.sink, None, limit=200)).read_text()
    assert "all 8 live documents, after this run" in live
    assert all(f"note {i}:" in live for i in ("a0", "a4", "b0", "b2"))
    one = Path(write_report(lake.sink, second, limit=200)).read_text()
    assert "the 3 documents that this run wrote, of 8 live ones" in one
    assert "note b0:" in one
    assert "note a0:" not in one
    # The counts of what is live are those of both runs, since nothing was replaced.
    counts = [lake.sink.marker(run)["counts"]["entities"] for run in (first, second)]
    for label in counts[0]:
        total = counts[0][label] + counts[1].get(label, 0)
        assert f'<span class="count">{total}</span>' in live


def test_scores_are_of_what_is_live_or_of_a_run(lake: Lake) -> None:
    loaded = lake.loaded()
    _, second = lake.sink.committed()
    live = {one.doc_id for one in predictions_of(loaded, {}, "live")}
    assert live == {f"a{i}" for i in range(5)} | {f"b{i}" for i in range(3)}
    for run in (second, "latest"):
        assert {one.doc_id for one in predictions_of(loaded, {}, run)} == {"b0", "b1", "b2"}
        assert scored(loaded, run) == f"the 3 documents that run {second} wrote"
    assert scored(loaded, "live") == f"the 8 live documents after run {second}"


def test_documents_that_a_run_replaced_are_not_counted_twice(lake: Lake) -> None:
    lake.write("b", "b0", "b9", extra="with more ")
    lake.enrich()
    live = Path(write_report(lake.sink, None, limit=200)).read_text()
    assert "all 7 live documents" in live
    assert "note b1:" not in live
    assert json.dumps("b9")[1:-1] in live


def test_of_a_long_document_a_report_shows_the_beginning(lake: Lake) -> None:
    lake.write("c", "c0", extra="word " * 50_000 + "penultimate ")
    lake.enrich()
    live = Path(write_report(lake.sink, None, limit=200)).read_text()
    assert "report: the first 200,000 of 250,0" in live
    assert "note c0:" in live
    assert "penultimate" not in live


def test_results_of_the_beginning_have_what_is_in_it(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "out"))
    store.begin("r1", RunPlan("{}", (), pa.schema([])))
    places = [(0, 4), (40, 44), (5, 9), (None, None), (8, 14)]
    entities = [
        {"doc_id": "a", "ordinal": i, "label": "L", "start": start, "end": end}
        | {"text": "x" if start is None or end is None else "x" * (end - start)}
        | {"grounding": "exact" if end else "ungrounded", "model": "m", "source": "file:///u"}
        for i, (start, end) in enumerate(places)
    ]
    relations = [
        {"doc_id": "a", "head": head, "tail": tail, "type": "t", "source": "file:///u"}
        for head, tail in [(0, 1), (2, 0), (4, 2), (2, 3)]
    ]
    sections = [
        {"name": "one", "start": 0, "end": 6, "heading_end": 2, "loinc": None},
        {"name": "two", "start": 6, "end": 50, "heading_end": 20, "loinc": None},
        {"name": "three", "start": 50, "end": 60, "heading_end": 52, "loinc": None},
    ]
    given: dict[str, list[dict[str, object]]] = {
        "documents": [{"text": "0123456789" * 6, "sections": sections}],
        "entities": entities,
        "relations": relations,
    }
    store_rows(store, "r1", {"u": ["a"]}, given=given)
    (whole,) = read_results(store.snapshot(), most_characters=60)
    assert (len(whole.entities), len(whole.relations), whole.characters) == (5, 4, 60)
    (cut,) = read_results(store.snapshot(), most_characters=10)
    assert (cut.text, cut.characters) == ("0123456789", 60)
    assert [entity.start for entity in cut.entities] == [0, 5, None]
    assert [(one.head, one.tail) for one in cut.relations] == [(1, 0), (1, 2)]
    assert [(s.start, s.end, s.heading_end) for s in cut.sections] == [(0, 6, 2), (6, 10, 10)]
