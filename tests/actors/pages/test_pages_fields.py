"""Filled fields of forms, from labels with a colon and from the form fields of a file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pages import OcrResult, PageSize, PlacedWord, Strip, compose, find_fields, strip_of

SIZE = (1000, 1400)


def line(words: str, x: float, y: float, field: str | None = None) -> Strip:
    """Words of 10 pixels a letter, 20 high; "|" is a gap of 20 pixels more than a space."""
    placed = []
    for word in words.split():
        if word == "|":
            x += 20
            continue
        placed.append(PlacedWord(word, x, y, x + 10 * len(word), y + 20, 0.9, field))
        x += 10 * len(word) + 8
    return strip_of(placed, 0, SIZE)


def read(*strips: Strip, turn: int = 0) -> OcrResult:
    return compose([(PageSize(*SIZE, turn), strips)])


def fields(result: OcrResult) -> dict[str, str]:
    return {one.name: result.text[one.start : one.end] for one in find_fields(result)}


@pytest.mark.parametrize(
    ("strips", "expected"),
    [
        ([line("Name: Wren, Tobias", 50, 40)], {"Name": "Wren, Tobias"}),
        (
            [line("Name: Tobias Wren Date of birth: 3 May 1970", 50, 40)],
            {"Name": "Tobias Wren", "Date of birth": "3 May 1970"},
        ),
        (
            [line("Allergies: none known | main diagnosis: gout", 50, 40)],
            {"Allergies": "none known", "main diagnosis": "gout"},
        ),
        (
            [line("Ward :", 50, 40), line("7b", 300, 40), line("Diet:", 500, 40)],
            {"Ward": "7b"},
        ),
        (
            [
                line("Name:", 50, 40),
                line("Ward:", 400, 40),
                line("Tobias Wren", 50, 66),
                line("7b", 400, 66),
            ],
            {"Name": "Tobias Wren", "Ward": "7b"},
        ),
        (
            [
                line("Address: 14 Harbour Lane,", 50, 40),
                line("Eastmere", 140, 64),
                line("Phone: 555-0142", 50, 88),
            ],
            {"Address": "14 Harbour Lane,\nEastmere", "Phone": "555-0142"},
        ),
        ([line("Seen at: 10:30 _____", 50, 40)], {"Seen at": "10:30"}),
    ],
)
def test_a_label_has_its_value(strips: list[Strip], expected: dict[str, str]) -> None:
    assert fields(read(*strips)) == expected


@pytest.mark.parametrize(
    "strips",
    [
        [line("Allergies: ______", 50, 40)],
        [line("Medications:", 50, 40), line("Metformin 500 mg", 50, 66)],
        [line("The ratio was 3:1 today", 50, 40)],
        [
            line("Impression: long history of pain in both knees, and was", 50, 40),
            line("seen by the team in the clinic. No new findings.", 50, 62),
        ],
        [line("She was told the following by her doctor: rest", 50, 40)],
    ],
)
def test_unfilled_fields_are_skipped(strips: list[Strip]) -> None:
    assert fields(read(*strips)) == {}


def test_a_field_of_the_file_keeps_its_name_and_gets_its_label() -> None:
    result = read(
        line("Name of the drug:", 50, 40),
        line("warfarin", 300, 40, field="drug_1"),
        line("☒", 50, 80, field="allergy"),
        line("Penicillin", 90, 80),
    )
    assert fields(result) == {"drug_1": "warfarin", "allergy": "☒"}
    drug, box = find_fields(result)
    assert drug.label_start is not None
    assert result.text[drug.label_start : drug.label_end] == "Name of the drug"
    assert box.label_start is None


def test_a_page_on_its_side_has_its_fields() -> None:
    def sideways(strip: Strip) -> Strip:
        words = [
            PlacedWord(w.text, w.y0, SIZE[1] - w.x1, w.y1, SIZE[1] - w.x0) for w in strip.words
        ]
        return strip_of(words, 90, SIZE)

    strips = [sideways(line("Name: | Tobias Wren", 50, 40)), sideways(line("Age: 58", 50, 70))]
    assert fields(read(*strips, turn=90)) == {"Name": "Tobias Wren", "Age": "58"}


def test_a_value_below_two_labels_belongs_to_one() -> None:
    result = read(line("Age: : Name:", 50, 40), line(": Name:", 50, 64))
    assert len(find_fields(result)) == 1


WORDS = ["Name:", "of", "Age:", "58", ":", "__", "Wren", "|"]


@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=9), max_size=5))
def test_fields_have_places_in_the_text_and_values_do_not_overlap(rows: list[list[str]]) -> None:
    kept = [row for row in rows if set(row) - {"|"}]
    result = read(*(line(" ".join(row), 50, 40 + 24 * n) for n, row in enumerate(kept)))
    end = 0
    for one in find_fields(result):
        assert one.label_start is not None
        assert one.label_end is not None
        assert one.label_start < one.label_end < one.start < one.end <= len(result.text)
        assert end <= one.start
        assert result.text[one.label_start : one.label_end] == one.name
        end = one.end
