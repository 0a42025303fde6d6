"""Compaction: fewer files, the same rows, and everything goes on as before."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from support.lake import FAILING, Quiet, hashing, pipeline, rows_of, write_rows
from support.without_ray import _without_ray  # noqa: F401
from typer.testing import CliRunner

from pipelines.batch.run import drive_run, write_plan
from pipelines.cli.app import app
from pipelines.config import LoadedPipeline
from pipelines.enrich import decide
from pipelines.runs.maintenance import compact_sink, vacuum_sink
from pipelines.runs.store import RunStore
from pipelines.tables.delta_table import ConflictError, TableVersion
from pipelines.tables.diff import compare
from pipelines.tables.folder import RunError

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
    """Run a pass; return the number of documents that it processed."""
    loaded = _loaded(folder, **more)
    decision = decide(loaded)
    if decision.plan is None:
        return 0
    run_id = write_plan(loaded, decision.plan)
    drive_run(RunStore(loaded.pipeline.sink.path), run_id, Quiet(), hashing(forgive=forgive))
    return decision.documents


def test_small_files_become_one_with_the_same_rows_and_units(folder: Path) -> None:
    store = RunStore(str(folder / "out"))
    before, rows, units = store.snapshot(), rows_of(store), store.snapshot().units
    for name in ("documents", "entities"):  # told by the log alone: nothing is opened to look
        assert {f.key for f in before.table(name).files()} <= {one.key for one in units}
    done = compact_sink(store)
    assert done.before["documents"] == 6
    assert done.before["entities"] == 5  # nothing was found in the unit that failed
    assert (done.after["documents"], done.after["entities"], done.after["units"]) == (1, 1, 1)
    assert rows_of(store) == rows
    assert store.snapshot().units == units
    assert store.latest() == before.run_id
    assert rows_of(store, before.ledger.runs[0]) == {i: rows[i] for i in rows if i[0] == "0"}
    difference = compare(before, store.snapshot())
    assert not any(difference.documents.values())
    again = compact_sink(store)
    assert again.before == again.after == done.after


def test_enrichment_goes_on_from_it(folder: Path) -> None:
    store = RunStore(str(folder / "out"))
    compact_sink(store)
    assert _pass(folder) == 0
    write_rows(folder / "in/03.jsonl", ["3-0", "3-1", "3-9"])
    write_rows(folder / "in/99.jsonl", ["n"])
    _pass(folder)
    (folder / "in/05.jsonl").unlink()
    _pass(folder)
    ids = {f"{n}-{i}" for n in range(6) for i in range(3) if n != 5} - {"3-2"} | {"3-9", "n"}
    assert rows_of(store).keys() == ids
    (folder / "forgive").write_text("")
    _pass(folder, str(folder / "forgive"), enrich={"failed": "retry"})
    assert {row[0] for row in rows_of(store).values()} == {"ok"}


def test_documents_that_move_leave_a_joined_file(folder: Path) -> None:
    keep = {"deleted": "keep"}
    store = RunStore(str(folder / "out"))
    compact_sink(store)
    (folder / "in/02.jsonl").unlink()
    write_rows(folder / "in/zz.jsonl", ["2-1", "z"], extra="corrected ")
    _pass(folder, enrich=keep)
    rows = rows_of(store)
    assert rows.keys() == {f"{n}-{i}" for n in range(6) for i in range(3)} | {"z"}
    assert sum(one.documents for one in store.snapshot().units) == 19
    assert sum(one.entities for one in store.snapshot().units) == sum(
        len(row[2]) for row in rows.values()
    )


def test_compacted_files_can_be_vacuumed(folder: Path) -> None:
    store = RunStore(str(folder / "out"))
    rows = rows_of(store)
    compact_sink(store)
    assert vacuum_sink(store, timedelta(days=7), remove=False).files == ()
    vacuum_sink(store, timedelta(days=7), remove=True, now=LATER)
    assert rows_of(store) == rows
    files = {Path(file) for file in store.snapshot().files("documents")}
    assert files == {*(folder / "out/documents").rglob("*.parquet")}
    assert len(files) == 1


def test_no_text_of_a_document_stands_in_a_log(folder: Path) -> None:
    """Statistics of text would carry it there, and into every engine's metadata."""
    compact_sink(RunStore(str(folder / "out")))
    logs = [*(folder / "out").rglob("_delta_log/*.json")]
    assert any('"OPTIMIZE"' in log.read_text() for log in logs)
    assert not any("metformin" in log.read_text() for log in logs)


def test_units_keep_the_identity_that_they_were_made_with(folder: Path) -> None:
    other: dict[str, Any] = {"merge": {"overlaps": "longest"}}
    for number in range(20, 22):
        write_rows(folder / f"in/{number}.jsonl", [f"{number}"])
        _pass(folder, enrich={"on_model_change": "keep"}, **other)
    store = RunStore(str(folder / "out"))
    compact_sink(store)
    assert len({one.identity for one in store.snapshot().units}) == 2
    # The ones that were made with the pipeline as it is now are not stale, the others are.
    assert _pass(folder, **other) == 18


def test_a_run_that_commits_meanwhile_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore(str(folder / "out"))
    real = TableVersion.compact
    raced: list[str] = []

    def compact_late(table: TableVersion, target_bytes: int) -> None:
        if table.name == "documents" and not raced:
            raced.append(table.name)
            write_rows(folder / "in/03.jsonl", ["3-0"])  # replaces a file that is being joined
            _pass(folder)
        real(table, target_bytes)

    monkeypatch.setattr(TableVersion, "compact", compact_late)
    compact_sink(store)
    assert raced
    assert rows_of(store).keys() == {f"{n}-{i}" for n in range(6) for i in range(3)} - {
        "3-1",
        "3-2",
    }

    def never(table: TableVersion, target_bytes: int) -> None:
        raise ConflictError("x")

    monkeypatch.setattr(TableVersion, "compact", never)
    with pytest.raises(RunError, match="committed to documents repeatedly"):
        compact_sink(store)


def test_the_command_and_other_readers(folder: Path) -> None:
    for expected in (1, 1):
        result = CliRunner().invoke(app, ["runs", "compact", str(folder / "out"), "--json"])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["after"]["documents"] == expected
    table = DeltaTable(str(folder / "out/documents"))
    assert table.to_pyarrow_table(columns=["doc_id"]).num_rows == 18
