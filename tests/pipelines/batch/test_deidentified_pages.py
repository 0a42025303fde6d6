"""De-identified pages as files of a batch: covered, looked at again, named by rows, cleaned up."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.bar_codes import coded_file, codes_of
from support.deidentify import SECRET, counterparts
from support.images import dicom
from support.lake import Quiet, hashing, pipeline
from support.painted_pages import PaintedReader, painted, painted_file
from support.s3_server import serving
from support.without_ray import _without_ray  # noqa: F401

import actors.ocr
from actors.config import ConfigError
from actors.pages import open_pages, page_format
from actors.spans import Box, Document, Extraction, Failure, MarkKind, PageMark, spanning
from pipelines.batch import finish
from pipelines.batch.run import RunFailedError, begin_run, drive_run
from pipelines.config import LoadedPipeline
from pipelines.deidentification import KEY
from pipelines.deidentified_report import _notices
from pipelines.enrich import Pass, enrich_once
from pipelines.runs import maintenance
from pipelines.runs.counterparts import read_counterparts
from pipelines.runs.store import RunStore
from pipelines.source.units import plan_source
from pipelines.storage import S3, Storage
from pipelines.tables.unit_files import write_unit_tables

pytestmark = pytest.mark.usefixtures("_without_ray")
SCAN = "Patient: Jonathan Doe, MRN 998877. Takes aspirin, metformin"
SECOND = "Mr. Doe, born 1961-03-02, is well"
OTHER = "Dr. Anna Weber, phone (312) 555-0199. Takes ibuprofen"
FOUND = "jane@example.org"
FOLDER = "deidentified/pages"


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> type[PaintedReader]:
    monkeypatch.setenv(KEY, SECRET.decode())
    kind = type("Reader", (PaintedReader,), {"texts": {1: SCAN, 2: SECOND, 3: OTHER}})
    monkeypatch.setattr(actors.ocr, "OcrReader", kind)
    return kind


class Lake:
    """A folder of scans and a sink."""

    def __init__(self, folder: Path, sink: str = "") -> None:
        self.source, self.sink = folder / "in", RunStore(sink or str(folder / "out"))
        self.source.mkdir()

    def loaded(self, section: dict[str, Any] | None = None, **more: Any) -> LoadedPipeline:
        chosen = {"pages": True, "preset": "strict", **(section or {})}
        settings = {"ids": False, "ocr": {"model": "starter:ocr"}, **more}
        return pipeline(str(self.source), self.sink.path, deidentify=chosen, **settings)

    def enrich(self, section: dict[str, Any] | None = None, load: Any = None, **more: Any) -> Pass:
        found = self.loaded(section, **more)
        return enrich_once(found, Quiet(), nullcontext(), load or hashing())

    def files(self) -> set[str]:
        """The files of pages, below the folder ``deidentified``."""
        return {f"pages/{path}" for path in self.sink.folder.times(FOLDER)}

    def rows(self) -> dict[str, dict[str, Any]]:
        """The counterparts by the name of the source's file."""
        return {Path(id_).name.split("#")[0]: row for id_, row in counterparts(self.sink).items()}

    def content(self, row: dict[str, Any]) -> bytes:
        found = self.sink.folder.read(f"deidentified/{row['page_file']}")
        assert found is not None
        return found


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path)
    (made.source / "jonathan-doe.png").write_bytes(painted_file([(1, SCAN)]))
    (made.source / "weber.tiff").write_bytes(painted_file([(3, OTHER), (2, SECOND)], "TIFF"))
    (made.source / "letter.txt").write_text("Patient: Kim Baxter. Takes aspirin")
    return made


def test_pages_are_files_that_rows_name_and_whose_names_say_nothing(lake: Lake) -> None:
    lake.enrich()
    rows = lake.rows()
    assert {name: row["status"] for name, row in rows.items()} == dict.fromkeys(rows, "ok")
    assert rows["letter.txt"]["page_file"] is None
    scan, weber = rows["jonathan-doe.png"], rows["weber.tiff"]
    assert lake.files() == {scan["page_file"], weber["page_file"]}
    for file in lake.files():
        assert "doe" not in file.lower()
        assert "weber" not in file.lower()
        assert len(file.split(".")[-2]) == 32, "a keyed hash"
    assert [page_format(lake.content(row)) for row in (scan, weber)] == ["png", "tiff"]
    assert len([*open_pages(lake.content(weber))]) == 2


def test_the_words_that_were_replaced_are_black_and_no_others(
    lake: Lake, reader: type[PaintedReader]
) -> None:
    lake.enrich()
    for name, first, taken in (
        ("jonathan-doe.png", SCAN, ("Jonathan", "Doe,", "998877.")),
        ("weber.tiff", f"{OTHER} {SECOND}", ("Anna", "Weber,", "(312)", "Doe,", "1961-03-02,")),
    ):
        row = lake.rows()[name]
        read = reader().submit(Document("", image=lake.content(row))).result()
        assert not set(taken) & set(read.text.split())  # type: ignore[union-attr]
        kept = [word for word in first.split() if word not in {*taken, "555-0199."}]
        assert read.text.split() == kept  # type: ignore[union-attr]
        assert row["text"].count("[") == len(row["pair"]["edits"])


def test_bar_codes_are_covered_and_what_they_say_is_in_no_table(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lake.source / "coded.png").write_bytes(coded_file(painted(3, OTHER), "4471120"))
    lake.enrich()
    row = lake.rows()["coded.png"]
    assert row["status"] == "ok"
    counts = {one["category"]: one["count"] for one in row["counts"]}
    assert counts["BARCODE"] == 1
    assert codes_of(lake.content(row)) == []
    marks = row["original"]["marks"]
    assert [sorted(mark) for mark in marks] == [["box", "kind"]]
    assert [mark["kind"] for mark in marks] == ["barcode"]

    def found(*_: object) -> None:
        raise ValueError("4471120")

    monkeypatch.setattr("actors.pages.bar_codes.find_bar_codes", found)
    (lake.source / "more.png").write_bytes(coded_file(painted(1, SCAN), "4471120"))
    lake.enrich()
    row = lake.rows()["more.png"]
    assert (row["status"], row["error_type"], row["text"]) == ("failed", "ValueError", None)
    assert row["page_file"] is None
    assert row["original"]["status"] == "ok"


def test_without_the_key_of_the_section_there_are_no_pages(lake: Lake) -> None:
    loaded = lake.loaded({"pages": False})
    assert [stage.name for stage in loaded.stages if stage.second_look] == [
        "starter-token-classifier (second look)"
    ]
    lake.enrich({"pages": False})
    assert {row["page_file"] for row in lake.rows().values()} == {None}
    assert lake.files() == set()


def test_ocr_has_a_second_look_whoever_else_has_one(lake: Lake) -> None:
    for look, names in (
        ("models", ["ocr (second look)", "starter-token-classifier (second look)"]),
        ("rules", ["ocr (second look)"]),
    ):
        loaded = lake.loaded({"second_look": look})
        assert [stage.name for stage in loaded.stages if stage.second_look] == names
        assert LoadedPipeline.from_json(loaded.as_json()).stages == loaded.stages
    done = lake.enrich({"second_look": "rules"})
    assert done.outcome is not None
    assert done.outcome.tally.seconds["ocr (second look)"] > 0
    assert len(lake.files()) == 2


def test_pages_need_ocr(lake: Lake) -> None:
    with pytest.raises(ValueError, match=r"deidentify\.pages needs an `ocr` section"):
        lake.loaded(ocr=None)


@pytest.mark.parametrize("look", ["models", "rules"])
def test_what_ocr_reads_on_a_covered_page_holds_the_document_back(
    lake: Lake, reader: type[PaintedReader], look: str
) -> None:
    reader.also = FOUND
    lake.enrich({"second_look": look})
    rows = lake.rows()
    assert rows["letter.txt"]["status"] == "ok"
    found = {"category": "EMAIL", "by": "email"}
    for name, pages in (("jonathan-doe.png", 1), ("weber.tiff", 2)):
        row = rows[name]
        assert (row["status"], row["text"], row["page_file"]) == ("residue", None, None)
        assert row["residue"] == [found] * pages
        assert row["pair"]["residue"] == [{"start": None, "end": None} | found] * pages
    assert lake.files() == set()
    latest = lake.sink.latest()
    said = [
        words
        for one in read_counterparts(lake.sink.snapshot(), latest)
        for _, words in _notices(one)
    ]
    assert said.count("Read on the covered page: EMAIL by email.") == 2


def test_residue_that_is_allowed_lets_text_and_pages_out(
    lake: Lake, reader: type[PaintedReader]
) -> None:
    reader.also = FOUND
    lake.enrich({"residue": "allow"})
    row = lake.rows()["weber.tiff"]
    assert row["status"] == "residue"
    assert row["text"] is not None
    assert {row["page_file"]} < lake.files()


def test_models_read_the_covered_page_too(lake: Lake, reader: type[PaintedReader]) -> None:
    """OCR reads a word on the covered page that only a model knows as a name."""
    reader.also = "Smurf"

    class Knows:
        fingerprint = "knows"

        def __init__(self, config: Any, share: Any) -> None:
            self._hashing = hashing()(config, share)

        def submit(self, document: Document) -> Any:
            future = self._hashing.submit(document)
            text = document.text or ""
            if "Smurf" in text:
                at = text.index("Smurf")
                more = spanning(text, at, at + 5, "PATIENT", model="m")
                found: Extraction = future.result()
                future = type(future)()
                future.set_result(replace(found, entities=(*found.entities, more)))
            return future

    done = lake.enrich(load=Knows)
    assert {r["status"] for n, r in lake.rows().items() if n != "letter.txt"} == {"residue"}
    assert lake.files() == set()
    assert done.outcome is not None
    assert done.outcome.tally.deidentified == {"ok": 1, "residue": 2}
    lake.enrich({"second_look": "rules"}, load=Knows)
    assert {row["status"] for row in lake.rows().values()} == {"ok"}


def test_nothing_leaves_of_pages_that_ocr_cannot_read_again(
    lake: Lake, reader: type[PaintedReader]
) -> None:
    reader.failing = True
    lake.enrich()
    row = lake.rows()["jonathan-doe.png"]
    assert (row["status"], row["error_type"], row["text"]) == ("failed", "TooSlow", None)
    assert lake.files() == set()


def test_nothing_leaves_of_pages_that_cannot_be_covered(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def burnt(*_: object, **__: object) -> None:
        raise MemoryError(SCAN)

    monkeypatch.setattr("actors.deidentify.page_redaction.burnt", burnt)
    lake.enrich()
    row = lake.rows()["jonathan-doe.png"]
    assert (row["status"], row["error_type"], row["text"]) == ("failed", "MemoryError", None)
    assert lake.rows()["letter.txt"]["status"] == "ok"
    assert lake.files() == set()


def test_a_file_that_ocr_cannot_read_is_failed_and_has_no_pages(lake: Lake) -> None:
    (lake.source / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    lake.enrich()
    row = lake.rows()["broken.png"]
    assert (row["status"], row["page_file"]) == ("failed", None)
    assert len(lake.files()) == 2


@pytest.mark.parametrize("form", ["GIF", "WEBP", "TIFF", "AVIF", "PDF"])
def test_every_frame_of_a_file_is_covered(
    tmp_path: Path, reader: type[PaintedReader], form: str
) -> None:
    lake = Lake(tmp_path)
    pages = [(1, SCAN), (2, SECOND), (3, OTHER)]
    name = f"scan.{form.lower()}"
    (lake.source / name).write_bytes(painted_file(pages, form))
    lake.enrich()
    row = lake.rows()[name]
    assert row["status"] == "ok"
    content = lake.content(row)
    assert len([*open_pages(content)]) == 3
    seen = reader().submit(Document("", image=content)).result()
    assert not isinstance(seen, Failure)
    assert not {"Jonathan", "Doe,", "998877.", "Anna", "Weber,"} & {*seen.text.split()}
    assert {"aspirin,", "well", "ibuprofen"} <= {*seen.text.split()}


def test_a_dicom_file_stays_one_and_loses_its_patient(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    values = np.asarray(painted(1, SCAN).convert("L")).astype(np.uint16)
    ids = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "SOPInstanceUID": "1.2.3"}
    content = dicom(values, PatientName="Doe^Jonathan", PatientID="998877", **ids)
    (lake.source / "a.dcm").write_bytes(content)
    lake.enrich()
    (row,) = lake.rows().values()
    assert row["status"] == "ok"
    assert row["page_file"].endswith(".dcm")
    assert page_format(lake.content(row)) == "dicom"
    assert b"Doe^Jonathan" not in lake.content(row)


def test_a_unit_that_is_done_again_leaves_no_page_that_a_row_does_not_have(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends after the pages and before the tables; the run goes on later."""

    def dies(*args: Any) -> Any:
        raise OSError("the disk is gone")

    loaded = lake.loaded()
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    monkeypatch.setattr(finish, "write_unit_tables", dies)
    with pytest.raises(RunFailedError):
        drive_run(lake.sink, run_id, Quiet(), hashing())
    orphans = lake.files()
    assert len(orphans) == 2
    monkeypatch.setattr(finish, "write_unit_tables", write_unit_tables)
    drive_run(lake.sink, run_id, Quiet(), hashing())
    named = {row["page_file"] for row in lake.rows().values()} - {None}
    assert len(named) == 2
    assert lake.files() == orphans | named
    waste = maintenance.vacuum_sink(lake.sink, timedelta(0), remove=False)
    assert {f"deidentified/{file}" for file in orphans} == {
        file for file in waste.files if file.startswith(FOLDER)
    }
    maintenance.vacuum_sink(lake.sink, timedelta(0), remove=True)
    assert lake.files() == named


def test_a_run_that_is_discarded_takes_its_pages_with_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*args: Any) -> Any:
        raise OSError("the disk is gone")

    monkeypatch.setattr(finish, "write_unit_tables", dies)
    loaded = lake.loaded()
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    with pytest.raises(RunFailedError):
        drive_run(lake.sink, run_id, Quiet(), hashing())
    assert len(lake.files()) == 2
    lake.sink.discard(run_id)
    assert lake.files() == set()


def test_pages_go_with_their_documents_and_stay_as_long_as_older_versions(lake: Lake) -> None:
    lake.enrich()
    scan = lake.rows()["jonathan-doe.png"]["page_file"]
    weber = lake.rows()["weber.tiff"]["page_file"]
    (lake.source / "jonathan-doe.png").unlink()
    lake.enrich()
    # Files of several documents were one unit, which was done again.
    again = lake.rows()["weber.tiff"]["page_file"]
    assert lake.files() == {scan, weber, again}
    maintenance.vacuum_sink(lake.sink, timedelta(days=7), remove=True)
    assert lake.files() == {scan, weber, again}, "an older version of the tables names them"
    maintenance.compact_sink(lake.sink)
    maintenance.vacuum_sink(lake.sink, timedelta(0), remove=True)
    assert lake.files() == {again}


def test_images_in_a_changed_file_are_read_again(tmp_path: Path) -> None:
    """No table has the places of all words, so what is carried over could not be covered."""
    lake = Lake(tmp_path)
    scans = {"a": painted_file([(1, SCAN)]), "b": painted_file([(3, OTHER)])}

    def write(ids: str) -> None:
        table = pa.table({"id": list(ids), "scan": [scans[i] for i in ids]})
        pq.write_table(table, lake.source / "scans.parquet")

    settings: dict[str, Any] = {"ids": True}

    def enrich(section: dict[str, Any] | None = None) -> Pass:
        loaded = lake.loaded(section, **settings)
        source = loaded.pipeline.source.model_copy(update={"image": "scan"})
        loaded = replace(loaded, pipeline=loaded.pipeline.model_copy(update={"source": source}))
        return enrich_once(loaded, Quiet(), nullcontext(), hashing())

    write("a")
    enrich()
    write("ab")
    done = enrich()
    assert done.outcome is not None
    assert done.outcome.tally.carried.total() == 0
    rows = counterparts(lake.sink)
    assert all(row["page_file"] for row in rows.values())
    assert all(lake.content(row) for row in rows.values())


@pytest.mark.parametrize("policy", ["mask", "keep"])
def test_marks_are_covered_and_images_with_them_are_read_again(
    tmp_path: Path, reader: type[PaintedReader], policy: str
) -> None:
    """No table has the words in a mark, so what is carried over could not be masked."""
    stamp = PageMark(MarkKind.STAMP, Box(0, 25, 5, 130, 35))
    reader.marks = {3: [stamp]}
    lake = Lake(tmp_path)
    kept = dict.fromkeys(("NAME", "SIGNATURE", "HANDWRITING"), "keep")
    section = {"pages": False, "policies": {"STAMP": policy, **kept}}

    def enrich(ids: str) -> Pass:
        table = pa.table({"id": list(ids), "scan": [painted_file([(3, OTHER)])] * len(ids)})
        pq.write_table(table, lake.source / "scans.parquet")
        loaded = lake.loaded(section, ids=True)
        source = loaded.pipeline.source.model_copy(update={"image": "scan"})
        loaded = replace(loaded, pipeline=loaded.pipeline.model_copy(update={"source": source}))
        return enrich_once(loaded, Quiet(), nullcontext(), hashing())

    enrich("a")
    done = enrich("ab")
    assert done.outcome is not None
    assert done.outcome.tally.carried.total() == (0 if policy == "mask" else 1)
    for row in counterparts(lake.sink).values():
        start = "[STAMP] Weber," if policy == "mask" else "Dr. Anna Weber,"
        assert row["text"].startswith(start)
        assert row["original"]["marks"][0]["kind"] == "stamp"


def test_plain_files_have_the_pages_of_the_attempts_that_count(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = lake.loaded()
    sink = loaded.pipeline.sink.model_copy(update={"format": "parquet"})
    loaded = replace(loaded, pipeline=loaded.pipeline.model_copy(update={"sink": sink}))
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    lost = f"pages/{run_id}/some-unit.0badcafe.{'0' * 32}.png"
    lake.sink.folder.write(f"deidentified/{lost}", b"of an attempt that lost")
    drive_run(lake.sink, run_id, Quiet(), hashing())
    table = pl.read_parquet(f"{lake.sink.path}/deidentified/documents/*/*.parquet")
    assert lake.files() == set(table["page_file"].drop_nulls())
    assert len(lake.files()) == 2


def test_pages_in_an_object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        storage = {"s3": {"endpoint": server.url, "path_style": True}}
        try:
            Storage(s3=S3.model_validate(storage["s3"])).apply()
            lake = Lake(tmp_path, "s3://lake/out")
            (lake.source / "a.png").write_bytes(painted_file([(1, SCAN)]))
            lake.enrich(storage=storage)
            (row,) = lake.rows().values()
            with fsspec.open(f"s3://lake/out/deidentified/{row['page_file']}") as file:
                assert page_format(file.read()) == "png"
            (lake.source / "a.png").unlink()
            (lake.source / "b.png").write_bytes(painted_file([(3, OTHER)]))
            lake.enrich(storage=storage)
            assert len(lake.files()) == 2
            maintenance.vacuum_sink(lake.sink, timedelta(0), remove=True)
            (row,) = lake.rows().values()
            assert lake.files() == {row["page_file"]}
        finally:
            Storage().apply()


def test_a_worker_without_the_key_says_so(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = lake.loaded()
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    monkeypatch.setattr("pipelines.batch.run.releaser_with", lambda *_: None)  # the driver is right
    monkeypatch.setenv(KEY, "another key, just as long as that")
    with pytest.raises((RunFailedError, ConfigError), match="is not the key"):
        drive_run(lake.sink, run_id, Quiet(), hashing())
    assert lake.files() == set()
