"""Tables of pages: rows, columns and header from where the words stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pages import OcrResult, PageSize, PlacedWord, Strip, compose, find_tables, strip_of

SIZE = (1000, 1400)
WORDS = st.text(alphabet="abcdefghij0123456789", min_size=1, max_size=8)


def cell(words: str, x: float, y: float) -> Strip:
    """A cell of words of 10 pixels a letter, 20 high."""
    placed = []
    for word in words.split():
        placed.append(PlacedWord(word, x, y, x + 10 * len(word), y + 20, 0.9))
        x += 10 * len(word) + 8
    return strip_of(placed, 0, SIZE)


def page(rows: list[list[str]], columns: list[float], y: float = 100) -> list[Strip]:
    """Rows of cells at the places of their columns; "" is an empty cell."""
    return [
        cell(words, columns[at], y + 30 * number)
        for number, row in enumerate(rows)
        for at, words in enumerate(row)
        if words
    ]


def read(strips: list[Strip], turn: int = 0) -> OcrResult:
    return compose([(PageSize(*SIZE, turn), strips)])


def grid(result: OcrResult) -> list[list[list[str]]]:
    """Each table as rows of the words of its cells."""
    tables = []
    for table in find_tables(result):
        rows = [[""] * table.columns for _ in range(table.rows)]
        for one in table.cells:
            assert not rows[one.row][one.column]
            rows[one.row][one.column] = result.text[one.start : one.end]
        tables.append(rows)
    return tables


LAB = [
    ["Test", "Result", "Unit", "Reference"],
    ["Sodium", "140", "mmol/L", "135 - 145"],
    ["Potassium", "5.9", "mmol/L", "3.5 - 5.1"],
    ["Serum creatinine", "88", "umol/L", "60 - 110"],
]
AT = [50.0, 350.0, 500.0, 700.0]


def test_a_table_of_laboratory_values_has_its_rows_columns_and_header() -> None:
    title = cell("Results of the laboratory, collected on 3 May", 50, 40)
    below = cell("Comment: potassium is high, please repeat within a day", 50, 300)
    result = read([title, *page(LAB, AT), below])
    assert grid(result) == [LAB]
    [table] = find_tables(result)
    assert table.header
    assert table.page == 0


def test_an_empty_cell_has_no_place_and_moves_no_other() -> None:
    rows = [*LAB[:2], ["Potassium", "5.9", "", "3.5 - 5.1"], LAB[3]]
    assert grid(read(page(rows, AT))) == [rows]


def test_a_table_without_names_of_columns_has_no_header() -> None:
    [table] = find_tables(read(page(LAB[1:], AT)))
    assert (table.rows, table.header) == (3, False)


def test_prose_is_no_table_and_neither_are_two_columns_of_it() -> None:
    sentence = "the patient was seen today and feels much better"
    lines = [[sentence, sentence]] * 6
    assert find_tables(read([cell(sentence, 50, 40 + 30 * at) for at in range(8)])) == ()
    assert find_tables(read(page(lines, [20.0, 520.0]))) == ()


def test_two_tables_far_apart_are_two() -> None:
    result = read([*page(LAB, AT), *page(LAB, [60.0, 300.0, 520.0, 720.0], y=500)])
    assert grid(result) == [LAB, LAB]


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_table_of_a_turned_page_is_the_same(turn: int) -> None:
    upright = page(LAB, AT)
    width, height = SIZE

    def turned(word: PlacedWord) -> PlacedWord:
        corners = {
            90: (word.y0, width - word.x1, word.y1, width - word.x0),
            180: (width - word.x1, height - word.y1, width - word.x0, height - word.y0),
            270: (height - word.y1, word.x0, height - word.y0, word.x1),
        }[turn]
        return PlacedWord(word.text, *corners, word.confidence)

    size = SIZE if turn == 180 else SIZE[::-1]
    strips = [strip_of([turned(word) for word in strip.words], turn, size) for strip in upright]
    result = compose([(PageSize(*size, turn), strips)])
    assert grid(result) == [LAB]


@given(
    st.integers(2, 5).flatmap(
        lambda columns: st.lists(
            st.lists(WORDS, min_size=columns, max_size=columns), min_size=3, max_size=8
        )
    )
)
def test_rows_of_cells_come_back(rows: list[list[str]]) -> None:
    columns = [30.0 + 180 * at for at in range(len(rows[0]))]
    assert grid(read(page(rows, columns))) == [rows]
