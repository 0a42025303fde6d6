"""The reader of pictures: project-made pages with gold text and gold boxes, and what fails."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rapidfuzz.distance import Levenshtein
from support import ROOT
from support.images import dicom, encoded, written

from actors.config import ConfigError
from actors.config.ocr import OcrModel, load_ocr
from actors.ocr import OcrReader
from actors.ocr.line_crops import is_sideways, skew
from actors.pages import OcrResult, PageSize, PixelBudget, place
from actors.spans import Box, Document, Failure, spanning
from pipelines.serve.answering.models import stream_pages
from pipelines.serve.http.readiness import PROBE_PIXELS, picture_probe, reads_probe

ROOT = ROOT / "configs" / "samples"
SMALL = "handwritten.png"

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def reader() -> Iterator[OcrReader]:
    with OcrReader(load_ocr("starter:ocr"), threads=2) as made:
        yield made


@pytest.fixture(scope="module")
def gold() -> dict[str, dict[str, Any]]:
    lines = (ROOT / "pages-gold.jsonl").read_text(encoding="utf-8").splitlines()
    return {page["id"]: page for page in map(json.loads, lines)}


@pytest.fixture(scope="module")
def readings(reader: OcrReader) -> dict[str, OcrResult]:
    """A photograph, a table, a page on its side and one upside down: read once, together."""
    names = [
        "prescription-photo.jpg",
        "lab-table.png",
        "discharge-sideways.jpg",
        "prescription-upside-down.jpg",
    ]
    found = reader.read([document(name) for name in names])
    assert all(isinstance(one, OcrResult) for one in found)
    return {n: one for n, one in zip(names, found, strict=True) if isinstance(one, OcrResult)}


def test_the_probe_of_a_server_is_read(reader: OcrReader) -> None:
    found = reader.submit(picture_probe(), PixelBudget(PROBE_PIXELS)).result(120)
    assert isinstance(found, OcrResult)
    assert found.text.strip() == "Metformin 500 mg"

    def is_read(document: Document) -> bool:
        return asyncio.run(reads_probe(stream_pages(reader, [document], PROBE_PIXELS)))

    assert is_read(picture_probe())
    assert not is_read(Document("bad", image=b"no picture"))


def document(name: str) -> Document:
    return Document(id=name, image=(ROOT / "pages" / name).read_bytes())


def error_rate(expected: str, found: str) -> float:
    expected, found = " ".join(expected.split()), " ".join(found.split())
    return Levenshtein.distance(expected, found) / len(expected)


def overlap(a: dict[str, float], b: Box) -> float:
    """Intersection over union."""
    wide = min(a["x1"], b.x1) - max(a["x0"], b.x0)
    high = min(a["y1"], b.y1) - max(a["y0"], b.y0)
    if wide <= 0 or high <= 0 or a["page"] != b.page:
        return 0.0
    both = (a["x1"] - a["x0"]) * (a["y1"] - a["y0"]) + (b.x1 - b.x0) * (b.y1 - b.y0)
    return wide * high / (both - wide * high)


@pytest.mark.parametrize(
    ("name", "turn"),
    [
        ("prescription-photo.jpg", 0),
        ("lab-table.png", 0),
        ("discharge-sideways.jpg", 270),
        ("prescription-upside-down.jpg", 180),
    ],
)
def test_pages_are_read_upright_and_almost_without_error(
    readings: dict[str, OcrResult], gold: dict[str, dict[str, Any]], name: str, turn: int
) -> None:
    assert readings[name].pages[0].turn == turn
    assert error_rate(gold[name]["text"], readings[name].text) < 0.02


@pytest.mark.parametrize("name", ["prescription-photo.jpg", "prescription-upside-down.jpg"])
def test_every_drug_and_strength_of_a_typed_prescription_is_right(
    readings: dict[str, OcrResult], gold: dict[str, dict[str, Any]], name: str
) -> None:
    wanted = [e["text"] for e in gold[name]["entities"] if e["label"] in ("Drug", "DoseValue")]
    words = readings[name].text.replace("mg", " mg ").split()
    assert wanted
    assert [word for word in wanted if word not in words] == []


def test_a_table_keeps_its_rows(readings: dict[str, OcrResult]) -> None:
    assert "\nSodium\t139\tmmol/L\t135 - 145\n" in readings["lab-table.png"].text


@pytest.mark.parametrize(
    "name", ["prescription-photo.jpg", "lab-table.png", "discharge-sideways.jpg"]
)
def test_entities_get_the_places_that_they_have(
    readings: dict[str, OcrResult], gold: dict[str, dict[str, Any]], name: str
) -> None:
    reading = readings[name]
    overlaps = []
    for entity in gold[name]["entities"]:
        if gold[name]["text"].count(entity["text"]) == 1 == reading.text.count(entity["text"]):
            start = reading.text.index(entity["text"])
            span = spanning(reading.text, start, start + len(entity["text"]), entity["label"])
            (placed,) = place([span], reading)
            assert placed.ocr_confidence is not None
            overlaps += [max(overlap(b, c) for c in placed.boxes) for b in entity["boxes"]]
    assert len(overlaps) >= 5
    assert min(overlaps) > 0.4
    assert sum(overlaps) / len(overlaps) > 0.75


def test_words_fit_their_text_and_their_page(readings: dict[str, OcrResult]) -> None:
    for reading in readings.values():
        size = reading.pages[0]
        for word in reading.words:
            assert reading.text[word.start : word.end].split() == [
                reading.text[word.start : word.end]
            ]
            assert 0 <= word.box.x0 < word.box.x1 <= size.width
            assert 0 <= word.box.y0 < word.box.y1 <= size.height
            assert word.confidence is not None
            assert 0 < word.confidence <= 1


def test_the_company_that_a_page_keeps_does_not_change_its_text(reader: OcrReader) -> None:
    alone = reader.submit(document(SMALL)).result()
    blank = io.BytesIO()
    Image.new("L", (600, 400), 255).save(blank, "PNG")
    first, empty, second = reader.read(
        [document(SMALL), Document(id="blank", image=blank.getvalue()), document(SMALL)]
    )
    assert isinstance(alone, OcrResult)
    assert isinstance(first, OcrResult)
    assert first.text == alone.text
    assert first == second
    assert empty == OcrResult("", (), (PageSize(600, 400),), ("no text found; pages: 1",))


def test_unreadable_page_fails_and_the_reader_continues(reader: OcrReader) -> None:
    content = (ROOT / "pages" / SMALL).read_bytes()
    bad = [
        Document(id="none"),
        Document(id="empty", image=b""),
        Document(id="text", image=b"no picture at all"),
        Document(id="cut", image=content[: len(content) // 2]),
        document("letter-and-scan.pdf"),
    ]
    *failures, good = reader.read(bad)
    assert [f.type for f in failures if isinstance(f, Failure)] == [
        "MissingImage",
        "EmptyFile",
        "UnknownFormat",
        "DamagedFile",
    ]
    assert isinstance(good, OcrResult)
    assert [page.turn for page in good.pages] == [0, 0]
    # The first page has a text layer, which is no guess; the second was looked at.
    assert {word.confidence is None for word in good.words if word.box.page == 0} == {True}
    assert {word.confidence is None for word in good.words if word.box.page == 1} == {False}


def test_a_long_strip_is_read_to_its_end_and_nothing_twice(reader: OcrReader) -> None:
    strip = Image.new("L", (480, 6000), 255)
    lines = [f"Entry {i} of {20 * i + 7}" for i in range(12)]
    for i, line in enumerate(lines):
        strip.paste(written(line), (0, 520 * i))
    (found,) = reader.read([Document(id="strip", image=encoded(strip))])
    assert isinstance(found, OcrResult)
    assert found.text.split("\n\n") == lines


def test_text_burned_into_a_dicom_image_is_read(reader: OcrReader) -> None:
    line = "SMITH JOHN 02/11/1960"
    values = 4000 - np.asarray(written(line), np.uint16) * 12  # light on dark, twelve bits
    (found,) = reader.read([Document(id="scan", image=dicom(values))])
    assert isinstance(found, OcrResult)
    assert found.text == line


def test_a_closed_reader_takes_nothing() -> None:
    reader = OcrReader(load_ocr("starter:ocr"), threads=1)
    reader.close()
    with pytest.raises(RuntimeError):
        reader.submit(document(SMALL))
    reader.close()


def test_fingerprints_follow_the_configuration(reader: OcrReader) -> None:
    other = OcrModel.model_validate({"name": "ocr", "kind": "ocr", "min_confidence": 0.6})
    with OcrReader(other, threads=1) as changed:
        assert changed.fingerprint != reader.fingerprint


def test_a_file_of_another_kind_is_no_reader(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text("name: x\nkind: onnx\n")
    with pytest.raises(ConfigError, match="kind"):
        load_ocr(path)


def test_lines_that_run_down_the_page_are_sideways() -> None:
    across = np.array([[0, 0], [90, 0], [90, 10], [0, 10]], np.float32)
    down = np.array([[0, 0], [10, 0], [10, 200], [0, 200]], np.float32)
    assert not is_sideways([across, across])
    assert is_sideways([across, down])
    assert not is_sideways([])
    assert skew([]) == 0.0


@pytest.mark.parametrize("angle", [90, 270])
def test_a_line_in_the_margin_is_read_in_its_own_direction(reader: OcrReader, angle: int) -> None:
    page = Image.new("L", (620, 420), 255)
    lines = ("Metformin 500 mg twice daily", "with food for twelve weeks", "Review in the clinic")
    for number, line in enumerate(lines):
        page.paste(written(line), (110, 40 + 60 * number))
    note = written("Allergy: penicillin", width=340, height=60).rotate(angle, expand=True)
    page.paste(note, (20, 40))
    [found] = reader.read([Document("page", image=encoded(page))])
    assert isinstance(found, OcrResult)
    assert found.text.split("\n")[-1] == "Allergy: penicillin"
    assert found.pages[0].turn == 0
    first, last = found.words[-2:]
    assert first.turn == last.turn == angle
    assert 20 < last.box.x0 < last.box.x1 < 80
    assert (last.box.y1 < first.box.y0) == (angle == 90), "upwards, the last word is at the top"
