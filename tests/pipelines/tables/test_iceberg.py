"""Iceberg: the sink's files in a catalog of its own, and Iceberg tables as sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.utils.config import Config
from support.browser import Served
from support.deidentify import SECRET
from support.iceberg_rest import TOKEN, rest_catalog
from support.lake import Quiet, hashing, pipeline, rows_of, store_rows, write_rows
from support.without_ray import _without_ray  # noqa: F401

from actors.config import ConfigError
from pipelines.config import IcebergCatalog, IcebergSink, LoadedPipeline, Source
from pipelines.deidentification import KEY
from pipelines.enrich import enrich_once
from pipelines.runs.maintenance import compact_sink
from pipelines.runs.plan import RunPlan
from pipelines.runs.store import RunStore
from pipelines.source.listing import list_source
from pipelines.source.read import read_units
from pipelines.source.units import plan_source
from pipelines.tables import iceberg_catalog
from pipelines.tables.column_types import as_column, extra_columns
from pipelines.tables.iceberg_catalog import RUN, NotRegisteredError, register
from pipelines.tables.schema import DATA

CLINIC = IcebergSink(namespace="clinic")


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    made = RunStore(str(tmp_path / "out"))
    made.begin("r1", RunPlan("{}", (), pa.schema([])))
    store_rows(made, "r1", {"u1": ["a", "b"], "u2": ["c"]})
    return made


def _catalog(store: RunStore) -> Catalog:
    folder = Path(store.path) / "_iceberg"
    return load_catalog(
        "default", type="sql", uri=f"sqlite:///{folder}/catalog.db", warehouse=folder.as_uri()
    )


def _ids(store: RunStore, name: str = "documents") -> list[str]:
    rows = _catalog(store).load_table(f"clinic.{name}").scan().to_arrow()
    return sorted(rows["doc_id"].to_pylist())


def test_each_commit_is_one_snapshot_that_adds_and_removes_files(store: RunStore) -> None:
    register(store.snapshot(), CLINIC)
    assert _ids(store) == _ids(store, "entities") == ["a", "b", "c"]
    store_rows(store, "r2", {"u3": ["d"]}, ("r1", "u1"))
    found = register(store.snapshot(), CLINIC)
    assert _ids(store) == _ids(store, "entities") == ["c", "d"]
    table = _catalog(store).load_table("clinic.documents")
    first, second = table.snapshots()
    assert found["documents"] == second.snapshot_id
    assert second.summary is not None
    assert second.summary[RUN] == "r2"
    # A reader of the earlier snapshot sees all of it, and none of the later.
    before = table.scan(snapshot_id=first.snapshot_id).to_arrow()
    assert sorted(before["doc_id"].to_pylist()) == ["a", "b", "c"]


def test_registering_again_changes_nothing_and_takes_up_what_was_missed(store: RunStore) -> None:
    register(store.snapshot(), CLINIC)
    register(store.snapshot(), CLINIC)
    assert len(_catalog(store).load_table("clinic.documents").snapshots()) == 1
    store_rows(store, "r2", {"u3": ["d"]})
    store_rows(store, "r3", {"u4": ["e"]})
    compact_sink(store)
    register(store.snapshot(), CLINIC)
    table = _catalog(store).load_table("clinic.documents")
    assert _ids(store) == ["a", "b", "c", "d", "e"]
    assert len(list(table.scan().plan_files())) == 1  # the file that compaction made


def test_all_columns_come_back_and_new_ones_are_null_in_older_rows(store: RunStore) -> None:
    register(store.snapshot(), CLINIC)
    keep = pa.schema(
        [
            ("site", pa.string()),
            ("seen", pa.timestamp("us")),
            ("count", pa.uint8()),
            ("price", pa.decimal128(10, 2)),
            ("tags", pa.list_(pa.string())),
        ]
    )
    store.begin("r2", RunPlan("{}", (), keep))
    store_rows(store, "r2", {"u3": ["d"]})
    register(store.snapshot(), CLINIC)
    rows = _catalog(store).load_table("clinic.documents").scan().to_arrow()
    assert {*keep.names, *DATA["documents"].names} <= set(rows.schema.names)
    assert rows["site"].to_pylist() == [None] * 4
    assert set(rows["text"].to_pylist()) == {f"note {i}" for i in "abcd"}


def test_no_metadata_holds_text_of_documents(store: RunStore) -> None:
    register(store.snapshot(), CLINIC)
    table = _catalog(store).load_table("clinic.documents")
    (file, *_) = [task.file for task in table.scan().plan_files()]
    names = {table.schema().find_column_name(number) for number in file.lower_bounds or {}}
    assert "doc_id" in names
    assert "text" not in names
    metadata = [p for p in (Path(store.path) / "_iceberg").rglob("*") if p.is_file()]
    assert len(metadata) > 3
    assert not any(b"note a" in path.read_bytes() for path in metadata)


def test_other_engines_read_the_table(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without its optional plugin, Polars warns that PyIceberg plans the scan.
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    register(store.snapshot(), CLINIC)
    table = _catalog(store).load_table("clinic.entities")
    frame = pl.scan_iceberg(table).filter(pl.col("label") == "L").select("doc_id").collect()
    assert sorted(frame["doc_id"]) == ["a", "b", "c"]


def test_a_registration_that_loses_a_race_begins_again(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[bool] = []
    show = iceberg_catalog._show

    def racing(*arguments: object) -> None:
        if not lost:
            lost.append(True)
            raise CommitFailedException("another was first")
        show(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(iceberg_catalog, "_show", racing)
    register(store.snapshot(), CLINIC)
    assert _ids(store) == ["a", "b", "c"]


def _set_token(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("PYICEBERG_CATALOG__HOSPITAL__TOKEN", token)
    # Which pyiceberg reads when it is imported.
    monkeypatch.setattr("pyiceberg.catalog._ENV_CONFIG", Config())


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Catalog]]:
    """A REST catalog: its address, with its token in the environment, and the catalog behind it."""
    _set_token(monkeypatch, TOKEN)
    app, behind = rest_catalog(tmp_path / "rest")
    server = Served(app)
    yield server.url.rstrip("/"), behind
    server.stop()


def test_a_rest_catalog_is_written_and_read(store: RunStore, served: tuple[str, Catalog]) -> None:
    url, behind = served
    catalog = IcebergCatalog(name="hospital", properties={"type": "rest", "uri": url})
    settings = IcebergSink(namespace="clinic", catalog=catalog)
    register(store.snapshot(), settings)
    store_rows(store, "r2", {"u3": ["d"]}, ("r1", "u1"))
    found = register(store.snapshot(), settings)
    table = behind.load_table("clinic.documents")
    assert sorted(table.scan().to_arrow()["doc_id"].to_pylist()) == ["c", "d"]
    assert [one.snapshot_id for one in table.snapshots()][-1] == found["documents"]
    source = Source(path="clinic.documents", format="iceberg", catalog=catalog, id="doc_id")
    assert sorted(_read(source)) == ["c", "d"]


def test_the_error_of_a_rest_catalog_has_advice(
    store: RunStore, served: tuple[str, Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    _set_token(monkeypatch, "a-secret-that-is-wrong")
    catalog = IcebergCatalog(name="hospital", properties={"type": "rest", "uri": served[0]})
    with pytest.raises(NotRegisteredError, match="UnauthorizedError") as refused:
        register(store.snapshot(), IcebergSink(namespace="clinic", catalog=catalog))
    assert "a-secret" not in str(refused.value)


def test_the_error_for_an_unusable_catalog_has_advice(store: RunStore, tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_text("this is no database")
    catalog = IcebergCatalog(
        properties={
            "type": "sql",
            "uri": f"sqlite:///{tmp_path}/broken.db",
            "warehouse": tmp_path.as_uri(),
        }
    )
    settings = IcebergSink(namespace="clinic", catalog=catalog)
    with pytest.raises(NotRegisteredError, match=r"the Delta tables are complete.*runs register"):
        register(store.snapshot(), settings)


def _loaded(folder: Path, settings: IcebergSink, **more: object) -> LoadedPipeline:
    made = pipeline(str(folder / "in"), str(folder / "lake"), **more)  # type: ignore[arg-type]
    sink = made.pipeline.sink.model_copy(update={"iceberg": settings})
    return replace(made, pipeline=made.pipeline.model_copy(update={"sink": sink}))


@pytest.mark.usefixtures("_without_ray")
def test_a_run_registers_what_it_commits_and_a_later_pass_makes_up_for_it(tmp_path: Path) -> None:
    write_rows(tmp_path / "in/a.jsonl", ["a1", "a2"])
    (tmp_path / "broken.db").write_text("this is no database")
    properties = {"type": "sql", "uri": f"sqlite:///{tmp_path}/broken.db", "warehouse": "file:///"}
    broken = IcebergSink(namespace="clinic", catalog=IcebergCatalog(properties=properties))
    with pytest.raises(NotRegisteredError):
        enrich_once(_loaded(tmp_path, broken), Quiet(), nullcontext(), hashing())
    store = RunStore(str(tmp_path / "lake"))
    assert len(store.committed()) == 1  # the run counts all the same
    assert enrich_once(_loaded(tmp_path, CLINIC), Quiet(), nullcontext(), hashing()).outcome is None
    assert _ids(store) == ["a1", "a2"]
    write_rows(tmp_path / "in/b.jsonl", ["b1"])
    (tmp_path / "in/a.jsonl").unlink()
    enrich_once(_loaded(tmp_path, CLINIC), Quiet(), nullcontext(), hashing())
    assert _ids(store) == ["b1"]


@pytest.mark.usefixtures("_without_ray")
def test_de_identified_tables_have_a_namespace_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, SECRET.decode())
    write_rows(tmp_path / "in/a.jsonl", ["a1", "a2"])
    loaded = _loaded(tmp_path, CLINIC, deidentify={"doc_ids": "hash"})
    enrich_once(loaded, Quiet(), nullcontext(), hashing())
    store = RunStore(str(tmp_path / "lake"))
    catalog = _catalog(store)
    names = {"documents", "entities", "relations"}
    for namespace in ("clinic", "clinic_deidentified"):
        assert {name for _, name in catalog.list_tables(namespace)} == names
    assert len(catalog.list_namespaces()) == 2
    shared = catalog.load_table("clinic_deidentified.documents").scan().to_arrow()
    assert sorted(shared["doc_id"].to_pylist()) == sorted(
        one
        for rows in store.snapshot().tables("reidentification", ["deidentified_id"])
        for one in rows["deidentified_id"].to_pylist()
    )
    (tmp_path / "in/a.jsonl").unlink()
    write_rows(tmp_path / "in/b.jsonl", ["b1"])
    enrich_once(loaded, Quiet(), nullcontext(), hashing())
    assert catalog.load_table("clinic_deidentified.documents").scan().to_arrow().num_rows == 1
    assert _ids(store) == ["b1"]


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (pa.int8(), 1),
        (pa.uint8(), 3),
        (pa.uint64(), 2**63),
        (pa.duration("s"), 5),
        (pa.timestamp("us"), datetime(2020, 1, 1)),
        (pa.timestamp("ns", "Europe/Berlin"), datetime(2020, 1, 1, tzinfo=UTC)),
        (pa.time64("us"), time(1)),
        (pa.date32(), date(2020, 1, 1)),
        (pa.decimal128(10, 2), Decimal("1.50")),
        (pa.list_(pa.int16()), [1, 2]),
        (pa.struct([("a", pa.int8())]), {"a": 1}),
        (pa.map_(pa.string(), pa.int8()), [("a", 1)]),
        (pa.null(), None),
    ],
    ids=lambda value: str(value) if isinstance(value, pa.DataType) else "",
)
def test_every_type_that_the_tables_take_comes_back(
    type_: pa.DataType, value: object, tmp_path: Path
) -> None:
    (field,) = extra_columns(pa.schema([("x", type_)]))
    rows = pa.table([as_column(pa.chunked_array([[value]], type_), field.type)], [field.name])
    pq.write_table(rows, tmp_path / "a.parquet")
    catalog = load_catalog(
        "x", type="sql", uri=f"sqlite:///{tmp_path}/c.db", warehouse=(tmp_path / "w").as_uri()
    )
    catalog.create_namespace("n")
    table = catalog.create_table("n.t", schema=pa.schema([field]))
    table.add_files([str(tmp_path / "a.parquet")])
    assert table.scan().to_arrow().to_pylist() == rows.to_pylist()


# ---- as a source


@pytest.fixture
def notes(tmp_path: Path) -> Catalog:
    catalog = load_catalog(
        "x", type="sql", uri=f"sqlite:///{tmp_path}/c.db", warehouse=(tmp_path / "w").as_uri()
    )
    catalog.create_namespace("ward")
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("site", pa.string())])
    table = catalog.create_table("ward.notes", schema=schema)
    table.append(_rows("a", "b"))
    return catalog


def _rows(*ids: str) -> pa.Table:
    return pa.table({"id": list(ids), "text": [f"note {i}" for i in ids], "site": ["s"] * len(ids)})


def _source(known: Catalog, **more: object) -> Source:
    properties = {key: str(value) for key, value in known.properties.items()}
    given = {"path": "ward.notes", "format": "iceberg", "id": "id", "extra_columns": ("site",)}
    return Source.model_validate(
        given | {"catalog": {"name": "x", "properties": properties}} | more
    )


def _read(source: Source) -> list[str]:
    plan = plan_source(source)
    return [
        row["doc_id"]
        for table in read_units(plan.units, source, plan.keep)
        for row in table.to_pylist()
    ]


def test_one_snapshot_is_read_and_what_was_replaced_is_not(notes: Catalog) -> None:
    source = _source(notes)
    assert _read(source) == ["a", "b"]
    before = list_source(source).files
    table = notes.load_table("ward.notes")
    table.append(_rows("c"))
    assert set(before) < set(list_source(source).files)  # an increment reads the new file alone
    table.delete("id == 'a'")
    assert sorted(_read(source)) == ["b", "c"]
    assert len(set(before) & set(list_source(source).files)) == 0  # the rewritten file is new


@pytest.mark.usefixtures("_without_ray")
def test_runs_record_their_source_snapshot_and_continue_from_it(
    notes: Catalog, tmp_path: Path
) -> None:
    loaded = pipeline("in", str(tmp_path / "lake"))
    source = loaded.pipeline.source.model_validate(_source(notes).model_dump())
    loaded = replace(loaded, pipeline=loaded.pipeline.model_copy(update={"source": source}))
    table = notes.load_table("ward.notes")
    seen = []
    changes: list[Callable[[], None]] = [
        lambda: None,
        lambda: table.append(_rows("c")),
        lambda: table.delete("id == 'a'"),
    ]
    for change in changes:
        change()
        done = enrich_once(loaded, Quiet(), nullcontext(), hashing())
        assert done.outcome is not None
        current = table.refresh().current_snapshot()
        assert current is not None
        assert done.outcome.marker["source"]["snapshots"] == {"ward.notes": current.snapshot_id}
        seen.append(dict(done.outcome.tally.documents - done.outcome.tally.carried))
    # Of the file that the deletion wrote anew, b is carried over.
    assert seen == [{"ok": 2}, {"ok": 1}, {}]
    assert sorted(rows_of(str(tmp_path / "lake"))) == ["b", "c"]
    assert enrich_once(loaded, Quiet(), nullcontext(), hashing()).outcome is None


def test_a_folder_or_a_metadata_file_will_do(notes: Catalog) -> None:
    table = notes.load_table("ward.notes")
    first = table.metadata_location
    table.append(_rows("c"))
    folder = table.location()
    assert sorted(_read(_source(notes, catalog=None, path=folder))) == ["a", "b", "c"]
    assert sorted(_read(_source(notes, catalog=None, path=first))) == ["a", "b"]
    with pytest.raises(ConfigError, match=r"set source.format: iceberg"):
        plan_source(_source(notes, catalog=None, path=folder, format="auto"))


def test_unsupported_or_missing_iceberg_table_is_rejected(notes: Catalog, tmp_path: Path) -> None:
    table = notes.load_table("ward.notes")
    with table.update_schema() as update:
        update.rename_column("site", "ward")
    with pytest.raises(ConfigError, match=r"the column ward of ward.notes was renamed"):
        plan_source(_source(notes, extra_columns=("ward",)))
    assert _read(_source(notes, extra_columns=())) == ["a", "b"]
    with pytest.raises(ConfigError, match=r"the catalog has no table ward.none"):
        plan_source(_source(notes, path="ward.none"))
    with pytest.raises(ConfigError, match="no Iceberg table is at"):
        plan_source(_source(notes, catalog=None, path=str(tmp_path / "none")))
