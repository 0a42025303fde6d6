"""Lakes as they are: odd files, types, layouts and names, each with what must come of it."""

from __future__ import annotations

import bz2
import gzip
import json
import logging
import lzma
import uuid
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import TableNotFoundError

from actors.config import ConfigError
from pipelines.config import Between, Csv, Source
from pipelines.source.listing import list_source
from pipelines.source.read import read_units
from pipelines.source.units import plan_source
from pipelines.storage import S3, Storage, delta_options

TEXT = "Metformin 500 mg twice daily."


def _table(source: Source) -> pa.Table:
    plan = plan_source(source)
    return pa.concat_tables(read_units(plan.units, source, plan.keep))


def _rows(source: Source) -> list[dict[str, Any]]:
    return list(_table(source).to_pylist())


def _texts(source: Source) -> list[str | None]:
    return [row["text"] for row in _rows(source)]


def _write(path: Path, **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = len(next(iter(columns.values()))) if columns else 1
    pq.write_table(pa.table({"text": [TEXT] * rows, **columns}), path)


# Files


def test_skipped_files_are_counted_by_suffix(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}')
    for name in ("b.odt", "c.doc", "d.doc", "d.mp4", "IM0001", ".part", "e.tar.gz", "_SUCCESS"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "_temporary").mkdir()
    (tmp_path / "_temporary/f.jsonl").write_text('{"text": "y"}')
    source = Source(path=str(tmp_path))
    with caplog.at_level(logging.WARNING):
        plan = plan_source(source)
    assert plan.skipped == {
        ".doc": 2,
        ".odt": 1,
        ".mp4": 1,
        "without a suffix": 1,
        "hidden": 2,
        ".tar.gz": 1,
    }
    assert "2 .doc" in caplog.text
    assert "(save .doc and .odt as .docx or PDF)" in caplog.text
    with pytest.raises(ConfigError, match=r"source\.strict: files would be passed over: .*\.doc"):
        plan_source(source.model_copy(update={"strict": True}))


@pytest.mark.parametrize(
    ("suffix", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)
def test_compressed_files_are_read(tmp_path: Path, suffix: str, compress: Any) -> None:
    (tmp_path / f"a.jsonl.{suffix}").write_bytes(compress(b'{"text": "1"}\n{"text": "2"}\n'))
    (tmp_path / f"b.csv.{suffix}").write_bytes(compress(b"text\n3\n"))
    (tmp_path / f"c.txt.{suffix}").write_bytes(compress(b"4"))
    (tmp_path / "d.jsonl").write_text('{"text": "5"}')
    assert _texts(Source(path=str(tmp_path))) == ["1", "2", "3", "4", "5"]


def test_zstd_of_two_frames_is_read(tmp_path: Path) -> None:
    codec = pa.Codec("zstd")
    frames = [codec.compress(b'{"text": "%d"}\n' % i, asbytes=True) for i in range(2)]
    (tmp_path / "a.jsonl.zst").write_bytes(b"".join(frames))
    assert _texts(Source(path=str(tmp_path))) == ["0", "1"]


def test_decompression_bomb_is_a_failed_row(tmp_path: Path) -> None:
    (tmp_path / "bomb.txt.gz").write_bytes(gzip.compress(b" " * 5_000_000))
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"text": "x"}\n' * 999)[:-20])
    (tmp_path / "good.jsonl").write_text('{"text": "x"}')
    rows = _rows(Source(path=str(tmp_path), max_inflated_mb=1))
    found = {Path(row["source"]).name: row for row in rows}
    assert "max_inflated_mb = 1" in found["bomb.txt.gz"]["error_message"]
    assert found["cut.jsonl.gz"]["error_type"] == "BadFile"
    assert found["good.jsonl"]["text"] == "x"


def test_broken_files_among_good_ones_are_failed_rows(tmp_path: Path) -> None:
    good = pa.table({"note_id": ["a", "b"], "text": [TEXT, "Aspirin 81 mg."]})
    pq.write_table(good, tmp_path / "good.parquet")
    (tmp_path / "zero.parquet").write_bytes(b"")
    (tmp_path / "zero.jsonl").write_bytes(b"")
    (tmp_path / "other.parquet").write_bytes(b"%PDF-1.7 something else")
    pq.write_table(good, tmp_path / "cut.parquet", compression="none")
    whole = (tmp_path / "cut.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    pq.write_table(good, tmp_path / "torn.parquet", compression="zstd")
    torn = bytearray((tmp_path / "torn.parquet").read_bytes())
    torn[8:40] = b"\xff" * 32
    (tmp_path / "torn.parquet").write_bytes(bytes(torn))
    rows = _rows(Source(path=str(tmp_path), id="note_id"))
    bad = {Path(row["doc_id"]).name for row in rows if row["error_type"] == "BadFile"}
    assert bad == {"zero.parquet", "zero.jsonl", "other.parquet", "cut.parquet", "torn.parquet"}
    assert [row["doc_id"] for row in rows if not row["error_type"]] == ["a", "b"]
    assert len(rows) == 7
    for name in ("good.parquet", "torn.parquet"):
        (tmp_path / name).unlink()
    with pytest.raises(ConfigError, match="no file can be read"):
        plan_source(Source(path=str(tmp_path), id="note_id"))


def test_rows_before_the_damage_are_kept_and_later_units_fail_alone(tmp_path: Path) -> None:
    ids = [str(i) for i in range(60)]
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"id": ids, "text": [f"{TEXT} {i}" for i in ids]}), path, row_group_size=20
    )
    meta = pq.ParquetFile(path).metadata.row_group(1).column(1)
    content = bytearray(path.read_bytes())
    begin = meta.dictionary_page_offset or meta.data_page_offset
    content[begin : begin + 24] = b"\xff" * 24
    path.write_bytes(bytes(content))
    rows = _rows(Source(path=str(path), id="id", unit_rows=20))
    assert [row["doc_id"] for row in rows if not row["error_type"]] == ids[:20] + ids[40:]
    (bad,) = (row for row in rows if row["error_type"])
    assert (bad["error_type"], bad["doc_id"]) == ("BadFile", f"{path.as_uri()}#20")


# Tables


def test_a_table_is_not_read_as_loose_files(tmp_path: Path) -> None:
    old = pa.table({"note_id": ["p9", "p2"], "text": ["methadone 40 mg daily.", "Aspirin."]})
    write_deltalake(tmp_path / "t", old)
    DeltaTable(tmp_path / "t").delete("note_id = 'p9'")
    source = Source(path=str(tmp_path / "t"), id="note_id")
    with pytest.raises(ConfigError, match=r"a Delta table; .*source\.format: delta"):
        plan_source(source)
    rows = _rows(source.model_copy(update={"format": "delta"}))
    assert [row["doc_id"] for row in rows] == ["p2"]
    for name in ("h/.hoodie/x", "i/metadata/00001-a.metadata.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("{}")
        _write(tmp_path / name[0] / "a.parquet")
    with pytest.raises(ConfigError, match="a Hudi table"):
        plan_source(Source(path=str(tmp_path / "h")))
    with pytest.raises(ConfigError, match="an Iceberg table"):
        plan_source(Source(path=str(tmp_path / "i")))
    with pytest.raises(ConfigError, match="no Delta table is at"):
        plan_source(Source(path=str(tmp_path / "none"), format="delta"))


# Layouts


@pytest.mark.parametrize("format_", ["auto", "delta"])
@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_the_first_row_with_an_id_is_that_of_the_first_file_by_name(
    tmp_path: Path, format_: Literal["auto", "delta"], names: tuple[str, str]
) -> None:
    for name in names:  # written, and given, in either order
        table = pa.table({"id": ["one", name, "one"], "text": [f"first of {name}", "x", "later"]})
        if format_ == "delta":
            write_deltalake(tmp_path / name, table)
        else:
            pq.write_table(table, tmp_path / f"{name}.parquet")
    suffix = "" if format_ == "delta" else ".parquet"
    paths = tuple(str(tmp_path / f"{name}{suffix}") for name in names)
    source = Source(path=paths, id="id", format=format_, on_duplicate="keep_first")
    rows = {row["doc_id"]: row["text"] for row in _rows(source)}
    assert rows == {"one": "first of a", "a": "x", "b": "x"}
    assert plan_source(source).units == plan_source(source).units


def test_a_delta_source_is_opened_with_the_storage_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, dict[str, str]]] = []

    def opened(path: str, storage_options: dict[str, str]) -> None:
        asked.append((path, storage_options))
        raise TableNotFoundError(path)

    monkeypatch.setattr("pipelines.source.delta.DeltaTable", opened)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    Storage(s3=S3(endpoint="http://localhost:1", path_style=True, attempts=3)).apply()
    try:
        expected = delta_options("s3://lake/t")
        with pytest.raises(ConfigError, match="no Delta table"):
            list_source(Source(path="s3://lake/t", format="delta"))
        with pytest.raises(ConfigError, match="cannot be read from memory://"):
            list_source(Source(path="memory://lake/t", format="delta"))
    finally:
        Storage().apply()
    assert asked == [("s3://lake/t", expected)]
    assert expected["aws_virtual_hosted_style_request"] == "false"


def _hive(root: Path) -> None:
    for number, (site, year) in enumerate([("a", 2024), ("b", 2025), ("north%20wing", 2025)]):
        _write(root / f"site={site}/year={year}/p.parquet", id=[str(number)])


def test_columns_in_paths(tmp_path: Path) -> None:
    _hive(tmp_path)
    (tmp_path / "site=c/year=2023").mkdir(parents=True)
    (tmp_path / "site=c/year=2023/q.txt").write_text("x")
    rows = _rows(Source(path=str(tmp_path), extra_columns=("site", "year")))
    assert [(r["site"], r["year"]) for r in rows] == [
        ("a", "2024"),
        ("b", "2025"),
        ("c", "2023"),
        ("north wing", "2025"),
    ]


@pytest.mark.parametrize(
    ("where", "sites"),
    [
        ({"site": ("a", "b")}, ["a", "b"]),
        ({"year": (2025,)}, ["b", "north wing"]),
        ({"year": Between(**{"from": 2025})}, ["b", "north wing"]),
        ({"year": Between(to="2024")}, ["a"]),
        ({"site": ("north wing",), "year": (2025,)}, ["north wing"]),
    ],
)
def test_where_filters_by_path(tmp_path: Path, where: Any, sites: list[str]) -> None:
    _hive(tmp_path)
    rows = _rows(Source(path=str(tmp_path), extra_columns=("site",), where=where))
    assert [row["site"] for row in rows] == sites


def test_where_with_an_unknown_partition_names_the_existing_ones(tmp_path: Path) -> None:
    _hive(tmp_path)
    with pytest.raises(ConfigError, match=r"where: no path has ward=\.\.\.; they have site"):
        list_source(Source(path=str(tmp_path), where={"ward": ("x",)}))
    with pytest.raises(ConfigError, match=r"no file at source\.path matches"):
        list_source(Source(path=str(tmp_path), where={"site": ("x",)}))


@pytest.mark.parametrize(
    "folder", ["notes [2024]", "what?", "a*b", "#1", "a+b 100%", "x::y", "{a,b}", "~x"]
)
def test_a_path_that_exists_is_that_path(tmp_path: Path, folder: str) -> None:
    root = tmp_path / folder
    root.mkdir()
    (root / "a+b #1 100%.csv").write_text("text\nx\n")
    assert _texts(Source(path=str(root))) == ["x"]
    assert _texts(Source(path=str(root / "a+b #1 100%.csv"))) == ["x"]


def test_a_pattern_takes_folders_too(tmp_path: Path) -> None:
    for name in ("2024-01", "2024-02", "2025-01"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(name)
    assert _texts(Source(path=str(tmp_path / "2024-*"))) == ["2024-01", "2024-02"]


# Columns


def test_dates_that_python_does_not_know_are_carried(tmp_path: Path) -> None:
    columns = {
        "far": pa.array([0, 253402300800000000, None], pa.timestamp("us", tz="UTC")),
        "never": pa.array([0, 2147483647, None], pa.date32()),
        "before": pa.array([0, -62135596800000001, None], pa.timestamp("us")),
        "zone": pa.array([0, 1, None], pa.timestamp("us", tz="Mars/Olympus")),
        "raw": pa.array([b"\xff", b"ok", None]).cast(pa.binary()).view(pa.string()),
    }
    _write(tmp_path / "a.parquet", **columns)
    table = _table(Source(path=str(tmp_path), extra_columns=tuple(columns), unit_rows=2))
    for name, column in columns.items():
        assert table[name].combine_chunks().equals(column), name


def test_types_are_unified_and_what_differs_is_an_error(tmp_path: Path) -> None:
    wards = [
        pa.array([None], pa.null()),
        pa.array(["ICU"]),
        pa.array(["ICU"], pa.large_string()),
        pa.array(["ICU"]).dictionary_encode(),
        pa.array(["ICU"], pa.string_view()),
    ]
    for number, ward in enumerate(wards):
        _write(tmp_path / f"{number}.parquet", ward=ward, n=pa.array([number], pa.int8()))
    _write(tmp_path / "5.parquet", n=pa.array([2**40]))
    _write(tmp_path / "6.parquet", n=pa.array([7], pa.uint16()))
    table = _table(Source(path=str(tmp_path), extra_columns=("ward", "n")))
    assert table["ward"].to_pylist() == [None, *["ICU"] * 4, None, None]
    assert (table.schema.field("ward").type, table.schema.field("n").type) == (
        pa.string(),
        pa.int64(),
    )
    assert table["n"].to_pylist() == [0, 1, 2, 3, 4, 2**40, 7]
    _write(tmp_path / "7.parquet", ward=pa.array([7]))
    with pytest.raises(ConfigError, match=r"ward is int64 in .*7\.parquet and string in .*1\.par"):
        plan_source(Source(path=str(tmp_path), extra_columns=("ward",)))
    with pytest.raises(ConfigError, match="no file has a column bed"):
        plan_source(Source(path=str(tmp_path / "1.parquet"), extra_columns=("bed",)))


ONE, BIG = uuid.UUID(int=1), uuid.UUID(int=2**127 + 5)


@pytest.mark.parametrize(
    ("column", "ids"),
    [
        (pa.array([ONE.bytes, BIG.bytes], pa.uuid()), [str(ONE), str(BIG)]),
        (pa.array([ONE.bytes, BIG.bytes], pa.binary(16)), [str(ONE), str(BIG)]),
        (pa.array([BIG.bytes, b"p-1"], pa.binary()), [str(BIG), "p-1"]),
        (pa.array([b"\xff\x00", b"\x01"], pa.large_binary()), ["ff00", "01"]),
        (pa.array([2**64 - 1, 0], pa.uint64()), ["18446744073709551615", "0"]),
        (pa.array([7.0, 1e15]), ["7", "1000000000000000"]),
        (pa.array([Decimal("12.00"), Decimal("3")]), ["12", "3"]),
        (pa.array([date(2024, 2, 29), None]), ["2024-02-29", "#1"]),
        (pa.array([float("nan"), 2.0]), ["#0", "2"]),
        (pa.array(["x", "x y"]).dictionary_encode(), ["x", "x y"]),
    ],
)
def test_ids_of_every_type(tmp_path: Path, column: pa.Array, ids: list[str]) -> None:
    path = tmp_path / "a.parquet"
    _write(path, id=column)
    found = [row["doc_id"] for row in _rows(Source(path=str(path), id="id"))]
    assert found == [f"{path.as_uri()}{one}" if one.startswith("#") else one for one in ids]


@pytest.mark.parametrize(
    "column", [pa.array([True, False]), pa.array([[1], [2]]), pa.array([0, 1], pa.timestamp("s"))]
)
def test_invalid_id_column_is_an_error_when_planning(tmp_path: Path, column: pa.Array) -> None:
    _write(tmp_path / "a.parquet", id=column)
    with pytest.raises(ConfigError, match=r"a\.parquet: source\.id: id has the type"):
        plan_source(Source(path=str(tmp_path), id="id"))


def test_a_fraction_is_no_id(tmp_path: Path) -> None:
    _write(tmp_path / "a.parquet", id=pa.array([1.5, 2.0]))
    assert [r["error_type"] for r in _rows(Source(path=str(tmp_path), id="id"))] == [
        "WrongType",
        "",
    ]


# Text formats


def test_a_quote_that_never_closes_is_a_failed_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.csv").write_text('id,text\n1,fine\n2,"never closed\n3,lost\n4,lost\n')
    with caplog.at_level(logging.WARNING):
        rows = _rows(Source(path=str(tmp_path), id="id"))
    assert [row["error_type"] for row in rows] == ["", "BadRow"]
    assert "line 3: an opening quote is never closed" in rows[1]["error_message"]
    assert "lost" not in rows[1]["error_message"]
    assert "line 3" in caplog.text


def test_a_quoted_last_row_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'id,text\r\n1,"a\r\nb"')
    assert _texts(Source(path=str(tmp_path))) == ["a\r\nb"]


def test_the_csv_dialect_is_configurable(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id;text\n1;"He said \\"take; metformin\\" daily."\n')
    source = Source(path=str(tmp_path), id="id", csv=Csv(delimiter=";", escape="\\"))
    assert _texts(source) == ['He said "take; metformin" daily.']
    (tmp_path / "a.csv").write_text('id,text\n1,|take, "metformin"|\n')
    assert _texts(Source(path=str(tmp_path), id="id", csv=Csv(quote="|"))) == ['take, "metformin"']
    (tmp_path / "a.csv").unlink()
    (tmp_path / "a.tsv").write_text("id\ttext\n1\tx, y\n")
    assert _texts(Source(path=str(tmp_path))) == ["x, y"]
    (tmp_path / "a.tsv").write_text("text\ttext\nx\ty\n")
    with pytest.raises(ConfigError, match=r"a\.tsv: the header has text more than once"):
        plan_source(Source(path=str(tmp_path)))


def test_json_files(tmp_path: Path) -> None:
    rows = [{"text": "a", "n": 1.5}, {"text": "é"}]
    (tmp_path / "array.json").write_text(json.dumps([*rows, 3], indent=1))
    (tmp_path / "lines.json").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "one.json").write_text(json.dumps({"text": "b"}, indent=1))
    found = _rows(Source(path=str(tmp_path), extra_columns=("n",)))
    assert [row["text"] for row in found] == ["a", "é", None, "a", "é", "b"]
    assert [row["n"] for row in found] == ["1.5", None, None, "1.5", None, None]
    assert found[2]["error_type"] == "BadRow"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "cp1252"])
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl", "a.json"])
def test_encodings_and_byte_order_marks(tmp_path: Path, encoding: str, name: str) -> None:
    content = {
        "a.txt": "fièvre\r\n",
        "a.csv": 'text\r\n"fièvre\r\n"\r\n',
        "a.jsonl": json.dumps({"text": "fièvre\r\n"}, ensure_ascii=False),
        "a.json": json.dumps([{"text": "fièvre\r\n"}], ensure_ascii=False),
    }[name]
    (tmp_path / name).write_bytes(content.encode(encoding))
    own = "cp1252" if encoding == "cp1252" else "utf-8"
    assert _texts(Source(path=str(tmp_path), encoding=own)) == ["fièvre\r\n"]


def test_a_line_beyond_the_limit_fails_alone(tmp_path: Path) -> None:
    long = json.dumps({"text": "x" * 3_000_000})
    (tmp_path / "a.jsonl").write_text(f'{{"text": "1"}}\n{long}\n{{"text": "2"}}\n')
    rows = _rows(Source(path=str(tmp_path), max_document_mb=1))
    assert [row["error_type"] for row in rows] == ["", "TooLarge", ""]
