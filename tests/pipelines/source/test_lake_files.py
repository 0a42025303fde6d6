"""Listing a source."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.config import ConfigError
from pipelines.source.listing import list_files


def _names(files: list[object]) -> list[str]:
    return [Path(str(getattr(f, "uri"))).name for f in files]  # noqa: B009


def test_a_folder_is_read_deep_and_hidden_names_are_not(tmp_path: Path) -> None:
    for name in ("b.parquet", "a.jsonl", "deep/c.csv", "_runs/x.parquet", ".d.parquet", "e.bin"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert _names(list(list_files([str(tmp_path)], "auto"))) == ["a.jsonl", "b.parquet", "c.csv"]


def test_globs_and_lists_name_a_file_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.txt").write_text("x")
    files = list_files([f"{tmp_path}/*.txt", f"{tmp_path}/a.txt"], "auto")
    assert _names(list(files)) == ["a.txt", "b.txt"]


def test_a_version_changes_with_the_content(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one")
    before = list_files([str(path)], "auto")[0].version
    path.write_text("longer")
    assert list_files([str(path)], "auto")[0].version != before


def test_nothing_there_is_an_error_that_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is nothing at .*missing"):
        list_files([f"{tmp_path}/missing"], "auto")
    (tmp_path / "x.bin").write_text("x")
    with pytest.raises(ConfigError, match="no file of a known format"):
        list_files([str(tmp_path)], "auto")
    with pytest.raises(ConfigError, match=r"set source\.format"):
        list_files([f"{tmp_path}/x.bin"], "auto")
    assert list_files([f"{tmp_path}/x.bin"], "text")[0].format == "text"
