"""Compaction: fewer files, the same rows, and everything goes on as before."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lake_fakes import FAILING, Quiet, hashing, pipeline, rows_of, write_rows
from typer.testing import CliRunner
from without_ray import _without_ray  # noqa: F401

from pipelines.batch import drive_run, write_plan
from pipelines.cli.app import app
from pipelines.config import LoadedPipeline
from pipelines.enrich import decide
from pipelines.enrich.compact import compact
from pipelines.lake.diff import compare
from pipelines.lake.layout import RunError, Sink
from pipelines.lake.lease import Lease, LeaseHeldError
from pipelines.lake.state import current
from pipelines.lake.vacuum import find_waste, remove

pytestmark = pytest.mark.usefixtures("_without_ray")
LATER = datetime.now(UTC) + timedelta(days=30)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A lake of 6 passes with 3 documents each, one of them failed, and a file without rows."""
    for number in range(6):
        ids = [f"{number}-{i}" for i in range(3)]
        write_rows(tmp_path / f"in/{number:02d}.jsonl", ids, FAILING if number == 4 else "")
        _pass(tmp_path)
    (tmp_path / "in/empty.jsonl").write_text("\n")
    _pass(tmp_path)
    return tmp_path


def _loaded(folder: Path, **more: object) -> LoadedPipeline:
    return pipeline(str(folder / "in"), str(folder / "out"), unit_rows=8, **more)  # type: ignore[arg-type]


def _pass(folder: Path, forgive: str = "", **more: object) -> int:
    """How many documents a pass looked at."""
    loaded = _loaded(folder, **more)
    decision = decide(loaded)
    if decision.plan is None:
        return 0
    run_id = write_plan(loaded, decision.plan)
    drive_run(Sink(loaded.pipeline.sink.path), run_id, Quiet(), hashing(forgive=forgive))
    return decision.documents


def test_small_units_become_whole_ones_with_the_same_rows(folder: Path) -> None:
    sink = Sink(str(folder / "out"))
    before, rows = sink.latest(), rows_of(sink)
    done = compact(sink)
    assert (done.before, done.after) == (6, 3)  # twice three are the most that fit into eight
    assert done.run_id == sink.latest()
    assert rows_of(sink) == rows
    difference = compare(sink, before, sink.latest())
    assert not any(difference.documents.values())
    assert all(old == new for old, new in difference.labels.values())
    facts = sink.marker(sink.latest())
    assert facts["kind"] == "compaction"
    assert facts["counts"]["documents"] == {"ok": 15, "failed": 3}
    assert facts["current"] == {"units": 3, "documents": 18, "failed": 3}
    assert sum(facts["counts"]["entities"].values()) == sum(len(row[2]) for row in rows.values())
    assert compact(sink).run_id is None


def test_enrichment_goes_on_from_it(folder: Path) -> None:
    sink = Sink(str(folder / "out"))
    compact(sink)
    assert _pass(folder) == 0
    write_rows(folder / "in/03.jsonl", ["3-0", "3-1", "3-9"])
    write_rows(folder / "in/99.jsonl", ["n"])
    _pass(folder)
    (folder / "in/05.jsonl").unlink()
    _pass(folder)
    ids = {f"{n}-{i}" for n in range(6) for i in range(3) if n != 5} - {"3-2"} | {"3-9", "n"}
    assert rows_of(sink).keys() == ids
    (folder / "forgive").write_text("")
    _pass(folder, str(folder / "forgive"), enrich={"failed": "retry"})
    assert {row[0] for row in rows_of(sink).values()} == {"ok"}


def test_what_it_replaced_can_be_vacuumed(folder: Path) -> None:
    sink = Sink(str(folder / "out"))
    rows = rows_of(sink)
    compact(sink)
    remove(sink, find_waste(sink, 1, timedelta(days=7), LATER))
    assert rows_of(sink) == rows
    files = {Path(file) for file in current(sink).files("documents")}
    assert files == {*(folder / "out/documents").rglob("*.parquet")}
    assert len(files) == 3


def test_units_of_different_models_stay_apart(folder: Path) -> None:
    other: dict[str, Any] = {"merge": {"overlaps": "longest"}}
    keep = {"on_model_change": "keep"}
    for number in range(20, 22):
        write_rows(folder / f"in/{number}.jsonl", [f"{number}"])
        _pass(folder, enrich=keep, **other)
    sink = Sink(str(folder / "out"))
    assert compact(sink).after == 4
    assert len({held.fingerprint for held in current(sink).units}) == 2
    # The one that was made with the pipeline as it is now is not stale, the others are.
    assert _pass(folder, **other) == 18


def test_it_keeps_out_of_the_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Sink(str(folder / "out"))
    with Lease(sink, "enrich-test"), pytest.raises(LeaseHeldError):
        compact(sink)
    answers = iter([sink.latest()] * 2)
    monkeypatch.setattr(sink, "latest", lambda: next(answers, "another"))
    with pytest.raises(RunError, match="another was committed meanwhile"):
        compact(sink)
    assert Sink(sink.path).open_runs() == []
    keep = {"deleted": "keep"}
    write_rows(folder / "in/50.jsonl", ["50"])
    _pass(folder, enrich=keep)
    assert compact(Sink(sink.path)).run_id is None  # no unit may mix files then


def test_one_that_was_killed_changes_nothing_and_can_be_resumed_or_done_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink(str(folder / "out"))
    rows, before = rows_of(sink), sink.latest()

    def die(run_id: str, marker: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sink, "commit", die)
    with pytest.raises(KeyboardInterrupt):
        compact(sink)
    sink = Sink(sink.path)
    assert sink.latest() == before
    (run_id,) = sink.open_runs()
    next(Path(sink.path).glob(f"documents/run_id={run_id}/*.parquet")).unlink()
    drive_run(sink, run_id, Quiet(), hashing())
    assert sink.latest() == run_id
    assert rows_of(sink) == rows
    assert compact(sink).run_id is None


def test_the_command(folder: Path) -> None:
    for expected in (3, 3):
        result = CliRunner().invoke(app, ["runs", "compact", str(folder / "out"), "--json"])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["after"] == expected
