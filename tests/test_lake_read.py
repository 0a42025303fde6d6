"""Reading units: every row comes out, a bad one as a failed one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.config import Source
from pipelines.source.read import DuplicateIdsError, SourceChangedError, read_units
from pipelines.source.units import plan_source


def _rows(source: Source) -> list[dict[str, Any]]:
    plan = plan_source(source)
    tables = read_units(plan.units, source, plan.keep)
    return [row for table in tables for row in table.to_pylist()]


def test_parquet_rows_keep_ids_text_and_kept_columns(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array([7, None, 9]),
            "text": pa.array(["a", "bệnh nhân", None]),
            "ward": pa.array([1.5, None, 2.5]),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    rows = _rows(Source(path=str(tmp_path), id="id", keep=("ward",)))
    uri = (tmp_path / "a.parquet").as_uri()
    assert [row["doc_id"] for row in rows] == ["7", f"{uri}#1", "9"]
    assert [row["text"] for row in rows] == ["a", "bệnh nhân", None]
    assert [row["ward"] for row in rows] == [1.5, None, 2.5]
    assert [row["error_type"] for row in rows] == ["", "", "MissingText"]


@pytest.mark.parametrize("type_", [pa.string(), pa.large_string(), pa.string_view()])
def test_every_kind_of_string_column(tmp_path: Path, type_: pa.DataType) -> None:
    array = pa.array(["a", "é"], type_)
    pq.write_table(pa.table({"text": array}), tmp_path / "a.parquet")
    assert [row["text"] for row in _rows(Source(path=str(tmp_path)))] == ["a", "é"]


def test_dictionary_text(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"text": pa.array(["a", "b", "a"]).dictionary_encode()}), tmp_path / "a.parquet"
    )
    assert [row["text"] for row in _rows(Source(path=str(tmp_path)))] == ["a", "b", "a"]


def test_invalid_utf8_in_a_string_column_fails_its_row_alone(tmp_path: Path) -> None:
    raw = pa.array([b"good", b"bad \xff\xfe", b"good too"], pa.binary())
    lying = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    pq.write_table(pa.table({"text": lying}), tmp_path / "a.parquet")
    rows = _rows(Source(path=str(tmp_path)))
    assert [row["error_type"] for row in rows] == ["", "InvalidUTF8", ""]
    assert "byte 4" in rows[1]["error_message"]


def test_bad_jsonl_rows_are_rows_and_quote_nothing(tmp_path: Path) -> None:
    lines = [
        '{"text": "fine", "id": "a"}',
        '{"text": "John Smith", ',
        '["John Smith"]',
        '{"text": 5}',
        '{"note": "John Smith"}',
        '{"text": "half \\ud83d John Smith"}',
        '{"text": "x", "id": {"John Smith": 1}}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    rows = _rows(Source(path=str(tmp_path), id="id"))
    assert [row["error_type"] for row in rows] == [
        "",
        "BadRow",
        "BadRow",
        "WrongType",
        "MissingText",
        "InvalidUTF8",
        "WrongType",
    ]
    assert len({row["doc_id"] for row in rows}) == len(rows)
    assert not any("Smith" in row["error_message"] for row in rows)


def test_csv_with_crlf_and_quotes_keeps_text_as_it_is(tmp_path: Path) -> None:
    content = 'text,id\r\n"line one\r\nline ""two""",1\r\nonly-one-field\r\nb\xff,3\r\n'
    (tmp_path / "a.csv").write_bytes(content.encode("latin-1"))
    rows = _rows(Source(path=str(tmp_path), id="id"))
    assert rows[0]["text"] == 'line one\r\nline "two"'
    assert [row["error_type"] for row in rows] == ["", "BadRow", "InvalidUTF8"]


def test_text_files_are_bytes_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("dòng\r\nhai\n".encode())
    (row,) = _rows(Source(path=str(tmp_path)))
    assert row["text"] == "dòng\r\nhai\n"
    assert row["doc_id"] == (tmp_path / "a.txt").as_uri()


def test_a_text_too_large_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        json.dumps({"text": "x" * 2_000_000}) + "\n" + json.dumps({"text": "y"})
    )
    rows = _rows(Source(path=str(tmp_path), max_document_mb=1))
    assert [row["error_type"] for row in rows] == ["TooLarge", ""]
    assert rows[0]["text"] is None


def test_ids_twice_in_a_unit_are_an_error_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "p1", "text": "x"}\n{"id": "p1", "text": "y"}')
    with pytest.raises(DuplicateIdsError, match="have the id p1"):
        _rows(Source(path=str(tmp_path), id="id"))


def test_a_file_that_shrank_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x"}\n{"text": "y"}')
    source = Source(path=str(tmp_path))
    plan = plan_source(source)
    path.write_text('{"text": "x"}')
    with pytest.raises(SourceChangedError, match=r"a\.jsonl: was changed after"):
        list(read_units(plan.units, source, plan.keep))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 11), st.data())
def test_any_subset_of_units_reads_the_rows_it_says(
    rows: int, unit_rows: int, group: int, data: st.DataObject
) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        table = pa.table({"text": [f"text {i}" for i in range(rows)]})
        pq.write_table(table, f"{folder}/a.parquet", row_group_size=group)
        source = Source(path=folder, unit_rows=unit_rows)
        plan = plan_source(source)
        chosen = [u for u in plan.units if data.draw(st.booleans())]
        expected = [
            f"text {i}" for u in chosen for s in u.slices for i in range(s.start, s.start + s.count)
        ]
        tables = list(read_units(chosen, source, plan.keep))
    assert [row for t in tables for row in t["text"].to_pylist()] == expected
    assert [t.num_rows for t in tables] == [u.rows for u in chosen]
