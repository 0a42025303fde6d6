"""Enrichment: what is new, changed, gone, stale or failed, and not a document more."""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from support.enrich import Counting, Lake, counting
from support.lake import FAILING, Quiet, hashing, pipeline, rows_of, write_rows
from support.without_ray import _without_ray  # noqa: F401
from typer.testing import CliRunner

from actors.config import ConfigError
from pipelines.batch.run import RunFailedError, begin_run, drive_run, write_plan
from pipelines.cli.app import app
from pipelines.enrich import Pass, decide, decide_retry, enrich_once
from pipelines.runs.lease import Lease, LeaseHeldError
from pipelines.runs.store import RunStore
from pipelines.source.duplicates import DuplicateIdsError
from pipelines.source.units import plan_source
from pipelines.tables.folder import RunError

pytestmark = pytest.mark.usefixtures("_without_ray")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path)
    for name in "abc":
        made.write(name, *(f"{name}{i}" for i in range(5)))
    return made


def test_the_first_pass_does_all_and_the_second_nothing(lake: Lake) -> None:
    assert lake.enrich()[1] == 15
    done, seen = lake.enrich()
    assert (done.outcome, seen) == (None, 0)
    assert len(rows_of(lake.sink)) == 15
    assert len(lake.sink.committed()) == 1


def test_new_and_changed_files_and_of_these_the_changed_rows(lake: Lake) -> None:
    lake.enrich()
    before = rows_of(lake.sink)
    lake.write("d", "d0", "d1")
    lake.write("b", "b0", "b1", "b2", "b9")  # two rows are gone, one is new
    done, seen = lake.enrich()
    assert seen == 3  # d0, d1, b9
    assert done.changes["new"] == 1
    assert done.changes["changed"] == 1
    rows = rows_of(lake.sink)
    assert rows.keys() == before.keys() - {"b3", "b4"} | {"d0", "d1", "b9"}
    assert all(rows[i] == before[i] for i in rows.keys() & before.keys())
    lake.write("b", "b0", "b1", extra="now with an addition ")
    assert lake.enrich()[1] == 2
    assert rows_of(lake.sink)["b0"] != before["b0"]


def test_inserted_rows_shift_derived_ids_and_all_is_right_again(lake: Lake) -> None:
    lake.enrich(ids=False)
    lake.write("a", "x", *(f"a{i}" for i in range(5)))
    lake.enrich(ids=False)
    rows = rows_of(lake.sink)
    other = Lake(lake.source.parent / "other")
    other.source = lake.source
    other.enrich(ids=False)
    assert rows == rows_of(other.sink)


def test_results_of_deleted_files_are_dropped_or_kept_as_configured(lake: Lake) -> None:
    lake.enrich(enrich={"deleted": "keep"})
    (lake.source / "b.jsonl").unlink()
    assert lake.enrich(enrich={"deleted": "keep"})[0].outcome is None
    lake.write("a", "a0")
    lake.enrich(enrich={"deleted": "keep"})
    assert {i[0] for i in rows_of(lake.sink)} == {"a", "b", "c"}
    assert lake.enrich()[0].changes["gone"] == 1
    assert {i[0] for i in rows_of(lake.sink)} == {"a", "c"}


def test_a_lake_that_vanishes_is_refused(lake: Lake) -> None:
    for i in range(25):
        lake.write(f"n{i}", f"n{i}")
    lake.enrich()
    for i in range(25):
        (lake.source / f"n{i}.jsonl").unlink()
    with pytest.raises(ConfigError, match="25 of 28 files are gone"):
        lake.enrich()
    assert lake.enrich(enrich={"max_deleted_share": 0.9})[0].changes["gone"] == 25


def test_ids_may_be_unique_within_a_run_only(lake: Lake) -> None:
    lake.enrich()
    lake.write("z", "z0", "b3")
    with pytest.raises(DuplicateIdsError):
        lake.enrich(on_duplicate="error")
    assert lake.enrich(on_duplicate="error", enrich={"unique_ids": "run"})[1] == 2


def test_a_new_model_does_all_again_or_only_what_is_new(lake: Lake) -> None:
    lake.enrich()
    other = {"merge": {"overlaps": "longest"}}
    lake.write("d", "d0")
    done, seen = lake.enrich(enrich={"on_model_change": "keep"}, **other)
    assert (seen, done.changes["stale"]) == (1, 0)
    assert lake.enrich(enrich={"on_model_change": "keep"}, **other)[1] == 0
    # What d0 was done with is what all the rest is brought up to.
    assert lake.enrich(**other)[1] == 15
    assert lake.enrich(**other)[1] == 0
    assert len(rows_of(lake.sink)) == 16


def test_failed_ones_by_policy_and_by_run(lake: Lake) -> None:
    lake.write("f", "f0", "f1", extra=FAILING)
    lake.write("g", "g0")
    done, _ = lake.enrich()
    assert done.outcome is not None
    assert lake.enrich()[1] == 0
    lake.forgive.write_text("")
    loaded = lake.loaded()
    plan = decide_retry(loaded, done.outcome.run_id)
    before = Counting.seen
    drive_run(lake.sink, write_plan(loaded, plan), Quiet(), counting(str(lake.forgive)))
    assert Counting.seen - before == 2
    rows = rows_of(lake.sink)
    assert len(rows) == 18
    assert {row[0] for row in rows.values()} == {"ok"}
    with pytest.raises(RunError, match="has no failed documents left"):
        decide_retry(loaded, done.outcome.run_id)
    lake.forgive.unlink()
    lake.write("h", "h0", extra=FAILING)
    lake.enrich()
    lake.forgive.write_text("")
    assert lake.enrich(enrich={"failed": "retry"})[1] == 1
    assert lake.enrich(enrich={"failed": "retry"})[0].outcome is None


def test_a_retry_leaves_changed_files_to_enrichment(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "fg":  # in files too large to share a unit
        lake.write(name, *(f"{name}{i}" for i in range(7)), extra=FAILING)
    done, _ = lake.enrich()
    assert done.outcome is not None
    lake.write("f", "f0", extra=FAILING)
    (unit,) = decide_retry(lake.loaded(), done.outcome.run_id).units
    assert unit.slices[0].uri.endswith("g.jsonl")
    assert "1 of 2 units" in caplog.text
    (lake.source / "g.jsonl").unlink()
    with pytest.raises(RunError, match="2 of 2 units with failed documents"):
        decide_retry(lake.loaded(), done.outcome.run_id)
    lake.enrich()
    with pytest.raises(RunError, match=f"runs with failed documents: {lake.sink.latest()}"):
        decide_retry(lake.loaded(), done.outcome.run_id)


@pytest.mark.parametrize(("policy", "failed"), [("fail_row", 1), ("keep_first", 0)])
def test_an_id_that_a_live_document_has_is_found_before_any_model_runs(
    lake: Lake, policy: str, failed: int
) -> None:
    more = {"on_duplicate": policy}
    lake.enrich(**more)
    lake.write("0", "z0", "b3")  # listed before the file that has b3
    done, seen = lake.enrich(**more)
    assert seen == 1  # z0 alone
    assert done.outcome is not None
    assert dict(done.outcome.tally.failures) == ({"DuplicateId": 1} if failed else {})
    assert rows_of(lake.sink).keys() >= {"z0", "b3"}
    assert len(rows_of(lake.sink)) == 16 + failed
    assert lake.enrich(**more) == (Pass(ANY), 0)


def test_a_taken_id_is_an_error_by_choice_and_blocks_no_file_without_it(lake: Lake) -> None:
    more = {"on_duplicate": "error"}
    lake.enrich(**more)
    lake.write("z", "z0", "b3")
    with pytest.raises(DuplicateIdsError, match=r"1 row has the id .*z\.jsonl"):
        lake.enrich(**more)
    assert len(rows_of(lake.sink)) == 15
    lake.write("z", "z0")
    assert lake.enrich(**more)[1] == 1


def test_of_a_changed_and_a_new_file_the_changed_one_keeps_its_ids(lake: Lake) -> None:
    lake.enrich()
    lake.write("b", "b0", "b1", "b2", "b3", extra="corrected ")
    lake.write("0", "b3")
    assert lake.enrich()[1] == 4
    sources = {
        row["doc_id"]: row["source"].rpartition("/")[2]
        for table in lake.sink.snapshot().tables("documents", ["doc_id", "source"])
        for row in table.to_pylist()
    }
    assert sources["b3"] == "b.jsonl"


def test_a_file_that_moves_keeps_its_results(lake: Lake) -> None:
    lake.enrich()
    before = rows_of(lake.sink)
    (lake.source / "b.jsonl").rename(lake.source / "moved.jsonl")
    done, seen = lake.enrich()
    assert (seen, done.changes["new"], done.changes["gone"]) == (0, 1, 1)
    assert rows_of(lake.sink) == before
    sources = [
        t["source"].to_pylist() for t in lake.sink.snapshot().tables("documents", ["source"])
    ]
    assert sum(source.endswith("moved.jsonl") for unit in sources for source in unit) == 5
    # Nothing is carried over from other models.
    (lake.source / "moved.jsonl").rename(lake.source / "again.jsonl")
    other = {"merge": {"overlaps": "longest"}, "enrich": {"on_model_change": "keep"}}
    assert lake.enrich(**other)[1] == 5


def test_rows_that_move_between_files(lake: Lake) -> None:
    lake.enrich()
    before = rows_of(lake.sink)
    lake.write("a", *(f"a{i}" for i in range(4)))
    lake.write("b", *(f"b{i}" for i in range(5)), "a4")
    lake.enrich()
    assert rows_of(lake.sink) == before


@pytest.mark.parametrize("policy", ["fail_row", "keep_first"])
def test_an_id_is_free_once_its_file_is_gone_or_has_it_no_longer(lake: Lake, policy: str) -> None:
    more = {"on_duplicate": policy}
    lake.enrich(**more)
    lake.write("z", "z0", "b3")
    lake.enrich(**more)
    lake.write("b", "b0", "b1", "b2", "b4")
    assert lake.enrich(**more)[1] == 0  # b3 is that of z now, with the results it had
    assert len(rows_of(lake.sink)) == 16
    lake.write("y", "y0", "c0")
    (lake.source / "c.jsonl").unlink()
    lake.enrich(**more)
    assert len(rows_of(lake.sink)) == 13
    assert rows_of(lake.sink).keys() >= {"b3", "c0"}


def test_kept_results_of_a_moved_file_are_replaced(lake: Lake) -> None:
    keep = {"deleted": "keep"}
    lake.enrich(enrich=keep)
    (lake.source / "b.jsonl").unlink()
    lake.write("z", "b1", "b3", "z0", extra="corrected ")
    assert lake.enrich(enrich=keep)[1] == 3
    rows = rows_of(lake.sink)
    assert rows.keys() == {f"{name}{i}" for name in "abc" for i in range(5)} | {"z0"}
    assert rows["b1"] != rows["b2"]
    assert sum(one.documents for one in lake.sink.snapshot().units) == 16
    # The corrected rows follow their file from now on, the others stay.
    lake.write("z", "z0")
    lake.enrich(enrich=keep)
    assert rows_of(lake.sink).keys() == rows.keys() - {"b1", "b3"}
    lake.write("x", "a0")
    assert lake.enrich(enrich=keep)[1] == 0
    assert rows_of(lake.sink)["a0"] == rows["a0"]


def test_rows_of_older_models_stay_stale(lake: Lake) -> None:
    """A changed file's unit holds unchanged rows of the old model: a pass that does all again
    must find them."""
    lake.enrich()
    other = {"merge": {"overlaps": "longest"}}
    lake.write("a", "a0", "a1", "a9")
    assert lake.enrich(enrich={"on_model_change": "keep"}, **other)[1] == 1
    assert lake.enrich(**other)[1] == 13
    assert lake.enrich(**other)[1] == 0


def test_a_pass_that_was_cut_short_is_gone_on_with(lake: Lake) -> None:
    lake.enrich()
    for i in range(3):
        lake.write(f"n{i}", *(f"n{i}-{j}" for j in range(8)))

    class Enough(Exception):
        pass

    class Stop:
        def working(self, documents: float, steps: int) -> None:
            pass

        def update(self, tally: object, documents: int) -> None:
            if getattr(tally, "total") >= 8:  # noqa: B009
                raise Enough

    with pytest.raises(RunFailedError):
        enrich_once(lake.loaded(), Stop(), nullcontext(), counting(""))
    (run_id,) = lake.sink.open_runs()
    done, _ = lake.enrich()
    assert done.outcome is not None
    assert done.outcome.run_id == run_id
    assert len(rows_of(lake.sink)) == 39


def test_a_pass_that_was_cut_short_is_gone_on_with_though_a_file_has_arrived(lake: Lake) -> None:
    lake.enrich()
    for i in range(3):
        lake.write(f"n{i}", *(f"n{i}-{j}" for j in range(8)))

    class Dies:
        def working(self, documents: float, steps: int) -> None:
            pass

        def update(self, tally: object, documents: int) -> None:
            if getattr(tally, "total") >= 16:  # noqa: B009
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        enrich_once(lake.loaded(), Dies(), nullcontext(), counting(""))
    (run_id,) = lake.sink.open_runs()
    lake.write("z", *(f"z{j}" for j in range(8)))
    done, seen = lake.enrich()
    assert done.outcome is not None
    assert (done.outcome.run_id, seen) == (run_id, 8 + 8)
    assert len(rows_of(lake.sink)) == 15 + 24 + 8
    assert lake.sink.open_runs() == []


def test_a_run_that_was_committed_meanwhile_is_not_hidden(lake: Lake) -> None:
    lake.enrich()
    lake.write("d", "d0")
    loaded = lake.loaded()
    plan = decide(loaded).plan
    assert plan is not None
    late = write_plan(loaded, plan)
    full = begin_run(loaded, plan_source(loaded.pipeline.source))
    drive_run(lake.sink, full, Quiet(), hashing())
    with pytest.raises(RunFailedError, match="was committed while"):
        drive_run(lake.sink, late, Quiet(), hashing())
    assert lake.sink.latest() == full


def test_a_full_run_keeps_what_was_committed_while_it_worked(lake: Lake) -> None:
    lake.enrich()
    loaded = lake.loaded()
    full = begin_run(loaded, plan_source(loaded.pipeline.source))
    lake.write("d", "d0", "d1")
    lake.enrich()
    drive_run(lake.sink, full, Quiet(), hashing())
    assert rows_of(lake.sink).keys() == {f"{n}{i}" for n in "abc" for i in range(5)} | {"d0", "d1"}
    assert lake.enrich()[0].outcome is None
    another = begin_run(loaded, plan_source(loaded.pipeline.source))
    lake.write("d", "d9")
    os.utime(lake.source / "d.jsonl", ns=(1, 1))
    lake.enrich()
    with pytest.raises(RunFailedError, match=r"was changed after|both cover 1 files"):
        drive_run(lake.sink, another, Quiet(), hashing())
    assert "d9" in rows_of(lake.sink)


def test_two_runs_over_different_files_both_count(lake: Lake) -> None:
    first, second = Lake(lake.source.parent / "x"), Lake(lake.source.parent / "y")
    runs = []
    for one, ids in ((first, ("x0", "x1")), (second, ("y0",))):
        one.sink = lake.sink
        one.write("f", *ids)
        loaded = one.loaded()
        runs.append(begin_run(loaded, plan_source(loaded.pipeline.source)))
    for run_id in runs:
        drive_run(lake.sink, run_id, Quiet(), hashing())
    assert rows_of(lake.sink).keys() == {"x0", "x1", "y0"}
    assert lake.sink.committed() == runs


def test_more_kept_columns_later_are_null_in_older_rows(lake: Lake) -> None:
    lake.enrich()
    (lake.source / "w.jsonl").write_text('{"id": "w0", "text": "aspirin metformin", "ward": "7"}')
    loaded = lake.loaded()
    source = loaded.pipeline.source.model_copy(update={"extra_columns": ("ward",)})
    sink = loaded.pipeline.sink.model_copy(update={"entity_columns": ("ward",)})
    update = {"source": source, "sink": sink}
    loaded = replace(loaded, pipeline=loaded.pipeline.model_copy(update=update))
    enrich_once(loaded, Quiet(), nullcontext(), hashing())
    documents = DeltaTable(f"{lake.sink.path}/documents").to_pyarrow_table().to_pylist()
    assert {row["doc_id"]: row["ward"] for row in documents}["w0"] == "7"
    assert [row["ward"] for row in documents].count(None) == 15
    entities = DeltaTable(f"{lake.sink.path}/entities").to_pyarrow_table().to_pylist()
    assert {row["ward"] for row in entities if row["doc_id"] == "w0"} == {"7"}
    assert {row["ward"] for row in entities if row["doc_id"] != "w0"} == {None}


def test_plain_parquet_is_one_full_run(lake: Lake) -> None:
    plain = {"path": lake.sink.path, "format": "parquet"}
    loaded = lake.loaded()
    sink = loaded.pipeline.sink.model_copy(update=plain)
    loaded = replace(loaded, pipeline=loaded.pipeline.model_copy(update={"sink": sink}))
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    stray = Path(lake.sink.path) / "documents" / run_id / "0123.feed.parquet"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"of an attempt that no commit takes")
    outcome = drive_run(lake.sink, run_id, Quiet(), hashing())
    rows = pl.read_parquet(f"{lake.sink.path}/documents/*/*.parquet")
    assert sorted(rows["doc_id"]) == sorted(f"{name}{i}" for name in "abc" for i in range(5))
    assert outcome.marker["current"]["documents"] == 15
    assert json.loads((Path(lake.sink.path) / "run.json").read_text())["run_id"] == run_id
    assert not [*Path(lake.sink.path).rglob("_delta_log")]
    with pytest.raises(RunError, match="keeps one"):
        begin_run(loaded, plan_source(loaded.pipeline.source))
    with pytest.raises(ConfigError, match="medspan enrich` needs delta"):
        decide(loaded)
    with pytest.raises(RunError, match="has plain Parquet files"):
        lake.enrich()


def test_removed_rows_are_in_the_change_feed(lake: Lake) -> None:
    lake.enrich()
    table = DeltaTable(f"{lake.sink.path}/documents")
    table.alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    since = table.version() + 1
    lake.write("b", "b0", "b1", "b2")
    lake.enrich()
    table = DeltaTable(f"{lake.sink.path}/documents")
    changes = pa.table(table.load_cdf(since, columns=["doc_id", "_change_type"])).to_pylist()
    net = Counter[str]()
    for row in changes:
        net[row["doc_id"]] += {"insert": 1, "delete": -1}[row["_change_type"]]
    assert {id_: count for id_, count in net.items() if count} == {"b3": -1, "b4": -1}


def test_a_run_is_undone_by_restoring_the_versions_before_it(lake: Lake) -> None:
    lake.enrich()
    before = rows_of(lake.sink)
    (facts, *_) = DeltaTable(f"{lake.sink.path}/units").history(1)
    versions = {"units": facts["version"]} | {
        name: int(facts[f"medspan.{name}"]) for name in ("documents", "entities", "relations")
    }
    lake.write("b", "b0", "b8")
    lake.enrich()
    assert rows_of(lake.sink) != before
    for name, version in versions.items():
        table = DeltaTable(f"{lake.sink.path}/{name}")
        if table.version() > version:
            table.restore(version)
    assert rows_of(lake.sink) == before
    assert len(lake.sink.committed()) == 1
    lake.enrich()  # which finds the change again
    assert "b8" in rows_of(lake.sink)


def test_a_file_that_changes_under_a_run_fails_alone_and_the_next_pass_reads_it(lake: Lake) -> None:
    loaded = lake.loaded()
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    write_rows(lake.source / "a.jsonl", ["a0", "a1", "a2", "a3", "a4", "a5"])
    outcome = drive_run(lake.sink, run_id, Quiet(), hashing())
    assert outcome.tally.failures == {"BadFile": 1}
    lake.enrich()
    assert {"a0", "a5"} <= rows_of(lake.sink).keys()
    assert not any(id_.startswith("file:") for id_ in rows_of(lake.sink))


def test_two_passes_at_a_time_are_refused(lake: Lake) -> None:
    with Lease(lake.sink.folder, "enrich-test"), pytest.raises(LeaseHeldError):
        lake.enrich()


def test_files_without_rows_are_known(lake: Lake) -> None:
    lake.enrich()
    (lake.source / "empty.jsonl").write_text("\n")
    assert lake.enrich()[0].changes["new"] == 1
    assert lake.enrich()[0].outcome is None
    lake.write("d", "d0")
    lake.enrich()
    assert lake.enrich()[0].outcome is None


def test_the_marker_counts_the_snapshot_and_the_source(tmp_path: Path) -> None:
    table = pa.table({"id": [f"d{i}" for i in range(3000)], "text": ["x"] * 3000})
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in/a.parquet")
    (tmp_path / "in/note.odt").write_bytes(b"x")
    loaded = pipeline(str(tmp_path / "in"), str(tmp_path / "out"), unit_rows=100)
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    outcome = drive_run(RunStore(loaded.pipeline.sink.path), run_id, Quiet(), hashing())
    assert outcome.marker["current"] == {"units": 30, "documents": 3000, "failed": 0}
    assert outcome.marker["source"]["files"] == 1
    assert outcome.marker["source"]["passed_over"] == {".odt": 1}


def test_a_dry_run_shows_the_plan_of_a_retry_and_of_a_pass(lake: Lake, tmp_path: Path) -> None:
    lake.write("f", "f0", "f1", extra=FAILING)
    lake.enrich()
    config = {
        "name": "test",
        "source": {"path": str(lake.source), "id": "id"},
        "steps": [{"model": "starter:token-classifier"}],
        "sink": {"path": lake.sink.path},
    }
    (path := tmp_path / "p.yaml").write_text(json.dumps(config))
    call = CliRunner().invoke
    found = call(app, ["run", str(path), "--retry-failed", "latest", "--dry-run"])
    assert found.exit_code == 0, found.output
    assert "2 failed documents of latest" in found.output
    as_json = call(app, ["run", str(path), "--retry-failed", "latest", "--dry-run", "--json"])
    assert json.loads(as_json.stdout)["retried"] == 2
    assert call(app, ["run", str(path), "--retry-failed", "r9", "--dry-run"]).exit_code == 2
    found = call(app, ["enrich", str(path), "--dry-run", "--on-model-change", "keep"])
    assert "0 documents to read; files: 4 unchanged" in found.output
    lake.write("a", "a0", "a1")
    found = call(app, ["enrich", str(path), "--dry-run", "--on-model-change", "keep"])
    assert "files: 1 changed, 3 unchanged" in found.output
    assert "keep their results" in found.output
