"""Commits by real processes that are killed, stopped and raced: each run counts whole or not at
all, once, and none is lost."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pytest
from support.deidentify import SECRET, counterparts
from support.driver_process import driver, until_stopped
from support.lake import Quiet, hashing, pipeline, rows_of, store_rows, write_rows
from support.without_ray import _without_ray  # noqa: F401

from pipelines.batch.run import begin_run, drive_run
from pipelines.config import LoadedPipeline
from pipelines.deidentification import KEY
from pipelines.enrich import enrich_once
from pipelines.runs.plan import RunPlan
from pipelines.runs.store import RunStore
from pipelines.source.units import plan_source
from pipelines.tables.folder import RunError

pytestmark = [pytest.mark.usefixtures("_without_ray"), pytest.mark.timeout(290)]
STEPS = [
    ("documents", "before"),
    ("documents", "after"),
    ("entities", "after"),
    ("units", "before"),
    ("units", "after"),
]


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A lake that one pass has seen, of which since one file has changed and one is new."""
    for name in "ab":
        write_rows(tmp_path / f"in/{name}.jsonl", [f"{name}{i}" for i in range(5)])
    _pass(tmp_path)
    write_rows(tmp_path / "in/b.jsonl", ["b0", "b1", "b8"])
    write_rows(tmp_path / "in/c.jsonl", ["c0", "c1"])
    return tmp_path


BEFORE = {f"{name}{i}" for name in "ab" for i in range(5)}
AFTER = {f"a{i}" for i in range(5)} | {"b0", "b1", "b8", "c0", "c1"}


def _loaded(folder: Path) -> LoadedPipeline:
    return pipeline(str(folder / "in"), str(folder / "out"))


def _store(folder: Path) -> RunStore:
    return RunStore(str(folder / "out"))


def _pass(folder: Path) -> str | None:
    done = enrich_once(_loaded(folder), Quiet(), nullcontext(), hashing())
    return done.outcome.run_id if done.outcome else None


@pytest.mark.parametrize(("table", "when"), STEPS)
def test_a_driver_that_is_killed_between_commits_is_finished_or_ignored(
    lake: Path, table: str, when: str
) -> None:
    store = _store(lake)
    with driver(lake / "in", store.path, table=table, when=when) as process:
        assert process.wait() == -signal.SIGKILL
    # A reader sees the run whole or not at all, whatever each table has.
    counts = (table, when) == ("units", "after")
    assert rows_of(store).keys() == (AFTER if counts else BEFORE)
    went_on = _pass(lake)
    assert (went_on is None) == ((table, when) != ("documents", "before"))
    assert rows_of(store).keys() == AFTER
    assert len(store.committed()) == 2
    assert store.open_runs() == []
    assert sum(one.documents for one in store.snapshot().units) == len(AFTER)


@pytest.mark.parametrize(
    ("table", "when"),
    [
        ("documents", "after"),
        ("deidentified/documents", "before"),
        ("deidentified/documents", "after"),
        ("reidentification", "after"),
        ("units", "before"),
    ],
)
def test_deidentified_documents_follow_their_originals_through_kills_between_commits(
    lake: Path, table: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fixture's lake is not de-identified yet; its documents then change, too."""
    monkeypatch.setenv(KEY, SECRET.decode())
    store, section = _store(lake), {"doc_ids": "hash"}
    loaded = pipeline(str(lake / "in"), store.path, deidentify=section)
    enrich_once(loaded, Quiet(), nullcontext(), hashing())
    before = counterparts(store)
    write_rows(lake / "in/b.jsonl", ["b0", "b9"])
    (lake / "in/c.jsonl").unlink()
    with driver(lake / "in", store.path, table=table, when=when, deidentify=section) as process:
        assert process.wait() == -signal.SIGKILL
    assert rows_of(store).keys() == before.keys()
    monkeypatch.delenv(KEY)  # who finishes it needs no key
    assert store.finish_pending() is not None
    assert counterparts(store).keys() == {*(f"a{i}" for i in range(5)), "b0", "b9"}
    assert counterparts(store, store.committed()[-2]) == before


def test_a_driver_that_was_stopped_past_its_lease_commits_nothing_twice(lake: Path) -> None:
    store = _store(lake)
    stop = {"when": "before", "signal": "SIGSTOP", "lease": 0.5}
    with driver(lake / "in", store.path, table="documents", **stop) as process:
        until_stopped(process)
        (run_id,) = store.open_runs()
        time.sleep(0.6)
        assert drive_run(store, run_id, Quiet(), hashing()).run_id == run_id
        versions = [store.snapshot().table(n).version for n in ("documents", "entities")]
        process.send_signal(signal.SIGCONT)
        assert process.communicate()[0].strip() == run_id
    assert [store.snapshot().table(n).version for n in ("documents", "entities")] == versions
    assert rows_of(store).keys() == AFTER
    assert len(store.committed()) == 2


@pytest.mark.parametrize("table", ["documents", "entities", "units"])
def test_driver_resumed_after_another_finished_reports_it(lake: Path, table: str) -> None:
    """Stopped before its commit to ``table``, while the next pass takes over its work, whether
    by its own run or by finishing the one that was begun."""
    store = _store(lake)
    stop = {"when": "before", "signal": "SIGSTOP", "lease": 0.5}
    with driver(lake / "in", store.path, table=table, **stop) as process:
        until_stopped(process)
        (run_id,) = store.open_runs()
        time.sleep(0.6)
        write_rows(lake / "in/d.jsonl", ["d0"])
        _pass(lake)
        assert rows_of(store).keys() == AFTER | {"d0"}
        process.send_signal(signal.SIGCONT)
        said = process.communicate()[0].strip()
    assert said == run_id or "was committed while" in said
    assert rows_of(store).keys() == AFTER | {"d0"}


def test_a_driver_that_wakes_to_find_its_run_discarded_commits_nothing(lake: Path) -> None:
    store = _store(lake)
    stop = {"when": "before", "signal": "SIGSTOP", "lease": 0.5}
    with driver(lake / "in", store.path, table="documents", **stop) as process:
        until_stopped(process)
        (run_id,) = store.open_runs()
        store.discard(run_id)
        store_rows(store, "other", {"x": ["x0"]})  # so that the stopped one must look again
        process.send_signal(signal.SIGCONT)
        assert "it was discarded meanwhile" in process.communicate()[0]
    assert rows_of(store).keys() == BEFORE | {"x0"}


def test_a_second_pass_meanwhile_does_nothing(lake: Path) -> None:
    stop = {"when": "before", "signal": "SIGSTOP"}
    with driver(lake / "in", str(lake / "out"), table="documents", **stop) as process:
        until_stopped(process)
        with pytest.raises(RunError, match="enrich-test is held by process"):
            _pass(lake)
        process.send_signal(signal.SIGCONT)
        assert process.communicate()[0].startswith("r")
    assert rows_of(_store(lake)).keys() == AFTER


def test_of_drivers_at_once_over_the_same_files_one_counts(lake: Path) -> None:
    """They are planned on the same snapshot, so each would replace the same units."""
    store, loaded = _store(lake), _loaded(lake)
    runs = [begin_run(loaded, plan_source(loaded.pipeline.source)) for _ in range(3)]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(driver(lake / "in", store.path, resume=run)) for run in runs
        ]
        said = [process.communicate()[0].strip() for process in processes]
    assert sum(one in runs for one in said) == 1, said
    assert sum("both cover" in one for one in said) == 2, said
    assert rows_of(store).keys() == AFTER
    assert len(store.committed()) == 2


def test_writers_at_once_over_different_files_all_count(tmp_path: Path) -> None:
    store = _store(tmp_path)
    store.begin("r0", RunPlan("{}", (), plan_source(_loaded(_some(tmp_path)).pipeline.source).keep))
    with ThreadPoolExecutor(8) as pool:
        names = [f"w{i}" for i in range(8)]
        list(pool.map(lambda name: store_rows(store, name, {name: [f"{name}-0"]}), names))
    assert sorted(store.committed()) == names
    assert rows_of(store).keys() == {f"{name}-0" for name in names}
    with ThreadPoolExecutor(4) as pool:  # and readers meanwhile see every commit whole
        late = pool.submit(store_rows, store, "late", {"late": ["late-0"]}, ("w0", "w0"))
        while not late.done():
            seen = rows_of(store).keys()
            assert ("w0-0" in seen) != ("late-0" in seen)
        late.result()


def _some(folder: Path) -> Path:
    write_rows(folder / "in/a.jsonl", ["a"])
    return folder
