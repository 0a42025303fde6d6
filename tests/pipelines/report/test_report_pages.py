"""The report of documents that were pictures: their pages, with entities drawn on them."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from actors.spans import Box, Entity, Status
from pipelines.cli.report_pages import sheets
from pipelines.markup.left_out import left_out
from pipelines.markup.page_image import MarkedBox, Sheet, draw
from pipelines.markup.page_structure import Grid, page_structure
from pipelines.report import ReportDocument, ReportRun, render_report
from pipelines.runs.results import Result


def config(image: str | None = None, **ocr: object) -> dict[str, Any]:
    """The configuration of a run with OCR and a context stage, which has no kind in its config."""
    stages = [{"kind": "ocr", "config": ocr}, {"kind": "context", "config": {}}]
    return {"pipeline": {"source": {"image": image}}, "stages": stages[::-1]}


CONFIG = config()
pytest_plugins = ["support.browser_fixtures"]


def picture(width: int = 60, height: int = 40) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(file, "PNG")
    return file.getvalue()


def result(source: Path, row: int = 0, width: int = 60, turn: int = 0) -> Result:
    size = {"width": width, "height": 40, "turn": turn}
    return Result("d", str(source), row, "ok", "", "", "Metformin", (size,), ())


@pytest.mark.parametrize(
    ("turn", "view"), [(0, "0 0 60 40"), (90, "0 0 40 60"), (180, "0 0 60 40"), (270, "0 0 40 60")]
)
def test_a_page_is_shown_upright(turn: int, view: str) -> None:
    drawn = draw(Sheet(0, b"x", "webp", 60, 40, turn, (MarkedBox(3, 1, 5, 6, 25, 16),)))
    assert f'viewBox="{view}"' in drawn
    assert (f"rotate({turn})" in drawn) == (turn != 0)
    assert '<rect class="k1 i" data-e="3" x="5" y="6" width="20" height="10"/>' in drawn
    assert "style=" not in drawn


def test_the_page_of_a_file_is_fetched_again(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(picture())
    (sheet,) = sheets(result(path, turn=90), CONFIG, 10)
    assert (sheet.width, sheet.height, sheet.turn) == (60, 40, 90)
    assert Image.open(io.BytesIO(sheet.picture)).size == (60, 40)
    assert sheets(result(path), CONFIG, 0) == []


def test_the_page_of_a_row_is_fetched_again(tmp_path: Path) -> None:
    path = tmp_path / "scans.parquet"
    rows = [picture(), picture(70), picture(80)]
    pq.write_table(pa.table({"scan": rows}), path, row_group_size=2)
    asked = config("scan", pages={"dpi": 100})
    (sheet,) = sheets(result(path, row=2, width=80), asked, 10)
    assert sheet.width == 80


def test_a_source_that_is_gone_or_another_gives_no_page(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    assert sheets(result(path), CONFIG, 10) == []
    path.write_bytes(picture(width=99))
    assert sheets(result(path), CONFIG, 10) == []
    path.write_bytes(b"no picture any more")
    assert sheets(result(path), CONFIG, 10) == []


def test_a_report_draws_entities_on_the_page_beside_the_text() -> None:
    entity = Entity("Drug", "Metformin", 0, 9, boxes=(Box(0, 1, 2, 31, 12), Box(1, 3, 4, 9, 9)))
    document = ReportDocument(
        doc_id="scan",
        status=Status.OK,
        text="Metformin",
        entities=[entity],
        sheets=lambda: [Sheet(0, picture(), "png", 60, 40)],
    )
    run = ReportRun(name="n", run_id="r", started=datetime(2025, 1, 1, tzinfo=UTC), seconds=1.0)
    page = render_report(run, [document])
    assert len(re.findall(r"<rect class=\"k0 i\" data-e=\"0\"", page)) == 1
    assert 'href="data:image/png;base64,' in page
    assert 'class="beside"' in page
    plain = render_report(run, [ReportDocument(doc_id="t", status=Status.OK, text="Metformin")])
    assert 'class="beside"' not in plain


def test_a_report_shows_tables_fields_and_marks_of_the_pages() -> None:
    text = "Drug\tDose\n<b>Metformin</b>\t500\n mg\nMRN 123"
    cells = [("Drug", 0, 0), ("Dose", 0, 1), ("<b>Metformin</b>", 1, 0), ("500\n mg", 1, 1)]
    table = {
        "page": 1,
        "rows": 3,
        "columns": 2,
        "header": True,
        "cells": [
            {"row": row, "column": column, "start": (at := text.index(said)), "end": at + len(said)}
            for said, row, column in cells
        ],
    }
    field = {"page": 0, "name": "MRN", "start": len(text) - 3, "end": len(text)}
    box = {"page": 1, "x0": 1.2, "y0": 2.0, "x1": 30.0, "y1": 40.6}
    mark = {"kind": "stamp", "box": box}
    structure = page_structure(text, 2, {"tables": [table], "fields": [field], "marks": [mark]})
    assert structure is not None
    assert structure.summary == "1 table, 1 form field, 1 mark"
    assert structure.grids == (
        Grid("Form fields", ("Field", "Value", "Page"), (("MRN", "123", "1"),)),
        Grid("Table, page 2", ("Drug", "Dose"), (("<b>Metformin</b>", "500 mg"), ("", ""))),
        Grid(
            "Drawn on the pages",
            ("Kind", "Box in pixels", "Page"),
            (("stamp", "1, 2 to 30, 41", "2"),),
        ),
    )
    document = ReportDocument(doc_id="d", status=Status.OK, text=text, structure=structure)
    run = ReportRun(name="n", run_id="r", started=datetime(2025, 1, 1, tzinfo=UTC), seconds=1.0)
    html = render_report(run, [document])
    assert "On the pages: 1 table, 1 form field, 1 mark" in html
    assert '<td dir="auto">&lt;b&gt;Metformin&lt;/b&gt;</td><td dir="auto">500 mg</td>' in html


def test_values_beyond_the_beginning_of_a_text_are_not_shown_as_empty() -> None:
    fields = [
        {"page": 0, "name": name, "start": start, "end": start + 2}
        for name, start in (("in", 0), ("across", 3), ("beyond", 8))
    ]
    structure = page_structure("abcd", 1, {"tables": None, "fields": fields, "marks": None})
    assert structure is not None
    assert structure.grids[0].rows == (("in", "ab"), ("across", "…"), ("beyond", "…"))


def test_tables_without_end_are_counted_and_not_shown() -> None:
    table = {"page": 0, "rows": 100, "columns": 30, "header": False, "cells": []}
    none: dict[str, Any] = {"tables": [], "fields": [], "marks": None}
    assert page_structure("", 1, none) is None
    structure = page_structure("", 1, {**none, "tables": [table] * 5})
    assert structure is not None
    assert (len(structure.grids), structure.omitted) == (1, 4)
    run = ReportRun(name="n", run_id="r", started=datetime(2025, 1, 1, tzinfo=UTC), seconds=1.0)
    document = ReportDocument(doc_id="d", status=Status.OK, text="", structure=structure)
    assert "4 more tables are in the documents table." in render_report(run, [document])


LEFT_OUT = "page 2: lines left out, unreadable or doubtful (min_confidence 0.5): 2, at "


def test_the_boxes_of_lines_left_out_are_those_that_the_reader_names() -> None:
    from actors.ocr.reader import _left_out

    boxes = [Box(6, 10, 20, 110, 40), Box(6, 5, 60, 90, 80)]
    assert left_out([f"page 7: {_left_out(boxes, 0.5)}"]) == boxes
    assert left_out([f"page 7: {_left_out(boxes * 50, 0.5)}"])[:2] == boxes
    assert left_out(["page 1: 3 words are struck out (1 2 3 4)", ""]) == []


def of_pages(count: int) -> str:
    """A report on a document of ``count`` pages with one entity, on the last page."""
    text = "Metformin"
    last = Entity("Drug", text, 0, 9, boxes=(Box(count - 1, 5, 5, 30, 15),))
    document = ReportDocument(
        doc_id="d",
        status=Status.OK,
        text=text,
        entities=[last],
        problems=[("ocr", f"{LEFT_OUT}(10 20 50 30), (1 2 9 8)"), *[("m", "doubtful")] * 30],
        sheets=lambda: [Sheet(at, picture(), "png", 60, 40) for at in range(count)],
    )
    run = ReportRun(name="r", run_id="r", started=datetime.now(UTC), seconds=1, documents_ok=1)
    return render_report(run, [document])


def test_unread_lines_are_framed_and_counted() -> None:
    html = of_pages(3)
    assert "ocr: page 2: lines left out" in html
    assert "19 more problems" in html
    framed = [drawn.count('class="unread"') for drawn in html.split('<svg class="sheet"')[1:]]
    assert framed == [0, 2, 0]


def test_two_hundred_pages_are_turned_one_at_a_time(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(of_pages(200), encoding="utf-8")
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())

    def shown() -> list[int]:
        return list(
            page.eval_on_selector_all(
                ".sheet", "all => all.flatMap((one, i) => one.hasAttribute('hidden') ? [] : [i])"
            )
        )

    assert shown() == [0]
    page.click("[data-turn='1']")
    assert shown() == [1]
    page.fill(".turn", "150")
    page.press(".turn", "Enter")
    assert shown() == [149]
    page.press(".desk", "PageUp")
    assert shown() == [148]
    page.click("[data-turn='-1']")
    assert (shown(), page.input_value(".turn")) == ([147], "148")
    page.click("mark")
    assert shown() == [199], "the page of the mark"
    page.fill(".turn", "9999")
    page.press(".turn", "Enter")
    assert (shown(), page.input_value(".turn")) == ([199], "200")
    assert errors == []
    page.close()
