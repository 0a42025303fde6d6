"""After several passes: the report and the scores of all live documents, or of one run's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.enrich import Lake
from support.without_ray import _without_ray  # noqa: F401

from pipelines.cli.evaluate import predictions_of, scored
from pipelines.cli.report import write_report

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
    live = {one.doc_id for one in predictions_of(loaded, {}, "latest")}
    assert live == {f"a{i}" for i in range(5)} | {f"b{i}" for i in range(3)}
    assert {one.doc_id for one in predictions_of(loaded, {}, second)} == {"b0", "b1", "b2"}
    assert scored(loaded, "latest") == f"the 8 live documents after run {second}"
    assert scored(loaded, second) == f"the 3 documents that run {second} wrote"


def test_documents_that_a_run_replaced_are_not_counted_twice(lake: Lake) -> None:
    lake.write("b", "b0", "b9", extra="with more ")
    lake.enrich()
    live = Path(write_report(lake.sink, None, limit=200)).read_text()
    assert "all 7 live documents" in live
    assert "note b1:" not in live
    assert json.dumps("b9")[1:-1] in live
