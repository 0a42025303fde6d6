"""Forms in pictures: check boxes, and the labels of ruled boxes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from support.images import encoded

from actors.config.ocr import load_ocr
from actors.ocr import OcrReader
from actors.ocr.form_boxes import FormBoxes, form_boxes, without_checks
from actors.ocr.form_fields import with_form_fields
from actors.ocr.line_crops import LineCrop
from actors.pages import CHECKED, UNCHECKED, OcrResult, PlacedWord, Strip, find_fields, strip_of
from actors.spans import Document

SIZE = (800, 600)
HEIGHT = 40  # of a line, in pixels

Box = tuple[float, float, float, float]


def blank() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", SIZE, "white")
    return image, ImageDraw.Draw(image)


def found(image: Image.Image) -> FormBoxes:
    line = np.array([[0, 0], [400, 0], [400, HEIGHT], [0, HEIGHT]], np.float32)
    crop = np.zeros((48, 480, 3), np.uint8)
    return form_boxes(np.asarray(image), [LineCrop(line, crop)])


def quad(box: Box) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    x0, y0, x1, y1 = box
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)


def line(text: str, x: float, y: float, height: float = 30) -> Strip:
    """Words of half their height a letter, from (x, y) on."""
    words, at = [], x
    for word in text.split():
        width = 0.5 * height * len(word)
        words.append(PlacedWord(word, at, y, at + width, y + height, 0.99))
        at += width + 0.5 * height
    return strip_of(words, 0, SIZE)


def named(strips: list[Strip]) -> dict[str, str]:
    words = [word for strip in strips for word in strip.words if word.field]
    return {
        name: " ".join(word.text for word in words if word.field == name)
        for name in {word.field for word in words if word.field}
    }


@pytest.mark.parametrize("wide", [1, 3])
def test_check_boxes_are_found_empty_and_marked(wide: int) -> None:
    image, draw = blank()
    marks = [
        [],
        [(106, 186, 122, 202), (106, 202, 122, 186)],  # a cross within
        [(106, 272, 112, 280), (112, 280, 134, 250)],  # a tick that leaves the box
    ]
    for number, strokes in enumerate(marks):
        y = 100 + 80 * number
        draw.rectangle((100, y, 128, y + 28), outline="black", width=wide)
        for stroke in strokes:
            draw.line(stroke, fill="black", width=3)
    boxes = found(image)
    assert [one.on for one in sorted(boxes.checks, key=lambda one: one.quad[0, 1])] == [
        False,
        True,
        True,
    ]
    clean = without_checks(np.asarray(image), boxes.checks)
    assert clean.min() == 255


def test_letters_grids_bullets_and_boxes_for_single_letters_are_no_check_boxes() -> None:
    image, draw = blank()
    face = ImageFont.load_default(HEIGHT)
    draw.text((40, 40), "DOB 0 O Q D B 8 Okafor Dr MUDD moon", fill="black", font=face)
    for x in range(3):
        for y in range(3):
            draw.rectangle((100 + 28 * x, 200 + 28 * y, 128 + 28 * x, 228 + 28 * y), outline=0)
        draw.rectangle((300 + 34 * x, 200, 328 + 34 * x, 228), outline="black", width=2)
        draw.rectangle((500, 200 + 60 * x, 520, 220 + 60 * x), fill="black")
    assert found(image).checks == ()


def test_a_check_box_is_named_by_the_words_beside_it() -> None:
    image, draw = blank()
    for x, on in ((100, True), (260, False), (400, False)):
        y = 100 if x < 400 else 400  # nothing is beside the last one
        draw.rectangle((x, y, x + 28, y + 28), outline="black", width=2)
        if on:
            draw.line((x + 6, y + 6, x + 22, y + 22), fill="black", width=3)
    text = [line("Yes", 140, 100), line("No, never", 300, 98), line("asthma", 560, 98)]
    strips = with_form_fields(text, found(image), SIZE, 0)
    words = [word.text for strip in strips for word in strip.words]
    assert words == [CHECKED, "Yes", UNCHECKED, "No,", "never", "asthma"]
    assert named(strips) == {"Yes": CHECKED, "No, never": UNCHECKED}


def test_ruled_cells_are_found_on_a_page_that_is_not_quite_level() -> None:
    image, draw = blank()
    for row in range(3):
        draw.rectangle((100, 100 + 70 * row, 500, 170 + 70 * row), outline="black", width=2)
    cells = found(image.rotate(1, fillcolor="white")).cells
    assert len(cells) == 3
    assert all(350 < one[1, 0] - one[0, 0] < 440 for one in cells)


def test_small_print_in_a_cell_is_the_label_of_what_is_below() -> None:
    cell = (100.0, 100.0, 400.0, 200.0)
    strips = [line("Last name", 110, 104, 20), line("Okafor", 112, 150)]
    assert named(with_form_fields(strips, FormBoxes((), (quad(cell),)), SIZE, 0)) == {
        "Last name": "Okafor"
    }
    equal = [line("Last name", 110, 104), line("Okafor", 112, 150)]
    assert named(with_form_fields(equal, FormBoxes((), (quad(cell),)), SIZE, 0)) == {}


@pytest.mark.parametrize(("x", "y"), [(100, 210), (300, 158)], ids=["left", "above"])
def test_words_before_or_above_a_box_are_its_label(x: float, y: float) -> None:
    box = FormBoxes((), (quad((300, 200, 700, 250)),))
    strips = [line("Ward", x, y), line("7 B", 310, 210)]
    assert named(with_form_fields(strips, box, SIZE, 0)) == {"Ward": "7 B"}


def test_rows_of_two_cells_are_pairs_and_wider_ones_are_a_table() -> None:
    two = [quad((100, 100, 300, 150)), quad((300, 100, 600, 150))]
    strips = [line("Blood group", 110, 110), line("A positive", 310, 110)]
    assert named(with_form_fields(strips, FormBoxes((), tuple(two)), SIZE, 0)) == {
        "Blood group": "A positive"
    }
    three = FormBoxes((), (*two, quad((600, 100, 780, 150))))
    strips.append(line("high", 610, 110))
    assert named(with_form_fields(strips, three, SIZE, 0)) == {}


@pytest.mark.weights
def test_a_scanned_form_is_read_with_its_fields() -> None:
    image, draw = blank()
    face = ImageFont.load_default(28)
    draw.text((60, 60), "Diabetes", fill="black", font=face)
    draw.rectangle((24, 66, 48, 90), outline="black", width=2)
    draw.line((28, 70, 44, 86), fill="black", width=3)
    draw.line((28, 86, 44, 70), fill="black", width=3)
    draw.text((60, 140), "Asthma", fill="black", font=face)
    draw.rectangle((24, 146, 48, 170), outline="black", width=2)
    draw.text((40, 260), "Hospital number", fill="black", font=face)
    draw.rectangle((320, 250, 760, 310), outline="black", width=2)
    draw.text((340, 262), "H 204 871", fill="black", font=face)
    with OcrReader(load_ocr("starter:ocr"), threads=1) as reader:
        (result,) = reader.read([Document(id="form", image=encoded(image))])
    assert isinstance(result, OcrResult)
    values = {one.name: result.text[one.start : one.end] for one in find_fields(result)}
    assert values == {
        "Diabetes": CHECKED,
        "Asthma": UNCHECKED,
        "Hospital number": "H 204 871",
    }
    labels = [
        None if one.label_start is None else result.text[one.label_start : one.label_end]
        for one in find_fields(result)
    ]
    assert labels == ["Diabetes", "Asthma", "Hospital number"]
