"""Runs below a sink: what counts, what does not, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from support.lake import store_rows

from actors.config import ConfigError
from pipelines.runs.plan import Increment, RunPlan
from pipelines.runs.precommit import check_unique_ids
from pipelines.runs.store import RunStore, begun_at, new_run_id
from pipelines.source.duplicates import DuplicateIdsError
from pipelines.source.units import Slice, Unit
from pipelines.tables.folder import RunError
from pipelines.tables.unit_files import done_units, read_units_done, write_unit_tables

UNITS = (
    Unit((Slice("file:///a", "v", "jsonl", 0, 2), Slice("file:///b", "v", "text", 0, 1))),
    Unit((Slice("file:///c", "v", "parquet", 5, 7),)),
)
PLAN = RunPlan(
    '{"x": 1}',
    UNITS,
    pa.schema([("ward", pa.float64())]),
    (Slice("file:///e", "v", "jsonl", 0, 0),),
    "identity",
    "r0",
    Increment(replaces=(("r0", "u"),), keep_models=True, changes=(("new", 2),)),
)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(str(tmp_path / "out"))


def test_a_plan_comes_back_as_it_was(store: RunStore) -> None:
    store.begin("r1", PLAN)
    assert store.plan("r1") == PLAN


def test_a_run_is_open_until_the_ledger_has_it(store: RunStore) -> None:
    store.begin("r1", PLAN)
    assert (store.open_runs(), store.committed()) == (["r1"], [])
    with pytest.raises(RunError, match="no committed run"):
        store.latest()
    with pytest.raises(RunError, match="r1 is not committed"):
        store.marker("r1")
    store_rows(store, "r1", {"u1": ["a", "b"]})
    assert (store.open_runs(), store.committed(), store.latest()) == ([], ["r1"], "r1")
    assert store.marker("r1")["counts"]["documents"] == {"ok": 2}
    with pytest.raises(RunError, match="r1 is committed; there is nothing to resume"):
        store.plan("r1")


def test_a_unit_is_done_when_its_documents_stand_and_writing_twice_is_once(
    store: RunStore,
) -> None:
    assert done_units(store.folder, "r1") == {}
    documents = pa.table({"doc_id": ["d"], "source": ["s"], "status": ["ok"]})
    entities = pa.table({"doc_id": ["d"], "label": ["L"], "source": ["s"]})
    written = [
        write_unit_tables(
            store.folder, "r1", "u1", {"documents": documents, "entities": entities}, f'"{i}"'
        )
        for i in range(2)
    ]
    assert len({file.path for one in written for file in one.files}) == 2
    done = done_units(store.folder, "r1")
    assert done.keys() == {"u1"}
    (found,) = read_units_done(store.folder, done, ["u1"])
    assert found in written
    assert [file.table for file in found.files] == ["documents", "entities"]
    assert json.loads(found.files[0].statistics) == {
        "numRecords": 1,
        "minValues": {"doc_id": "d", "source": "s", "status": "ok", "run_id": "r1", "unit": "u1"},
        "maxValues": {"doc_id": "d", "source": "s", "status": "ok", "run_id": "r1", "unit": "u1"},
        "nullCount": {"doc_id": 0, "source": 0, "status": 0, "run_id": 0, "unit": 0},
    }


def test_a_temporary_file_is_nobodys_unit(store: RunStore, tmp_path: Path) -> None:
    documents = pa.table({"doc_id": ["d"], "source": ["s"], "status": ["ok"]})
    write_unit_tables(store.folder, "r1", "u1", {"documents": documents})
    (tmp_path / "out/documents/r1/.u2.parquet.abcd").write_bytes(b"half")
    assert done_units(store.folder, "r1").keys() == {"u1"}


def test_discard_removes_an_open_run_and_refuses_a_committed_one(
    store: RunStore, tmp_path: Path
) -> None:
    store.begin("r1", PLAN)
    documents = pa.table({"doc_id": ["d"], "source": ["s"], "status": ["ok"]})
    write_unit_tables(store.folder, "r1", "u1", {"documents": documents})
    store.discard("r1")
    assert not list((tmp_path / "out").rglob("*.parquet"))
    with pytest.raises(RunError, match="no run r1"):
        store.discard("r1")
    store.begin("r2", PLAN)
    store_rows(store, "r2", {"u1": ["a"]})
    with pytest.raises(RunError, match="committed"):
        store.discard("r2")


def test_an_unknown_run_is_named_with_the_known_ones(store: RunStore) -> None:
    store.begin("r1", PLAN)
    with pytest.raises(RunError, match="no run r9; the latest: r1"):
        store.plan("r9")


def test_ids_twice_in_a_run_are_found_across_units(store: RunStore) -> None:
    paths = []
    for unit, ids in (("u1", ["a", "b"]), ("u2", ["c", "b"])):
        rows = pa.table({"doc_id": ids, "source": ["s"] * 2, "status": ["ok"] * 2})
        done = write_unit_tables(store.folder, "r1", unit, {"documents": rows})
        paths.append(f"documents/{done.files[0].path}")
    with pytest.raises(DuplicateIdsError, match="run r1: several documents have the id b"):
        check_unique_ids(store.folder, "r1", paths)
    check_unique_ids(store.folder, "r1", paths[:1])


def test_run_ids_begin_with_a_letter_and_sort_by_time() -> None:
    assert new_run_id()[0] == "r"
    assert new_run_id() != new_run_id()
    assert begun_at("r20261129T123456-abcdef").hour == 12


def test_a_sink_in_the_old_layout_is_refused_by_name(store: RunStore) -> None:
    store.folder.write("_order/0000000001.r1", b"")
    with pytest.raises(RunError, match="old layout"):
        store.check()


def test_extra_columns_that_collide_are_refused(store: RunStore) -> None:
    for name, match in (("Text", "would collide"), ("a b", "no column named 'a b'")):
        plan = RunPlan("{}", (), pa.schema([(name, pa.string())]))
        with pytest.raises(ConfigError, match=match):
            store.begin("r1", plan)
