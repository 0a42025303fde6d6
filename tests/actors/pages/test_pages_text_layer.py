"""The words that a PDF page has: what is believed, what is left out, what OCR must see."""

from __future__ import annotations

import pytest
from PIL import Image
from support.pdf_pages import PdfPage, scanned, shifted_font

from actors.pages import (
    DecodeLimits,
    Note,
    Page,
    Strip,
    compose,
    open_pages,
    page_problems,
    size_of,
)
from actors.pages.garbled_text import is_no_language

LINES = [
    "The patient takes metformin 500 mg twice daily with food and",
    "lisinopril 10 mg in the morning. Kidney function is normal.",
]
PAGE = 200 / 72  # pixels of a point


def only(content: bytes, limits: DecodeLimits | None = None) -> Page:
    (page,) = open_pages(content, limits)
    return page


def words(strips: tuple[Strip, ...]) -> list[str]:
    return [word.text for strip in strips for word in strip.words]


def letter() -> PdfPage:
    return PdfPage().text(LINES, 60, 700)


def test_a_page_of_text_alone_is_not_rendered() -> None:
    page = only(letter().draw("60 600 400 1 re f").save())
    assert words(page.strips) == " ".join(LINES).split()
    assert page.picture is None
    assert not page.notes


def test_a_page_with_nothing_on_it_is_not_rendered() -> None:
    assert only(PdfPage().save()) == Page(1700, 2200)


def test_a_picture_beside_text_is_where_ocr_looks() -> None:
    page = only(letter().picture(scanned(["a list"], (800, 300), 20), (60, 300, 348, 408)).save())
    assert words(page.strips) == " ".join(LINES).split()
    assert page.picture is not None
    assert page.region is not None
    x0, y0, x1, y1 = page.region
    assert x0 < 60 * PAGE < 348 * PAGE < x1 < 400 * PAGE
    assert y0 < (792 - 408) * PAGE < (792 - 300) * PAGE < y1 < (792 - 270) * PAGE


def test_text_drawn_as_outlines_beside_text_is_where_ocr_looks() -> None:
    made = letter()
    for number in range(6):  # letters like an o: two rounds of four curves
        x = 80 + 14 * number
        made.draw(_round(x, 300, 6) + _round(x, 300, 4) + "f*")
    page = only(made.save())
    assert words(page.strips) == " ".join(LINES).split()
    assert page.region is not None
    x0, y0, x1, y1 = page.region
    assert x0 < 74 * PAGE < 156 * PAGE < x1 < 200 * PAGE
    assert y0 < (792 - 306) * PAGE < (792 - 294) * PAGE < y1 < (792 - 250) * PAGE


def test_lines_boxes_and_a_few_round_things_are_not_searched() -> None:
    made = letter().draw("72 600 m 540 600 l S 72 500 200 40 re S")
    for number in range(3):
        made.draw(_round(80, 400 - 30 * number, 3) + "f")
    assert only(made.save()).picture is None


def _round(x: float, y: float, r: float) -> str:
    k = 0.55 * r
    return (
        f"{x + r} {y} m {x + r} {y + k} {x + k} {y + r} {x} {y + r} c "
        f"{x - k} {y + r} {x - r} {y + k} {x - r} {y} c "
        f"{x - r} {y - k} {x - k} {y - r} {x} {y - r} c "
        f"{x + k} {y - r} {x + r} {y - k} {x + r} {y} c h "
    )


def test_a_small_picture_is_not_searched() -> None:
    dot = Image.new("L", (9, 9), 0)
    assert only(letter().picture(dot, (40, 700, 46, 706)).save()).picture is None


def test_a_picture_that_was_cut_into_thin_strips_is_searched() -> None:
    page = letter()
    scan = scanned(["a list of drugs"], (1000, 400), 100)
    for row in range(40):
        part = scan.crop((0, 10 * row, 1000, 10 * row + 10))
        page.picture(part, (60, 396 - 4 * row, 460, 400 - 4 * row))
    assert only(page.save()).region is not None


@pytest.mark.parametrize(
    "hidden",
    [
        {"operators": "1 1 1 rg"},
        {"operators": "0 0 5 5 re W n"},
        {"points": 0.2},
    ],
    ids=["white", "clipped away", "tiny"],
)
def test_words_that_nobody_sees_are_left_out_and_counted(hidden: dict[str, object]) -> None:
    content = letter().text("secret warfarin", 60, 400, **hidden).save()  # type: ignore[arg-type]
    page = only(content)
    assert words(page.strips) == " ".join(LINES).split()
    assert page.notes == {Note.UNSEEN: 2}
    assert page.picture is None


def test_words_under_a_black_bar_are_left_out() -> None:
    page = letter().text("John Smith", 60, 400).draw("0 g 50 395 200 20 re f")
    found = only(page.save())
    assert words(found.strips) == " ".join(LINES).split()
    assert found.notes == {Note.UNSEEN: 2}


def test_white_words_on_a_dark_bar_are_read() -> None:
    page = letter().draw("0.2 g 50 395 200 20 re f").text("Results", 60, 400, operators="1 g")
    found = only(page.save())
    assert words(found.strips) == [*" ".join(LINES).split(), "Results"]
    assert not found.notes


def test_words_off_the_page_are_left_out_and_counted() -> None:
    page = only(letter().text("warfarin 5 mg", 60, -300).save())
    assert words(page.strips) == " ".join(LINES).split()
    assert page.notes == {Note.OUTSIDE: 3}


def test_words_beyond_the_crop_box_are_left_out() -> None:
    page = letter()
    page.keys = b"/CropBox[0 670 612 792]"
    found = only(page.text("warfarin", 60, 400).save())
    assert words(found.strips) == " ".join(LINES).split()
    assert found.notes == {Note.OUTSIDE: 1}
    assert all(0 <= w.y0 < w.y1 <= found.height for s in found.strips for w in s.words)


def test_invisible_words_over_a_scan_are_doubtful() -> None:
    scan = PdfPage().picture(scanned(LINES), (0, 0, 612, 792))
    page = only(scan.text(LINES, 60, 550, operators="3 Tr").save())
    assert words(page.doubtful) == " ".join(LINES).split()
    assert page.strips == ()
    assert page.picture is not None
    assert page.region is None


def test_words_below_a_scan_are_doubtful() -> None:
    page = PdfPage().text(LINES, 60, 550).picture(scanned(LINES), (0, 0, 612, 792))
    assert words(only(page.save()).doubtful) == " ".join(LINES).split()


def test_letters_that_are_no_language_are_doubtful_and_the_others_are_not() -> None:
    page = letter()
    page.text(
        "Give warfarin five milligrams in the evening for ever", 60, 500, font=shifted_font(page)
    )
    found = only(page.save())
    assert words(found.strips) == " ".join(LINES).split()
    assert len(words(found.doubtful)) == 9
    assert "warfarin" not in words(found.doubtful)
    assert found.picture is not None


def test_private_use_letters_are_left_to_ocr() -> None:
    page = letter()
    page.text("Give warfarin", 60, 500, font=shifted_font(page, private=True))
    found = only(page.save())
    assert words(found.strips) == " ".join(LINES).split()
    assert found.notes == {Note.UNREADABLE: 2}
    assert found.picture is not None


def test_bullets_in_a_symbol_font_do_not_send_a_page_to_ocr() -> None:
    page = letter()
    for y in (640, 620, 600):
        page.text("7", 60, y, font=shifted_font(page, private=True)).text("aspirin", 80, y)
    found = only(page.save())
    assert found.picture is None
    assert not found.notes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Metformin 500 mg twice daily, with food, for twelve weeks; then a review", False),
        ("METFORMIN FIVE HUNDRED MILLIGRAMS TWICE DAILY WITH FOOD FOR TWELVE WEEKS", False),
        ("El paciente de 54 años acude por dolor torácico opresivo desde hace dos horas", False),
        ("Bệnh nhân ho khan kéo dài, sốt về chiều, đã được điều trị lao phổi sáu tháng", False),
        ("Der Patient wurde mit Verdacht auf eine tiefe Beinvenenthrombose aufgenommen", False),
        ("Пациент жалуется на боли в груди и одышку при небольшой физической нагрузке", None),
        ("Nfugpsnjo gjwf ivoesfe njmmjhsbnt uxjdf ebjmz xjui gppe gps uxfmwf xffl", True),
        ("K 4.1 Na 139", None),
    ],
)
def test_letters_of_a_language_are_recognised(text: str, expected: bool | None) -> None:
    assert is_no_language(text.split()) is expected


def test_values_of_a_form_are_words_at_their_place_with_the_field_s_name() -> None:
    page = letter()
    page.form_field("Tx", "drug", (120, 495, 320, 515), "/V(warfarin sodium)")
    page.form_field("Ch", "unit", (120, 455, 320, 475), "/Ff 131072/Opt[[(1)(mg)][(2)(mcg)]]/V(2)")
    page.form_field("Tx", "pin", (120, 415, 320, 435), "/Ff 8192/V(1234)")
    page.form_field("Tx", "empty", (120, 375, 320, 395))
    found = only(page.save())
    values = [w for s in found.strips for w in s.words if w.field is not None]
    assert [(w.text, w.field) for w in values] == [
        ("warfarin", "drug"),
        ("sodium", "drug"),
        ("mcg", "unit"),
    ]
    for word in values[:2]:
        assert 120 * PAGE <= word.x0 < word.x1 <= 320 * PAGE
        assert (792 - 515) * PAGE - 1 <= word.y0 < word.y1 <= (792 - 495) * PAGE + 1
    assert found.picture is None


def test_check_boxes_and_radio_buttons_show_their_state() -> None:
    page = letter()
    page.button("smoker", (60, 500, 72, 512), on=True)
    page.button("pregnant", (60, 480, 72, 492), on=False)
    page.button("insulin", (60, 460, 72, 472), on=True, flags=32768)
    values = [w for s in only(page.save()).strips for w in s.words if w.field is not None]
    assert [(w.text, w.field) for w in values] == [
        ("☒", "smoker"),
        ("☐", "pregnant"),
        ("☒", "insulin"),
    ]


def test_comments_and_stamps_are_words_and_hidden_ones_are_not() -> None:
    page = letter()
    page.annotation("FreeText", (400, 600, 560, 640), "/Contents(STOPPED 3 March)/DA(/Helv 10 Tf)")
    page.annotation("Text", (400, 560, 420, 580), "/Contents(ask the cardiologist)")
    page.annotation("Stamp", (400, 500, 500, 540), "/Contents(COPY)")
    page.annotation("Text", (400, 460, 420, 480), "/F 2/Contents(hidden)")
    page.annotation("Popup", (400, 460, 420, 480), "/Contents(popup)")
    found = words(only(page.save()).strips)[len(" ".join(LINES).split()) :]
    assert found == ["STOPPED", "3", "March", "ask", "the", "cardiologist", "COPY"]


def test_words_that_are_struck_out_are_counted() -> None:
    page = letter().annotation("StrikeOut", (60, 695, 120, 712))
    assert only(page.save()).notes == {Note.STRUCK_OUT: 2}


def test_a_stamp_without_text_is_looked_at() -> None:
    page = letter().annotation("Stamp", (400, 500, 500, 540))
    assert only(page.save()).region is not None


def test_without_a_text_layer_fields_are_still_words() -> None:
    page = letter().form_field("Tx", "drug", (120, 495, 320, 515), "/V(warfarin)")
    found = only(page.save(), DecodeLimits(text_layer=False))
    assert words(found.strips) == ["warfarin"]
    assert found.covered
    assert found.picture is not None


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_boxes_of_a_rotated_page_are_those_of_the_shown_one(turn: int) -> None:
    page = letter()
    page.keys = b"/Rotate %d" % turn
    found = only(page.save())
    assert {strip.turn for strip in found.strips} == {(360 - turn) % 360}
    assert all(
        0 <= w.x0 < w.x1 <= found.width and 0 <= w.y0 < w.y1 <= found.height
        for s in found.strips
        for w in s.words
    )


def test_problems_name_pages_and_add_up() -> None:
    notes = [{Note.UNSEEN: 2}, {}, {Note.UNSEEN: 1}, {Note.UNSEEN: 4, Note.PICTURES: 0}]
    assert page_problems(notes) == (
        "pages 1, 3-4: 7 words of the text layer left out: they cannot be seen on the page",
    )


def text_of(page: PdfPage) -> str:
    found = only(page.save())
    return compose([(size_of(found.width, found.height, found.strips), found.strips)]).text


def test_a_word_that_a_line_end_breaks_is_read_as_one() -> None:
    page = PdfPage().text(
        ["She has taken the drug metfor-", "min 500 mg for a non-", "small tumour"], 60, 700
    )
    assert text_of(page) == "She has taken the drug metformin\n500 mg for a non-small\ntumour"


LEFT = """The left column of prose goes on and on
and has some more words in every line
because prose is made of long lines of
words that fill the column almost whole"""
RIGHT = """In the right column there is other text
which tells of something else entirely
and it must not be mixed with the left
one, or nobody understands a word that"""


@pytest.mark.parametrize("by_row", [True, False], ids=["row by row", "column by column"])
@pytest.mark.parametrize("gutter", [5, 8, 12, 30])
def test_columns_of_a_text_layer_do_not_interleave(by_row: bool, gutter: float) -> None:
    page, left, right = PdfPage(), LEFT.splitlines(), RIGHT.splitlines()
    edge = 60 + 179 + gutter  # the longest line of the left column is 179 points wide
    if by_row:
        for i, (one, other) in enumerate(zip(left, right, strict=True)):
            page.text(one, 60, 700 - 12 * i, 10).text(other, edge, 700 - 12 * i, 10)
    else:
        page.text(left, 60, 700, 10).text(right, edge, 700, 10)
    assert text_of(page) == f"{LEFT}\n{RIGHT}"


@pytest.mark.parametrize("matrix", ["0 1 -1 0", "0 -1 1 0"], ids=["upwards", "downwards"])
def test_sideways_text_beside_upright_text_keeps_its_order(matrix: str) -> None:
    page = letter().text(["Draft of the study", "second line"], 40, 300, 10, matrix=matrix)
    assert text_of(page) == "\n".join(LINES) + "\n\nDraft of the study\nsecond line"
