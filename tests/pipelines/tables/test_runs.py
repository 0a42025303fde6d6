"""The listing of a sink's runs, and vacuum: it leaves all that a kept commit needs."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from support.lake import FAILING, Quiet, hashing, pipeline, rows_of, write_rows
from support.without_ray import _without_ray  # noqa: F401
from typer.testing import CliRunner

from actors.config.linking import LinkedVocabulary, Linking
from actors.config.load import STARTERS
from actors.linking import read_manifest
from pipelines.batch.run import begin_run, drive_run, write_plan
from pipelines.cli.app import app
from pipelines.cli.runs import runs_table
from pipelines.config import LoadedPipeline
from pipelines.enrich import decide
from pipelines.runs.lease import Lease
from pipelines.runs.maintenance import Waste, vacuum_sink
from pipelines.runs.store import RunStore
from pipelines.runs.tally import Tally
from pipelines.source.units import plan_source
from pipelines.stages import Stage
from pipelines.tables.diff import compare

pytestmark = pytest.mark.usefixtures("_without_ray")
LATER = datetime.now(UTC) + timedelta(days=30)


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedPipeline:
    write_rows(tmp_path / "in/a.jsonl", [f"a{i}" for i in range(20)])
    write_rows(tmp_path / "in/b.jsonl", [f"b{i}" for i in range(5)])
    return pipeline(str(tmp_path / "in"), str(tmp_path / "out"))


@pytest.fixture
def sink(loaded: LoadedPipeline) -> RunStore:
    return RunStore(loaded.pipeline.sink.path)


def _full(loaded: LoadedPipeline, sink: RunStore) -> str:
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    return drive_run(sink, run_id, Quiet(), hashing()).run_id


def _increment(loaded: LoadedPipeline, sink: RunStore) -> str:
    plan = decide(loaded).plan
    assert plan is not None
    return drive_run(sink, write_plan(loaded, plan), Quiet(), hashing()).run_id


def test_differences_are_listed_by_kind(
    loaded: LoadedPipeline, sink: RunStore, tmp_path: Path
) -> None:
    first = _full(loaded, sink)
    write_rows(tmp_path / "in/b.jsonl", ["b0", "b1", "b9"], extra=FAILING)
    second = _increment(loaded, sink)
    found = compare(sink.snapshot(first), sink.snapshot(second))
    assert found.documents == {"added": 1, "removed": 3, "text": 2, "status": 2, "entities": 0}
    assert found.examples["removed"] == ["b2", "b3", "b4"]
    assert found.units == 2
    same = compare(sink.snapshot(second), sink.snapshot(second))
    assert not any(same.documents.values())
    assert same.units == 0
    again = compare(sink.snapshot(second), sink.snapshot(_full(loaded, sink)))
    assert not any(again.documents.values())
    assert again.units > 0


def test_vacuum_leaves_what_young_versions_and_open_runs_need(
    loaded: LoadedPipeline, sink: RunStore, tmp_path: Path
) -> None:
    first = _full(loaded, sink)
    write_rows(tmp_path / "in/b.jsonl", ["b0", "b1", "b2", "b3", "b4", "b5"])
    second = _increment(loaded, sink)
    rows, before = rows_of(sink), rows_of(sink, first)
    week = timedelta(days=7)
    assert vacuum_sink(sink, week, remove=True) == Waste((), ())
    assert rows_of(sink, first) == before
    abandoned = begin_run(loaded, plan_source(loaded.pipeline.source))
    # It began after b.jsonl was replaced: what it could still need is younger than that.
    assert vacuum_sink(sink, timedelta(0), remove=False).open_runs == (abandoned,)
    with Lease(sink.folder, f"run-{abandoned}"):
        assert vacuum_sink(sink, timedelta(0), remove=True, now=LATER).open_runs == ()
        assert sink.open_runs() == [abandoned]
        assert rows_of(sink, first) == before
    waste = vacuum_sink(sink, week, remove=True, now=LATER)
    assert waste.open_runs == (abandoned,)
    assert waste.files
    assert rows_of(sink) == rows
    assert (sink.committed(), sink.open_runs()) == ([first, second], [])
    held = {Path(file) for file in sink.snapshot().files("documents")}
    assert held == {*(tmp_path / "out/documents").rglob("*.parquet")}
    assert vacuum_sink(sink, week, remove=True, now=LATER).files == ()
    write_rows(tmp_path / "in/c.jsonl", ["c0"])
    _increment(loaded, sink)
    assert len(rows_of(sink)) == 27


def test_vacuum_never_takes_the_files_of_a_run_that_has_just_begun(
    loaded: LoadedPipeline, sink: RunStore, tmp_path: Path
) -> None:
    """Which it may not have seen among the open ones."""
    _full(loaded, sink)
    replaced = set(sink.snapshot().files("documents"))
    _full(loaded, sink)
    young, old = (tmp_path / f"out/documents/{name}/u.0.parquet" for name in ("young", "old"))
    for path in (young, old):
        path.parent.mkdir()
        path.write_bytes(b"")
    os.utime(old, (0, 0))
    vacuum_sink(sink, timedelta(0), remove=True)
    assert young.exists()
    assert not old.exists()
    assert not any(Path(path).exists() for path in replaced)


def test_a_run_records_the_vocabularies_of_its_codes(loaded: LoadedPipeline) -> None:
    drugs = LinkedVocabulary(index=str(STARTERS / "drugs"), labels={"L0": ()})
    linking = Stage("linking", Linking(vocabularies=(drugs,)), None)
    linked = replace(loaded, stages=(*loaded.stages, linking))
    sink = RunStore(loaded.pipeline.sink.path)
    marker = sink.marker(_full(linked, sink))
    manifest = read_manifest(STARTERS / "drugs")
    said = {"name": manifest.name, "version": manifest.version, "digest": manifest.digest}
    assert marker["vocabularies"] == [said]
    assert sink.marker(_full(loaded, sink))["vocabularies"] == []


def test_the_commands(loaded: LoadedPipeline, sink: RunStore, tmp_path: Path) -> None:
    first = _full(loaded, sink)
    write_rows(tmp_path / "in/c.jsonl", ["c0"])
    second = _increment(loaded, sink)
    abandoned = begin_run(loaded, plan_source(loaded.pipeline.source))
    call = CliRunner().invoke

    def told(*words: str) -> object:
        result = call(app, ["runs", *words])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    rows = told("list", sink.path, "--json")
    assert isinstance(rows, list)
    assert [(r["run_id"], r.get("kind")) for r in rows] == [
        (first, "full"),
        (second, "increment"),
        (abandoned, None),
    ]
    shown = told("show", sink.path, second, "--json")
    assert told("show", sink.path, "latest", "--json") == shown
    assert isinstance(shown, dict)
    assert (shown["base"], shown["units"]) == (first, 1)
    assert shown["changes"] == {"new": 1, "changed": 0, "gone": 0, "unchanged": 2} | {
        "stale": 0,
        "failed": 0,
    }
    now = told("current", sink.path, "--json")
    assert isinstance(now, dict)
    assert len(now["documents"]) == 5
    difference = told("diff", sink.path, first, second, "--json")
    assert isinstance(difference, dict)
    assert difference["documents"]["added"] == 1
    assert call(app, ["runs", "diff", sink.path, first, second]).exit_code == 0
    assert call(app, ["runs", "discard", sink.path, abandoned]).exit_code == 0
    assert call(app, ["runs", "discard", sink.path, second]).exit_code == 2
    again = _full(loaded, sink)
    waste = told("vacuum", sink.path, "--older-than-days", "0", "--yes", "--json")
    assert isinstance(waste, dict)
    assert len([file for file in waste["files"] if file.startswith("documents/")]) == 5
    assert len(rows_of(sink)) == 26
    result = call(app, ["runs", "diff", sink.path, first, again])
    assert result.exit_code == 2
    assert "`medspan runs vacuum` removed them" in result.stderr


@pytest.mark.parametrize("names", [["notes"], ["notes", "a-pipeline-with-a-long-name-of-its-own"]])
def test_the_list_is_whole_on_80_columns(names: list[str]) -> None:
    rows: list[dict[str, object]] = [
        {
            "run_id": f"r20261129T12370{i}-ceacf2",
            "state": "committed",
            "pipeline": name,
            "kind": "increment",
            "documents": 40_123_456,
            "failed": 123_456,
            "entities": 812_345_678,
            "seconds": 123_456.7,
        }
        for i, name in enumerate(names)
    ]
    rows.append({"run_id": "r20261129T123709-ceacf2", "state": "open"})
    console = Console(width=80, record=True, file=StringIO())
    console.print(runs_table(rows))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= 80
    for row in rows:
        (line,) = (line for line in shown.splitlines() if line.startswith(str(row["run_id"])))
        if row["state"] == "committed":
            assert "40,123,456 123,456 812,345,678 123456.7" in " ".join(line.split())
    assert "notes" in shown


def test_the_time_of_a_resumed_run_is_its_own(loaded: LoadedPipeline, sink: RunStore) -> None:
    class Interrupt:
        def working(self, documents: float, steps: int) -> None:
            pass

        def update(self, tally: Tally, documents: int) -> None:
            if tally.total:
                raise KeyboardInterrupt

    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    with pytest.raises(KeyboardInterrupt):
        drive_run(sink, run_id, Interrupt(), hashing(seconds=0.2))
    timing = drive_run(sink, run_id, Quiet(), hashing()).marker["timing"]
    for stage in timing["stages"].values():
        assert stage["seconds"] <= timing["seconds"] * stage["workers"]


def test_a_run_is_shown_in_a_screen_with_its_failures_by_type(
    loaded: LoadedPipeline, sink: RunStore, tmp_path: Path
) -> None:
    first = _full(loaded, sink)
    write_rows(tmp_path / "in/b.jsonl", ["b0", "b1", "b2", "b3", "b9"], FAILING)
    second = _increment(loaded, sink)
    result = CliRunner().invoke(app, ["runs", "show", sink.path, "latest"])
    assert result.exit_code == 0, result.output
    failures = sink.marker(second)["counts"]["failures"]
    ((name, count),) = failures.items()
    assert f"documents failed: {count} {name}" in result.output
    assert f"{second}: pipeline" in result.output
    assert f"after {first}" in result.output
    assert len(result.output.splitlines()) < 40
    nothing = CliRunner().invoke(app, ["runs", "show", str(tmp_path / "none"), "latest"])
    assert nothing.exit_code == 2
    assert "has no committed run" in nothing.output
