"""Reading order: strips in, lines out; and the text with the places of its words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pages import PageSize, PlacedWord, Strip, compose, place, strip_of
from actors.pages.layout import reading_order
from actors.spans import Box, spanning


def strip(text: str, x: float, y: float, pitch: float = 10.0, height: float = 20.0) -> Strip:
    """Words of ten pixels a letter, from (x, y) on."""
    words, at = [], x
    for word in text.split():
        end = at + pitch * len(word)
        words.append(PlacedWord(word, at, y, end, y + height, 0.9))
        at = end + pitch
    return Strip(tuple(words), x, y, words[-1].x1, y + height)


def read(*strips: Strip) -> str:
    return compose([(PageSize(1000, 1000), strips)]).text


def test_nothing_reads_as_nothing() -> None:
    assert reading_order([]) == []
    assert read() == ""


def test_lines_are_read_downwards_and_blocks_are_parted() -> None:
    assert (
        read(strip("second", 0, 22), strip("first", 0, 0), strip("third", 0, 90))
        == "first\nsecond\n\nthird"
    )


def test_words_of_a_line_that_was_found_in_two_pieces_stay_together() -> None:
    assert read(strip("Sierra", 0, 0), strip("Valley", 75, 1)) == "Sierra Valley"


def test_columns_of_prose_are_read_one_after_the_other() -> None:
    left = [strip(f"the left column goes on {i}", 0, 24 * i) for i in range(5)]
    right = [strip(f"the right column goes {i}", 400, 24 * i) for i in range(5)]
    text = read(*left, *right)
    assert text.index("left column goes on 4") < text.index("right column goes 0")
    assert "\n\n" not in text  # the second column goes on where the first one ends


def test_a_table_is_read_row_by_row() -> None:
    rows = [("Test", "Result", "Unit"), ("Glucose", "7.8", "mmol/L"), ("HbA1c", "8.2", "%")]
    cells = [strip(c, 200 * k, 30 * i) for i, row in enumerate(rows) for k, c in enumerate(row)]
    assert read(*cells) == "Test\tResult\tUnit\nGlucose\t7.8\tmmol/L\nHbA1c\t8.2\t%"


def test_a_row_of_a_form_stays_a_row() -> None:
    text = read(
        strip("Name: Maria", 0, 0),
        strip("Date: 5/11/2022", 500, 2),
        strip("Address: 9 Court", 0, 60),
    )
    assert text == "Name: Maria\tDate: 5/11/2022\n\nAddress: 9 Court"


def test_a_letterhead_of_two_blocks_is_read_block_by_block() -> None:
    name = [
        strip(word, 100, 21 * i) for i, word in enumerate(["Health", "Recovery", "Centre", "X"])
    ]
    patient = [strip("Kim Lawrence", 600, 0), strip("Sierra Institute", 600, 21)]
    heading, body = strip("Summary", 0, 140), strip("w " * 40, 0, 170)
    text = read(*name, *patient, heading, body)
    assert text.startswith(
        "Health\nRecovery\nCentre\nX\n\nKim Lawrence\nSierra Institute\n\nSummary\n"
    )


def test_pages_are_parted_by_a_blank_line_and_words_know_their_page() -> None:
    reading = compose(
        [(PageSize(9, 9), [strip("one", 0, 0)]), (PageSize(9, 9), [strip("two", 0, 0)])]
    )
    assert reading.text == "one\n\ntwo"
    assert [word.box.page for word in reading.words] == [0, 1]


@given(
    st.lists(
        st.tuples(
            st.text(alphabet="abc é", min_size=1, max_size=12).filter(str.strip),
            st.integers(0, 900),
            st.integers(0, 900),
        ),
        max_size=25,
    )
)
def test_no_word_is_lost_or_read_twice_and_every_offset_fits(
    placed: list[tuple[str, int, int]],
) -> None:
    strips = [strip(text, x, y) for text, x, y in placed]
    reading = compose([(PageSize(1000, 1000), strips)])
    given_words = sorted((w.text, w.x0, w.y0) for s in strips for w in s.words)
    found = sorted((reading.text[w.start : w.end], w.box.x0, w.box.y0) for w in reading.words)
    assert found == given_words
    starts = [word.start for word in reading.words]
    assert starts == sorted(starts)


LEFT = ["the left column of prose", "goes on with its lines to", "the end, where they stop."]
RIGHT = ["and the right one has yet", "other lines, which are no", "part of those on the left"]


def in_columns(gutter: float, shift: float = 0.0, lines: int = 3) -> str:
    """Two columns of prose; the lines of the right one lie lower by ``shift``."""
    left = [strip(line, 0, 24 * i) for i, line in enumerate(LEFT[:lines])]
    edge = max(one.x1 for one in left) + gutter
    right = [strip(line, edge, 24 * i + shift) for i, line in enumerate(RIGHT[:lines])]
    return read(*left, *right)


@pytest.mark.parametrize("gutter", [10, 15, 40])
def test_columns_of_prose_with_a_narrow_gutter_do_not_interleave(gutter: float) -> None:
    assert in_columns(gutter) == "\n".join([*LEFT, *RIGHT])


@pytest.mark.parametrize("gutter", [15, 40, 100])
@pytest.mark.parametrize("shift", [6, 12, 14])
def test_columns_whose_lines_are_not_level_are_read_one_after_the_other(
    gutter: float, shift: float
) -> None:
    assert in_columns(gutter, shift) == "\n".join([*LEFT, *RIGHT])


def test_a_wide_space_in_a_paragraph_is_no_gutter() -> None:
    first = [strip("the patient was", 0, 0), strip("seen on the ward", 162, 0)]
    second = [strip("and has been well", 0, 24), strip("since then, so that", 182, 24)]
    text = "the patient was seen on the ward\nand has been well since then, so that"
    assert read(*first, *second) == text


def test_text_that_runs_upwards_follows_the_page_s_own_and_keeps_its_order() -> None:
    size = (1000, 1000)
    upright = strip("the page itself", 300, 100)
    # Two lines that run upwards at the left edge, the first one farther left.
    first = [PlacedWord(word, 10, 900 - 100 * i, 30, 980 - 100 * i) for i, word in enumerate("ab")]
    second = [PlacedWord(word, 40, 900 - 100 * i, 60, 980 - 100 * i) for i, word in enumerate("cd")]
    sideways = [strip_of(second, 90, size), strip_of(first, 90, size)]
    reading = compose([(PageSize(*size), [*sideways, upright])])
    assert reading.text == "the page itself\n\na b\nc d"
    assert [word.turn for word in reading.words] == [0, 0, 0, 90, 90, 90, 90]
    (line,) = place([spanning(reading.text, 17, 20, "x")], reading)
    assert line.boxes == (Box(0, 10, 800, 30, 980),)


def test_a_word_that_a_hyphen_breaks_is_whole_and_has_a_box_a_line() -> None:
    reading = compose(
        [(PageSize(1000, 1000), [strip("she takes metfor-", 0, 0), strip("min 500 mg", 0, 24)])]
    )
    assert reading.text == "she takes metformin\n500 mg"
    start = reading.text.index("metformin")
    (drug,) = place([spanning(reading.text, start, start + 9, "Drug")], reading)
    assert drug.boxes == (Box(0, 100, 0, 170, 20), Box(0, 0, 24, 30, 44))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("of a non-", "small cell tumour", "of a non-small\ncell tumour"),
        ("the placebo-", "controlled trial", "the placebo-controlled\ntrial"),
        ("Stevens-", "Johnson syndrome", "Stevens-Johnson\nsyndrome"),
        ("COVID-", "19 was ruled out", "COVID-19\nwas ruled out"),
        ("METFOR-", "MIN 500 MG", "METFORMIN\n500 MG"),
        ("hydro\u00ad", "chlorothiazide daily", "hydrochlorothiazide\ndaily"),
        ("an anti-", "body was found", "an antibody\nwas found"),
        ("doses of 5-", "10 mg daily", "doses of 5-\n10 mg daily"),
        ("pain -", "severe at night", "pain -\nsevere at night"),
        ("metfor-", "min", "metformin"),
    ],
)
def test_a_hyphen_stays_where_it_belongs_to_the_word(
    first: str, second: str, expected: str
) -> None:
    assert read(strip(first, 0, 0), strip(second, 0, 24)) == expected


def test_the_document_s_own_words_decide_about_a_hyphen() -> None:
    lines = ["the fol-low up", "co-", "operation", "and cooperation, x-", "ray or x-ray"]
    text = read(*(strip(line, 0, 24 * i) for i, line in enumerate(lines)))
    assert text == "the fol-low up\ncooperation\nand cooperation, x-ray\nor x-ray"


def test_the_cells_of_a_table_are_not_joined_with_the_row_below() -> None:
    rows = [("Test", "uri-"), ("result", "nary")]
    cells = [strip(c, 200 * k, 30 * i) for i, row in enumerate(rows) for k, c in enumerate(row)]
    assert read(*cells) == "Test\turi-\nresult\tnary"


def test_a_wide_space_in_a_line_alone_parts_no_cells() -> None:
    def words(y: float, *placed: tuple[str, float]) -> list[Strip]:
        return [
            Strip((PlacedWord(word, x, y, x + 60, y + 20, 0.9),), x, y, x + 60, y + 20)
            for word, x in placed
        ]

    size = PageSize(1000, 1400)
    title = words(40, ("Referral", 50), ("to", 145), ("Cardiology", 213))
    assert compose([(size, title)]).text == "Referral to Cardiology"
    table = [*title, *words(66, ("Sodium", 50), ("139", 145))]
    assert compose([(size, table)]).text == "Referral\tto Cardiology\nSodium\t139"
    far = words(40, ("Name", 50), ("Ward", 180))
    assert compose([(size, far)]).text == "Name\tWard"
