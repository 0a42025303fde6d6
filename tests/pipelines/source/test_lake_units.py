"""Units of work: what they cover, and that their ids follow from what they are."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.config import ConfigError
from pipelines.batch.describe import describe
from pipelines.config import Source, load_pipeline
from pipelines.source.listing import SourceFile
from pipelines.source.units import _pack, plan_source


def _write(path: Path, rows: int, **columns: pa.Array) -> None:
    texts = pa.array([f"note {i}" for i in range(rows)])
    pq.write_table(pa.table({"text": texts, **columns}), path, row_group_size=7)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 10_000)), max_size=20),
    st.integers(1, 12),
    st.sampled_from([0.000_5, 0.005, 1.0]),
)
def test_units_cover_every_row_once_and_stay_small(
    files: list[tuple[int, int]], unit_rows: int, unit_mb: float
) -> None:
    source = Source(path="x", unit_rows=unit_rows, unit_mb=unit_mb)
    counted = [
        (SourceFile(f"f{i}", size, "v", "jsonl"), rows) for i, (rows, size) in enumerate(files)
    ]
    units = list(_pack(counted, source))
    covered = [
        (part.uri, row)
        for unit in units
        for part in unit.slices
        for row in range(part.start, part.start + part.count)
    ]
    assert covered == [(file.uri, row) for file, rows in counted for row in range(rows)]
    assert all(1 <= unit.rows <= unit_rows for unit in units)
    assert len({unit.id for unit in units}) == len(units)


def test_ids_follow_from_path_version_and_rows_alone(tmp_path: Path) -> None:
    _write(tmp_path / "a.parquet", 20)
    _write(tmp_path / "b.parquet", 3)
    source = Source(path=str(tmp_path), unit_rows=8)
    first, second = plan_source(source), plan_source(source)
    assert [u.id for u in first.units] == [u.id for u in second.units]
    assert [u.rows for u in first.units] == [8, 8, 4, 3]
    _write(tmp_path / "b.parquet", 4)
    assert [u.id for u in plan_source(source).units][:3] == [u.id for u in first.units][:3]
    assert plan_source(source).units[3].id != first.units[3].id


def test_small_files_share_a_unit(tmp_path: Path) -> None:
    for i in range(10):
        (tmp_path / f"{i}.txt").write_text("a note")
    plan = plan_source(Source(path=str(tmp_path), unit_rows=4))
    assert [u.rows for u in plan.units] == [4, 4, 2]
    assert plan.rows == 10


def test_csv_with_newlines_in_fields_and_jsonl_with_blank_lines_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,text\n1,"two\nlines"\n2,x\n')
    (tmp_path / "b.jsonl").write_text('{"text": "x"}\n\n{"text": "y"}')
    assert plan_source(Source(path=str(tmp_path))).rows == 4


def test_missing_columns_are_an_error_that_names_file_and_columns(tmp_path: Path) -> None:
    _write(tmp_path / "a.parquet", 2)
    with pytest.raises(ConfigError, match=r"a\.parquet: no column note; the file has text"):
        plan_source(Source(path=str(tmp_path), text="note"))
    pq.write_table(pa.table({"text": pa.array([1, 2])}), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="the type int64, not a string"):
        plan_source(Source(path=str(tmp_path)))


def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no, not really")
    with pytest.raises(ConfigError, match=r"no file can be read.*a\.parquet: the file cannot"):
        plan_source(Source(path=str(tmp_path)))


def test_kept_columns_must_agree_and_not_collide(tmp_path: Path) -> None:
    _write(tmp_path / "a.parquet", 1, ward=pa.array([1]))
    _write(tmp_path / "b.parquet", 1, ward=pa.array(["x"]))
    with pytest.raises(ConfigError, match=r"is string in .*b\.parquet and int64 in .*a\.parquet"):
        plan_source(Source(path=str(tmp_path), extra_columns=("ward",)))
    (tmp_path / "c.jsonl").write_text(json.dumps({"text": "x"}))
    (tmp_path / "p.yaml").write_text(
        "name: p\nsource: {path: c.jsonl, extra_columns: [status]}\nsink: {path: out}\n"
        "steps: [{model: 'starter:token-classifier'}]\n"
    )
    loaded = load_pipeline(tmp_path / "p.yaml")
    with pytest.raises(ConfigError, match="collide"):
        describe(loaded, plan_source(loaded.pipeline.source))
