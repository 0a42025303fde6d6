"""Reading order: strips in, lines out; and the text with the places of its words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.pages import PageSize, PlacedWord, Strip, compose
from actors.pages.layout import reading_order


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
