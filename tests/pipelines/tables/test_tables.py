"""The tables as other engines see them, and what they take and give back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, TableFeatures, write_deltalake
from hypothesis import given
from hypothesis import strategies as st
from support.lake import store_rows

from actors.config import ConfigError
from actors.spans import Assertion, Code, Cue, Entity, Experiencer, Relation, Section
from pipelines.deidentification import Deidentification
from pipelines.runs.plan import RunPlan
from pipelines.runs.store import RunStore
from pipelines.tables.column_types import as_column, extra_columns
from pipelines.tables.folder import RunError
from pipelines.tables.rows import (
    entity_row,
    relation_row,
    row_entity,
    row_relation,
    row_section,
    section_row,
)
from pipelines.tables.schema import DATA, ENTITIES, STATISTICS, UNITS
from pipelines.tables.unit_files import statistics_of

EMPTY = RunPlan("{}", (), pa.schema([]))


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """Two commits, of which the second replaces a unit of the first."""
    made = RunStore(str(tmp_path / "out"))
    made.begin("r1", EMPTY, deidentify=Deidentification())
    store_rows(made, "r1", {"u1": ["a", "b"], "u2": ["c"]})
    store_rows(made, "r2", {"u3": ["d"]}, ("r1", "u1"))
    return made


def test_polars_and_pandas_and_arrow_read_what_is_live(store: RunStore) -> None:
    for name in ("documents", "entities"):
        path = f"{store.path}/{name}"
        assert sorted(pl.scan_delta(path).collect()["doc_id"]) == ["c", "d"]
        table = DeltaTable(path)
        assert sorted(table.to_pandas()["doc_id"]) == ["c", "d"]
        rows = table.to_pyarrow_dataset().to_table(columns=["doc_id", "run_id", "unit"])
        assert sorted(map(tuple, (row.values() for row in rows.to_pylist()))) == [
            ("c", "r1", "u2"),
            ("d", "r2", "u3"),
        ]
    before = DeltaTable(f"{store.path}/documents", version=1).to_pyarrow_table()
    assert sorted(before["doc_id"].to_pylist()) == ["a", "b", "c"]
    units = pl.scan_delta(f"{store.path}/units").filter(pl.col("unit").is_not_null()).collect()
    assert sorted(units["unit"]) == ["u2", "u3"]


def test_daft_reads_what_is_live(store: RunStore) -> None:
    daft = pytest.importorskip("daft", minversion="0.7")
    found = daft.read_deltalake(f"{store.path}/documents").select("doc_id").to_pydict()
    assert sorted(found["doc_id"]) == ["c", "d"]


def test_duckdb_reads_what_is_live(store: RunStore) -> None:
    """By DuckDB's own reader, where the index has it for the DuckDB that is here."""
    module = pytest.importorskip("duckdb_extension_delta")
    built = [*Path(module.__path__[0]).rglob("*.duckdb_extension")]
    if f"v{duckdb.__version__}" not in str(built):
        pytest.skip(f"no delta extension for DuckDB {duckdb.__version__}")
    with duckdb.connect() as connection:
        connection.load_extension(str(built[0]))
        found = connection.sql(f"SELECT doc_id FROM delta_scan('{store.path}/documents')")
        assert sorted(found.fetchall()) == [("c",), ("d",)]


def test_the_protocol_is_one_that_spark_3_5_and_4_read(store: RunStore) -> None:
    """Reader version 1 and writer version 2: no feature at all, so every Delta reader."""
    for name in (*DATA, "units"):
        protocol = DeltaTable(f"{store.path}/{name}").protocol()
        assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
        assert not protocol.reader_features


def test_the_ledgers_commit_names_the_versions_of_the_others(store: RunStore) -> None:
    last = DeltaTable(f"{store.path}/units").history(1)[0]
    for name in DATA:
        version = DeltaTable(f"{store.path}/{name}").version()
        assert last[f"medspan.{name}"] == str(version)
    assert (last["medspan.run"], last["medspan.number"]) == ("r2", "2")


def test_statistics_in_the_log_identify_a_units_file(store: RunStore) -> None:
    for name in ("documents", "entities"):
        table = store.tables.existing(name)
        actions = pa.table(table.delta.get_add_actions(flatten=True))
        assert {f"min.{column}" for column in STATISTICS[name]} <= set(actions.schema.names)
        assert {file.key for file in table.files()} == {("r1", "u2"), ("r2", "u3")}


def test_statistics_never_hold_text_and_cut_long_values() -> None:
    assert "text" not in {column for columns in STATISTICS.values() for column in columns}
    long = "d" * 40
    rows = pa.table({n: [long] for n in ("doc_id", "source", "status", "run_id", "unit")})
    found = json.loads(statistics_of("documents", rows))
    assert found["minValues"]["doc_id"] == "d" * 32
    assert found["maxValues"]["doc_id"] > long


EXTRA = {
    "ns": (
        pa.array([1_500], pa.timestamp("ns", "Europe/Berlin")),
        datetime(1970, 1, 1, 0, 0, 0, 1, UTC),
    ),
    "duration": (pa.array([timedelta(seconds=2)], pa.duration("ns")), 2_000_000),
    "clock": (pa.array([time(9, 30)], pa.time64("us")), "09:30:00.000000"),
    "unsigned": (pa.array([2**64 - 1], pa.uint64()), Decimal(2**64 - 1)),
    "small": (pa.array([7], pa.uint8()), 7),
    "nothing": (pa.array([None], pa.null()), None),
    "coded": (pa.array(["w"]).dictionary_encode(), "w"),
    "day": (pa.array([date(2026, 1, 2)], pa.date64()), date(2026, 1, 2)),
    "half": (pa.array([0.5], pa.float16()), 0.5),
    "nested": (pa.array([[{"x": 3}]], pa.list_(pa.struct([("x", pa.uint16())]))), [{"x": 3}]),
    "view": (pa.array(["v"], pa.string_view()), "v"),
}


def test_types_that_delta_lacks_are_converted_by_rule(tmp_path: Path) -> None:
    keep = pa.schema([(name, array.type) for name, (array, _) in EXTRA.items()])
    extra = extra_columns(keep)
    store = RunStore(str(tmp_path / "out"))
    store.begin("r1", RunPlan("{}", (), keep))
    there = store.tables.existing("documents").schema()
    for field in extra:
        assert there.field(field.name).type == field.type or field.name == "nested"
        array, wanted = EXTRA[field.name]
        assert as_column(pa.chunked_array([array]), field.type).to_pylist() == [wanted]
    store.begin("r2", RunPlan("{}", (), keep))  # and fit again


def test_unconvertible_column_type_is_rejected_by_name(tmp_path: Path) -> None:
    for type_ in (pa.month_day_nano_interval(), pa.decimal256(60, 2)):
        with pytest.raises(ConfigError, match=r"source\.extra_columns: x has the type"):
            extra_columns(pa.schema([("x", type_)]))
    store = RunStore(str(tmp_path / "out"))
    store.begin("r1", RunPlan("{}", (), pa.schema([("ward", pa.string())])))
    with pytest.raises(RunError, match="the column ward of documents has the type string"):
        store.begin("r2", RunPlan("{}", (), pa.schema([("ward", pa.int64())])))


def test_a_table_of_another_maker_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "lake/documents"
    write_deltalake(str(path), pa.table({"doc_id": ["a"], "text": ["theirs"]}))
    with pytest.raises(RunError, match=r"documents there is not medspan's.*run_id is missing"):
        RunStore(str(tmp_path / "lake")).begin("r1", EMPTY)
    assert DeltaTable(str(path)).version() == 0


def test_a_sink_that_lost_its_documents_is_refused(store: RunStore) -> None:
    shutil.rmtree(f"{store.path}/documents")
    with pytest.raises(RunError, match="the table documents is gone, but units has runs"):
        store.begin("r3", EMPTY)


def test_a_table_with_a_feature_that_its_files_do_not_show_is_refused(store: RunStore) -> None:
    """Deletion vectors, for example, which Databricks and Spark can turn on."""
    DeltaTable(f"{store.path}/entities").alter.add_feature(
        TableFeatures.DeletionVectors, allow_protocol_versions_increase=True
    )
    with pytest.raises(RunError, match="entities has the Delta feature deletionVectors"):
        store_rows(store, "r3", {"u4": ["e"]})
    with pytest.raises(RunError, match="deletionVectors"):
        list(store.snapshot().tables("entities"))


def test_columns_of_a_later_version_are_added_to_a_table_of_an_earlier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(str(tmp_path / "out"))
    earlier = pa.schema([field for field in DATA["documents"] if field.name != "marks"])
    with monkeypatch.context() as patch:
        patch.setitem(DATA, "documents", earlier)
        store.begin("r1", EMPTY)
    assert "marks" not in store.tables.existing("documents").schema().names
    store.begin("r2", EMPTY)
    store_rows(store, "r2", {"u1": ["a"]})
    assert store.tables.existing("documents").schema().field("marks").type
    assert pl.scan_delta(f"{store.path}/documents").collect()["marks"].to_list() == [None]


def test_runs_that_begin_at_once_all_get_their_columns(tmp_path: Path) -> None:
    path = str(tmp_path / "out")
    RunStore(path).begin("r0", EMPTY)
    names = ["ward", "ward", "site", "kind", "seen", "seen"]

    def begin(number: int) -> None:
        keep = pa.schema([(names[number], pa.string())])
        RunStore(path).begin(f"r{number + 1}", RunPlan("{}", (), keep), names)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(begin, range(6)))
    for table in ("documents", "entities"):
        assert set(names) <= set(RunStore(path).tables.existing(table).schema().names)


offsets = st.integers(0, 50)
cues = st.builds(Cue, st.text(max_size=5), st.text(max_size=5), offsets, offsets)
flags = {name: st.booleans() for name in ("negated", "uncertain", "hypothetical", "historical")}
assertions = st.builds(
    Assertion,
    **flags,
    conditional=st.booleans(),
    experiencer=st.sampled_from(Experiencer),
    cues=st.lists(cues, max_size=2).map(tuple),
)
codes = st.builds(
    Code,
    st.text(max_size=5),
    st.text(max_size=5),
    st.text(max_size=5),
    st.floats(0, 1),
    st.text(max_size=5),
    st.lists(st.text(max_size=3), max_size=2).map(tuple),
)


@given(st.one_of(st.none(), assertions), st.lists(codes, max_size=2).map(tuple), st.text())
def test_an_entity_comes_back_from_arrow_as_it_was(
    assertion: Assertion | None, linked: tuple[Code, ...], section: str
) -> None:
    entity = Entity("L", "abc", 2, 5, section=section, assertion=assertion, codes=linked)
    row = {"doc_id": "d", "ordinal": 0, "source": "s", **entity_row(entity)}
    (back,) = pa.Table.from_pylist([row], schema=ENTITIES).to_pylist()
    assert row_entity(back) == entity


def test_sections_and_relations_come_back_from_arrow_as_they_were() -> None:
    section = Section("family_history", 3, 40, 12, "10157-6")
    relation = Relation(0, 2, "dose", 0.5, "rules", {"value": "5", "unit": "mg"})
    documents = {"doc_id": "d", "sections": [section_row(section)]}
    (row,) = pa.Table.from_pylist([documents], schema=DATA["documents"]).to_pylist()
    assert [row_section(one) for one in row["sections"]] == [section]
    (row,) = pa.Table.from_pylist([relation_row(relation)], schema=DATA["relations"]).to_pylist()
    assert row_relation(row) == relation


def test_every_column_is_described() -> None:
    for schema in (*DATA.values(), UNITS):
        assert all(field.metadata[b"comment"] for field in schema)


def test_the_commands_on_runs_need_no_ray(store: RunStore) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from pipelines.cli.app import app\n"
        f"for words in (['current'], ['compact'], ['vacuum'], ['show', 'r2', '--json']):\n"
        f"    done = CliRunner().invoke(app, ['runs', words[0], {store.path!r}, *words[1:]])\n"
        "    assert done.exit_code == 0, (words, done.output, done.exception)\n"
        "print('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"
