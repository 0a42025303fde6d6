"""The layout of a sink: what counts, what does not, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.lake.check import check_unique_ids
from pipelines.lake.layout import RunError, Sink, new_run_id
from pipelines.lake.plan import Plan
from pipelines.source.duplicates import DuplicateIdsError
from pipelines.source.units import Slice, Unit

UNITS = (
    Unit((Slice("file:///a", "v", "jsonl", 0, 2), Slice("file:///b", "v", "text", 0, 1))),
    Unit((Slice("file:///c", "v", "parquet", 5, 7),)),
)
PLAN = Plan('{"x": 1}', UNITS, pa.schema([("ward", pa.float64())]))


def _documents(*ids: str) -> pa.Table:
    return pa.table({"doc_id": list(ids)})


@pytest.fixture
def sink(tmp_path: Path) -> Sink:
    return Sink(str(tmp_path / "out"))


def test_a_plan_comes_back_as_it_was(sink: Sink) -> None:
    sink.begin("r1", PLAN)
    assert sink.plan("r1") == PLAN


def test_a_run_is_open_until_its_marker_stands(sink: Sink) -> None:
    sink.begin("r1", PLAN)
    assert (sink.open_runs(), sink.committed()) == (["r1"], [])
    with pytest.raises(RunError, match="no committed run"):
        sink.latest()
    with pytest.raises(RunError, match="r1 is not committed"):
        sink.marker("r1")
    sink.commit("r1", {"units": []})
    assert (sink.open_runs(), sink.committed(), sink.latest()) == ([], ["r1"], "r1")


def test_a_unit_is_done_when_its_documents_stand_and_writing_twice_is_once(sink: Sink) -> None:
    assert sink.done_units("r1") == set()
    for _ in range(2):
        sink.write_unit("r1", "u1", _documents("e"), _documents("d"))
    assert sink.done_units("r1") == {"u1"}
    (table,) = sink.tables("r1", "documents", ["u1"])
    assert table["doc_id"].to_pylist() == ["d"]


def test_a_temporary_file_is_nobodys_unit(sink: Sink, tmp_path: Path) -> None:
    sink.write_unit("r1", "u1", _documents("e"), _documents("d"))
    (tmp_path / "out/documents/run_id=r1/.u2.parquet.abcd").write_bytes(b"half")
    assert sink.done_units("r1") == {"u1"}


def test_discard_removes_an_open_run_and_refuses_a_committed_one(
    sink: Sink, tmp_path: Path
) -> None:
    sink.begin("r1", PLAN)
    sink.write_unit("r1", "u1", _documents("e"), _documents("d"))
    sink.discard("r1")
    assert not list((tmp_path / "out").rglob("*.parquet"))
    with pytest.raises(RunError, match="no run r1"):
        sink.discard("r1")
    sink.begin("r2", PLAN)
    sink.commit("r2", {})
    with pytest.raises(RunError, match="committed"):
        sink.discard("r2")


def test_an_unknown_run_is_named_with_the_known_ones(sink: Sink) -> None:
    sink.begin("r1", PLAN)
    with pytest.raises(RunError, match="no run r9; the latest: r1"):
        sink.plan("r9")


def test_ids_twice_in_a_run_are_found_across_units(sink: Sink) -> None:
    sink.write_unit("r1", "u1", _documents(), _documents("a", "b"))
    sink.write_unit("r1", "u2", _documents(), _documents("c", "b"))
    with pytest.raises(DuplicateIdsError, match="run r1: several documents have the id b"):
        check_unique_ids(sink, "r1", ["u1", "u2"])
    check_unique_ids(sink, "r1", ["u1"])


def test_run_ids_begin_with_a_letter_and_sort_by_time() -> None:
    assert new_run_id()[0] == "r"
    assert new_run_id() != new_run_id()
