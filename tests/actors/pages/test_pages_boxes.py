"""Entities to boxes: planted spans, and the places they must get."""

from __future__ import annotations

import pytest

from actors.pages import OcrResult, PageSize, Word, find_fields, place
from actors.spans import Box, Entity, Grounding, spanning

TEXT = "Take insulin\nglargine 120mg daily"


def reading(turn: int = 0) -> OcrResult:
    words = [
        Word(0, 4, Box(0, 0, 0, 40, 20), 0.99),
        Word(5, 12, Box(0, 50, 2, 120, 22), 0.98),
        Word(13, 21, Box(0, 0, 30, 80, 50), 0.70),
        Word(22, 27, Box(0, 90, 30, 140, 50), 0.97),
        Word(28, 33, Box(0, 150, 30, 200, 50), None),
    ]
    return OcrResult(TEXT, tuple(words), (PageSize(300, 100, turn),))


def placed(start: int, end: int) -> Entity:
    return place([spanning(TEXT, start, end, "Drug")], reading())[0]


def test_an_entity_that_crosses_lines_has_a_box_for_each() -> None:
    found = placed(5, 21)
    assert found.boxes == (Box(0, 50, 2, 120, 22), Box(0, 0, 30, 80, 50))
    assert found.ocr_confidence == 0.70


def test_words_on_one_line_share_a_box() -> None:
    assert placed(0, 12).boxes == (Box(0, 0, 0, 120, 22),)


def test_part_of_a_word_has_part_of_its_box() -> None:
    assert placed(22, 25).boxes == (Box(0, 90, 30, 120, 50),)


def test_words_of_a_text_layer_have_no_confidence() -> None:
    assert placed(28, 33).ocr_confidence is None


def test_an_entity_in_a_form_field_has_its_name() -> None:
    printed = Word(0, 4, Box(0, 0, 0, 40, 20), None)
    value = Word(5, 9, Box(0, 50, 0, 90, 20), None, field="drug")
    page = OcrResult("take iron", (printed, value), (PageSize(100, 100),))
    drug = spanning(page.text, 5, 9, "Drug", attributes={"unit": "mg"})
    inside, outside = place([drug, spanning(page.text, 0, 4, "x")], page, find_fields(page))
    assert inside.attributes == {"unit": "mg", "field": "drug"}
    assert outside.attributes == {}


def test_an_ungrounded_entity_has_no_place() -> None:
    entity = Entity("Country", "United States", None, None, grounding=Grounding.UNGROUNDED)
    assert place([entity], reading()) == [entity]


@pytest.mark.parametrize(
    ("turn", "first", "second", "part"),
    [
        (180, Box(0, 60, 0, 100, 20), Box(0, 10, 0, 50, 20), Box(0, 80, 0, 100, 20)),
        (90, Box(0, 0, 60, 20, 100), Box(0, 0, 10, 20, 50), Box(0, 0, 80, 20, 100)),
        (270, Box(0, 0, 10, 20, 50), Box(0, 0, 60, 20, 100), Box(0, 0, 10, 20, 30)),
    ],
)
def test_a_line_of_a_turned_page_is_one_box_too(
    turn: int, first: Box, second: Box, part: Box
) -> None:
    words = (Word(0, 4, first, 1.0), Word(5, 9, second, 1.0))
    page = OcrResult("abcd efgh", words, (PageSize(100, 100, turn),))
    (whole,) = place([spanning(page.text, 0, 9, "x")], page)
    assert len(whole.boxes) == 1
    (half,) = place([spanning(page.text, 0, 2, "x")], page)
    assert half.boxes == (part,)
