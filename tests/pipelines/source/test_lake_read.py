"""Reading units: every row comes out, a bad one as a failed one."""

from __future__ import annotations

import gc
import json
import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.config import Source
from pipelines.source.duplicates import DuplicateIdsError, digests, repeated, stretches
from pipelines.source.read import read_units
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
    rows = _rows(Source(path=str(tmp_path), id="id", extra_columns=("ward",)))
    uri = (tmp_path / "a.parquet").as_uri()
    assert [row["doc_id"] for row in rows] == ["7", f"{uri}#1", "9"]
    assert [row["text"] for row in rows] == ["a", "bệnh nhân", None]
    assert [row["ward"] for row in rows] == [1.5, None, 2.5]
    assert [row["error_type"] for row in rows] == ["", "", "MissingText"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"text": "a"}\n{"text": "b"}\n'),
        ("a.json", '[{"text": "a"}, {"text": "b"}]'),
        ("a.csv", "text\na\nb\n"),
        ("a.txt", "a"),
    ],
)
def test_text_files_are_closed_and_not_left_to_the_collector(
    name: str, content: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        assert _rows(Source(path=str(tmp_path)))[0]["text"] == "a"
        gc.collect()
    assert [str(one.message) for one in caught if name in str(one.message)] == []


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


def test_rows_with_ids_of_earlier_rows(tmp_path: Path) -> None:
    files: list[list[str | None]] = [["a", "b", "a", "a"], ["c", None, None], ["b", "d", "c"]]
    for number, ids in enumerate(files):
        table = pa.table({"id": pa.array(ids, pa.string()), "text": ["x"] * len(ids)})
        pq.write_table(table, tmp_path / f"{number}.parquet")
    (tmp_path / "3.jsonl").write_text('{"id": "d", "text": "x"}\n{"id": "e", "text": "x"}')
    source = Source(path=str(tmp_path), id="id", unit_rows=3)
    rows = _rows(source)
    uri = tmp_path.as_uri()
    assert len(rows) == 12
    assert [row["doc_id"] for row in rows if row["error_type"] == "DuplicateId"] == [
        f"{uri}/0.parquet#2",
        f"{uri}/0.parquet#3",
        f"{uri}/2.parquet#0",
        f"{uri}/2.parquet#2",
        f"{uri}/3.jsonl#0",
    ]
    assert len({row["doc_id"] for row in rows}) == 12
    kept = _rows(source.model_copy(update={"on_duplicate": "keep_first"}))
    assert [r["doc_id"] for r in kept if not r["doc_id"].startswith("file:")] == list("abcde")
    assert not any(row["error_type"] for row in kept)
    with pytest.raises(DuplicateIdsError, match="5 rows have the id of an earlier row"):
        plan_source(source.model_copy(update={"on_duplicate": "error"}))


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=9), min_size=1, max_size=4))
def test_repeated_ids_are_all_but_the_first(files: list[list[str]]) -> None:
    seen: set[str] = set()
    expected: list[list[int]] = []
    for ids in files:
        expected.append([])
        for row, one in enumerate(ids):
            if one in seen:
                expected[-1].append(row)
            seen.add(one)
    found = repeated([digests(ids) for ids in files])
    assert [rows.tolist() for rows in found] == expected
    for ids, rows in zip(files, found, strict=True):
        marked = [again for _, n, again in stretches(0, len(ids), rows) for again in [again] * n]
        assert marked == [row in rows for row in range(len(ids))]


def test_a_file_that_changed_since_it_was_planned_is_a_failed_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x"}\n{"text": "y"}')
    (tmp_path / "b.jsonl").write_text('{"text": "z"}')
    source = Source(path=str(tmp_path))
    plan = plan_source(source)
    path.write_text('{"text": "x"}')
    rows = [r for table in read_units(plan.units, source, plan.keep) for r in table.to_pylist()]
    assert [(row["text"], row["error_type"]) for row in rows] == [(None, "BadFile"), ("z", "")]
    path.unlink()
    rows = [r for table in read_units(plan.units, source, plan.keep) for r in table.to_pylist()]
    assert rows[0]["error_message"] == "the file is gone"
    assert rows[0]["doc_id"] == path.as_uri()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 11), st.data())
def test_any_subset_of_units_reads_its_own_rows(
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
