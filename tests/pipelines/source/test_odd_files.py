"""Files that hold something other than they should: each fails alone, or is counted by name."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.config import ConfigError
from pipelines.config import Source
from pipelines.source.listing import list_source
from pipelines.source.read import read_units
from pipelines.source.units import plan_source

GOOD = b"text,n\nAspirin 81 mg,1\n"


def _rows(folder: Path, **settings: Any) -> list[dict[str, Any]]:
    source = Source(path=str(folder), **settings)
    plan = plan_source(source)
    tables = list(read_units(plan.units, source, plan.keep))
    return [row for table in tables for row in table.to_pylist()]


def _seen(folder: Path, **settings: Any) -> list[tuple[str, str, str | None]]:
    """File, type of the error, and text of each row."""
    return [
        (row["source"].rpartition("/")[2], row["error_type"], row["text"])
        for row in _rows(folder, **settings)
    ]


def _parquet(**columns: Any) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    return content.getvalue()


def _zip() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.txt", "x")
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("bad.csv", b"\n\n", "the file has no header"),
        ("bad.csv", b"note,n\nx,1\n", "no column text; the file has note, n"),
        ("bad.csv", b"text,n,n\nx,1,2\n", "the header has n more than once"),
        ("bad.csv", b"text;n\nx;1\n", "see source.csv.delimiter"),
        ("bad.csv", _zip(), "the file is a ZIP archive"),
        ("bad.csv", _parquet(text=["x"]), "the file is a Parquet file"),
        ("bad.jsonl", b"%PDF-1.7 x", "an image or PDF"),
        ("bad.jsonl", '{"text": "x"}'.encode("utf-16-le"), "without a byte-order mark"),
        ("bad.txt", "Aspirin".encode("utf-16-le"), "without a byte-order mark"),
        ("bad.txt", b"Aspirin \x00\x01\x02", "control characters"),
        ("bad.txt", _zip(), "the file is a ZIP archive"),
        ("bad.txt", b"", "the file is empty"),
        ("bad.parquet", _parquet(note=["x"]), "no column text; the file has note"),
        ("bad.parquet", _parquet(text=[1, 2]), "the text column has the type int64"),
        ("bad.parquet", _parquet(text=[["x"]]), "the text column has the type list"),
    ],
)
def test_a_file_that_does_not_fit_fails_alone_and_names_the_reason(
    tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    (tmp_path / "good.csv").write_bytes(GOOD)
    (tmp_path / name).write_bytes(content)
    bad, good = sorted(_rows(tmp_path), key=lambda row: row["source"])
    assert (bad["error_type"], bad["text"], bad["doc_id"]) == ("BadFile", None, bad["source"])
    assert why in bad["error_message"]
    assert (good["error_type"], good["text"]) == ("", "Aspirin 81 mg")


def test_a_csv_file_without_a_header_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Mrs. Miller, 54, takes aspirin,3\n")
    with pytest.raises(ConfigError, match="names that look like data") as raised:
        plan_source(Source(path=str(tmp_path)))
    assert "Miller" not in str(raised.value)


def test_an_id_column_of_one_file_that_can_hold_none_fails_that_file(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(_parquet(text=["x"], id=[{"a": 1}]))
    (tmp_path / "b.parquet").write_bytes(_parquet(text=["y"], id=["1"]))
    bad, good = _rows(tmp_path, id="id")
    assert "source.id: id has the type struct<a: int64>" in bad["error_message"]
    assert good["doc_id"] == "1"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl.gz", gzip.compress(b'{"text": "a"}\n{"text": "b"}\n') + b"garbage"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "a"}\n{"text": "b"}\n') + b"\x1f\x8b\x08"),
        ("a.json", b'[{"text": "a"}, {"text": "b"}'),
        ("a.json", b'[{"text": "a"}, {"text": "b"}] more'),
    ],
)
def test_rows_before_the_damage_of_a_file_are_read(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    seen = [(error, text) for _, error, text in _seen(tmp_path, id="id")]
    assert seen == [("", "a"), ("", "b"), ("BadFile", None)]


def test_keys_that_come_twice_fail_their_row(tmp_path: Path) -> None:
    rows = ['{"text": "a", "text": "b"}', '{"text": "c", "x": {"k": 1, "k": 2}}', '{"text": "d"}']
    (tmp_path / "a.json").write_text(f"[{','.join(rows)}]")
    (tmp_path / "b.jsonl").write_text("\n".join(rows))
    wanted = [("BadRow", None), ("BadRow", None), ("", "d")]
    assert [(error, text) for _, error, text in _seen(tmp_path)] == wanted * 2


def test_lines_of_a_fhir_export_are_read(tmp_path: Path) -> None:
    attachment = {"contentType": "text/plain", "data": base64.b64encode(b"Aspirin").decode()}
    resource = {
        "resourceType": "DocumentReference",
        "id": "d1",
        "text": {"status": "generated", "div": "<div>a summary</div>"},
        "content": [
            {"attachment": attachment},
            {"attachment": {"contentType": "application/pdf", "data": "AAAA"}},
            {"attachment": {"contentType": "text/plain", "url": "Binary/7"}},
        ],
    }
    (tmp_path / "a.ndjson").write_text(json.dumps(resource) + "\n")
    (row,) = _rows(tmp_path, id="id")
    assert (row["doc_id"], row["text"], row["error_type"]) == ("d1", "Aspirin", "")
    assert row["problems"] == ["attachments left out: 1 application/pdf, 1 at an address"]


def test_files_of_messages_and_documents_are_read_by_their_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(
        "<ClinicalDocument><component><section><text>Aspirin</text></section></component>"
        "</ClinicalDocument>"
    )
    (tmp_path / "b.hl7").write_text("MSH|^~\\&|A\rOBX|1|TX|||Metformin\r")
    assert [text for *_, text in _seen(tmp_path)] == ["Aspirin", "Metformin"]


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.html", "<html><meta charset=windows-1252><p>fièvre</p>".encode("cp1252"), "fièvre"),
        ("a.html", "<html><meta charset=windows-1252><p>fièvre</p>".encode(), "fièvre"),
        ("a.rtf", b"{\\rtf1\\ansi\\ansicpg1250 n\xeczak \\'ec}", "nězak ě"),
        ("a.rtf", b"{\\rtf1\\ansi \\u-10179?\\u-8704? \\u-8704?x}", "😀 �x"),
        ("a.xml", "<?xml version='1.0' encoding='latin-1'?><b>à</b>".encode("latin-1"), "à"),
    ],
)
def test_files_of_markup_state_their_encoding(
    tmp_path: Path, name: str, content: bytes, text: str
) -> None:
    (tmp_path / name).write_bytes(content)
    ((_, error, seen),) = _seen(tmp_path)
    assert (error, text in str(seen)) == ("", True), seen


def test_links_and_odd_names_are_read_or_counted(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("one")
    (folder / "b.txt").symlink_to("a.txt")
    (folder / "gone.txt").symlink_to("none.txt")
    (folder / "self.txt").symlink_to("self.txt")
    (folder / "deep" / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.txt")
    (folder / "new\nline\t#1?.txt").write_text("two")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.txt")).write_text("three")
    assert sorted(text or "" for *_, text in _seen(folder)) == ["one", "one", "two"]
    assert dict(list_source(Source(path=str(folder))).skipped) == {
        "link without a target": 2,
        "link to a folder": 1,
        "no regular file": 1,
        "name that is not UTF-8": 1,
    }
    with pytest.raises(ConfigError, match="1 link to a folder"):
        list_source(Source(path=str(folder), strict=True))
    assert [text for *_, text in _seen(folder / "?.txt")] == ["one", "one"]


def test_a_folder_that_cannot_be_listed_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.txt").write_text("one")
    scandir = os.scandir

    def refused(path: str) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    listing = list_source(Source(path=str(tmp_path)))
    assert len(listing.files) == 1
    assert dict(listing.skipped) == {"folder that cannot be listed": 1}
