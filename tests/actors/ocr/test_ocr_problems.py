"""OCR reports what it leaves out: how many lines, and where on the page."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.images import encoded
from support.pages_bombs import text_pdf

from actors.config.ocr import OcrModel
from actors.ocr import OcrReader, reader
from actors.ocr.recognized import RecognizedLine
from actors.pages import OcrResult, Picture
from actors.spans import Document


class Faint:
    """In the place of the networks: a page has a clear line, a faint one and one without text."""

    def __init__(self, *_: Any) -> None:
        self.count = 0

    def lines(self, picture: Picture) -> tuple[list[Any], list[Any]]:
        return _boxes(10, 40, 70), []

    def can_write(self, letter: str) -> bool:
        return True

    def read(self, crops: list[Picture]) -> list[RecognizedLine]:
        texts, odds = ("Clear", "Faint", ""), (0.9, 0.3, 0.0)
        read = []
        for _, text, sure in zip(crops, cycle(texts), cycle(odds), strict=False):
            places = np.linspace(0.1, 0.9, len(text), dtype=np.float32)
            read.append(RecognizedLine(text, places, np.full(len(text), sure, np.float32)))
        return read


def _boxes(*tops: int) -> list[Any]:
    corners = [[(5, y), (105, y), (105, y + 20), (5, y + 20)] for y in tops]
    return [np.array(quad, np.float32) for quad in corners]


@pytest.fixture
def faint(monkeypatch: pytest.MonkeyPatch) -> Iterator[OcrReader]:
    monkeypatch.setattr(reader, "OcrNetworks", Faint)
    monkeypatch.setattr(reader, "weights_digest", lambda config: "none")
    # These networks read a page alike whichever way up it is.
    monkeypatch.setattr(reader, "_DOUBTFUL", 0.0)
    config = OcrModel.model_validate({"name": "ocr", "kind": "ocr"})
    with OcrReader(config, threads=1) as made:
        yield made


def _read(reader: OcrReader, content: bytes) -> OcrResult:
    (found,) = reader.read([Document(id="1", image=content)])
    assert isinstance(found, OcrResult)
    return found


def test_lines_that_are_left_out_are_counted_with_their_boxes(faint: OcrReader) -> None:
    found = _read(faint, encoded(Image.new("L", (200, 100), 255)))
    assert found.text == "Clear"
    assert found.problems == (
        "page 1: lines left out, unreadable or doubtful (min_confidence 0.5): 2, "
        "at (5 40 105 60), (5 70 105 90)",
    )


def test_the_page_is_named_on_which_a_line_was_left_out(faint: OcrReader) -> None:
    sheets = [Image.new("L", (200, 100), 255) for _ in range(2)]
    found = _read(faint, encoded(sheets[0], "TIFF", save_all=True, append_images=sheets[1:]))
    assert [problem.partition(":")[0] for problem in found.problems] == ["page 1", "page 2"]


def test_a_file_without_text_is_reported(faint: OcrReader) -> None:
    assert _read(faint, text_pdf(b"Metformin")).problems == ()
    faint._models.lines = lambda picture: ([], [])  # type: ignore[method-assign]
    assert _read(faint, encoded(Image.new("L", (90, 40), 255))).problems == (
        "no text found; pages: 1",
    )


def test_a_line_that_the_detector_doubts_counts_if_it_is_read_well(faint: OcrReader) -> None:
    # Of the doubtful ones the first lies on a sure line, and has been read there.
    faint._models.lines = lambda picture: (_boxes(10), _boxes(15, 40, 70, 100))  # type: ignore[method-assign]
    answers = iter([("Sure", 0.95), ("Stamped", 0.95), ("Smudged", 0.7), ("Picture", 0.2)])

    def read(crops: list[Picture]) -> list[RecognizedLine]:
        found = []
        for _, (text, sure) in zip(crops, answers, strict=False):
            places = np.linspace(0.1, 0.9, len(text), dtype=np.float32)
            found.append(RecognizedLine(text, places, np.full(len(text), sure, np.float32)))
        return found

    faint._models.read = read  # type: ignore[method-assign]
    found = _read(faint, encoded(Image.new("L", (200, 140), 255)))
    assert found.text == "Sure\nStamped"
    assert found.problems == (
        "page 1: lines left out, unreadable or doubtful (min_confidence 0.5): 1, at (5 70 105 90)",
    )
