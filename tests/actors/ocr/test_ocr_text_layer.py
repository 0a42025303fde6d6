"""Pages with words partly in their text layer and partly in pictures."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from support.hidden_layer import FONT, with_hidden_layer
from support.pdf_pages import PdfPage, scanned, shifted_font

from actors.config.ocr import load_ocr
from actors.ocr import OcrReader
from actors.pages import OcrResult, find_fields, place
from actors.spans import Document, spanning

pytestmark = pytest.mark.weights

BANNER = "FROM: DAY CLINIC FAX 0000  TO: WARD 4  PAGE 1 OF 1  RECEIVED 2024-05-02 09:14 ROOM 2"
NOTICE = "CONFIDENTIAL: if you are not the intended reader of this message please destroy it now"
BODY = ["Start apixaban 5 mg twice daily", "Stop warfarin today"]
WHOLE = (0, 0, 612, 792)


@pytest.fixture(scope="module")
def reader() -> Iterator[OcrReader]:
    with OcrReader(load_ocr("starter:ocr"), threads=2) as made:
        yield made


def read(reader: OcrReader, page: PdfPage) -> OcrResult:
    (found,) = reader.read([Document(id="page", image=page.save())])
    assert isinstance(found, OcrResult)
    return found


def test_a_banner_over_a_scan_does_not_hide_it(reader: OcrReader) -> None:
    page = PdfPage().picture(scanned(BODY), WHOLE).text(BANNER, 20, 770, 8).text(NOTICE, 20, 10, 8)
    found = read(reader, page)
    assert found.text.split("\n\n") == [" ".join(BANNER.split()), *BODY, NOTICE]
    assert found.problems == ("page 1: 2 lines that the text layer does not have were read by OCR",)
    confidence = {found.text[w.start : w.end]: w.confidence for w in found.words}
    assert confidence["CONFIDENTIAL:"] is None
    assert confidence["apixaban"] is not None


def test_a_pasted_list_is_read_where_it_stands(reader: OcrReader) -> None:
    page = PdfPage().text("Medication at home, as her daughter has sent it:", 60, 700)
    pasted = scanned(["Apixaban 5 mg", "Bisoprolol 2.5 mg"], (1000, 300), 20, 50)
    page.picture(pasted, (60, 560, 420, 668))
    page.text("Please continue all of these for four weeks.", 60, 520)
    found = read(reader, page)
    assert found.text.split("\n\n") == [
        "Medication at home, as her daughter has sent it:",
        "Apixaban 5 mg",
        "Bisoprolol 2.5 mg",
        "Please continue all of these for four weeks.",
    ]
    start = found.text.index("Bisoprolol")
    (entity,) = place([spanning(found.text, start, start + 10, "Drug")], found)
    (box,) = entity.boxes
    assert 60 < box.x0 * 72 / 200 < box.x1 * 72 / 200 < 420
    assert 560 < 792 - box.y1 * 72 / 200 < 792 - box.y0 * 72 / 200 < 668


@pytest.mark.parametrize("at_once", [False, True], ids=["by letter", "a line at once"])
def test_text_drawn_as_outlines_is_read_beside_the_text_layer(
    reader: OcrReader, at_once: bool
) -> None:
    page = PdfPage().text("Medication at home, as her daughter has sent it:", 60, 700)
    draw_outlines(page, "Apixaban 5 mg twice daily", (60, 600), 14, at_once)
    found = read(reader, page)
    assert " ".join(found.text.split()) == (
        "Medication at home, as her daughter has sent it: Apixaban 5 mg twice daily"
    )
    assert found.problems == ("page 1: 1 lines that the text layer does not have were read by OCR",)


def draw_outlines(
    page: PdfPage, text: str, place: tuple[float, float], points: float, at_once: bool
) -> None:
    """Draw a text as filled polygons, as some programs do instead of embedding a font."""
    large = 100
    face = ImageFont.load_default(large)
    image = Image.new("L", (int(face.getlength(text)) + 20, 2 * large), 0)
    ImageDraw.Draw(image).text((10, 10), text, fill=255, font=face)
    contours, levels = cv2.findContours(np.asarray(image), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_L1)
    scale, path = points / large, ""
    for number, contour in enumerate(contours):
        corners = [
            f"{place[0] + scale * x:.2f} {place[1] - scale * y:.2f}" for x, y in contour[:, 0]
        ]
        path += f"{corners[0]} m " + "".join(f"{one} l " for one in corners[1:]) + "h "
        following = levels[0][number + 1] if number + 1 < len(contours) else None
        if not at_once and (following is None or following[3] < 0):  # what follows is no hole
            page.draw(path + "f*")
            path = ""
    if path:
        page.draw(path + "f*")


def test_a_value_typed_on_a_scanned_form_is_read_once(reader: OcrReader) -> None:
    form = scanned(["Name of the drug:", "How much of it, and how often:"])
    page = PdfPage().picture(form, WHOLE)
    page.form_field("Tx", "drug", (220, 552, 420, 576), "/V(warfarin)")
    found = read(reader, page)
    text = "Name of the drug: warfarin How much of it, and how often:"
    assert " ".join(found.text.split()) == text
    start = found.text.index("warfarin")
    drug = spanning(found.text, start, start + 8, "Drug")
    (entity,) = place([drug], found, find_fields(found))
    assert entity.attributes == {"field": "drug"}


@pytest.mark.parametrize("private", [False, True], ids=["shifted", "private use"])
def test_a_layer_that_is_no_language_is_read_by_ocr(reader: OcrReader, private: bool) -> None:
    lines = ["Metformin five hundred milligrams twice daily", "with food for twelve weeks"]
    page = PdfPage()
    page.text(lines, 40, 700, 14, font=shifted_font(page, private=private))
    found = read(reader, page)
    assert found.text.split("\n") == lines
    assert found.problems == (
        "page 1: 11 words of the text layer are not what the page shows and were left to OCR",
    )


def test_rare_letters_that_the_page_shows_are_kept(reader: OcrReader) -> None:
    line = "TSH FT4 FT3 LDH CRP GGT PTT PCV MCV MCH RDW PLT WBC RBC HGB HCT PSA BNP CK-MB"
    found = read(reader, PdfPage().text(line, 40, 700, 11))
    assert found.text == line
    assert {word.confidence for word in found.words} == {None}
    assert found.problems == ()


def test_an_invisible_layer_counts_if_it_matches_the_scan(reader: OcrReader) -> None:
    def page(layer: list[str]) -> PdfPage:
        made = PdfPage().picture(scanned(BODY), WHOLE)
        for number, line in enumerate(layer):
            made.text(line, 40, 561 - 40.3 * number, 17, operators="3 Tr")
        return made

    good = read(reader, page(BODY))
    assert good.text.split("\n\n") == BODY
    assert {word.confidence for word in good.words} == {None}
    assert good.problems == ()
    poor = read(reader, page(["5tart apjxabam S mq twjce dajly", "8top varfarln tnday"]))
    assert poor.text.split() == " ".join(BODY).split()
    assert None not in {word.confidence for word in poor.words}
    assert len(poor.problems) == 1


def test_invisible_words_where_the_scan_has_none_are_left_out(reader: OcrReader) -> None:
    page = PdfPage().picture(scanned(BODY), WHOLE)
    found = read(reader, page.text("no history of diabetes", 40, 200, operators="3 Tr"))
    assert found.text.split() == " ".join(BODY).split()
    assert found.problems == (
        "page 1: 4 words of the text layer left out: they cannot be seen on the page",
    )


def test_a_sideways_scan_below_an_upright_banner_is_read(reader: OcrReader) -> None:
    scan = scanned(BODY, (2200, 1700)).rotate(90, expand=True)
    found = read(reader, PdfPage().picture(scan, WHOLE).text(BANNER[:60], 20, 770, 8))
    assert "Start apixaban 5 mg twice daily" in found.text
    assert "FROM: DAY CLINIC" in found.text


VIETNAMESE = [
    "Bệnh nhân nữ nhập viện vì đau ngực trái và khó thở tăng dần.",
    "Khám phổi: ran ẩm ở hai đáy phổi, không ran rít, không ran ngáy.",
    "Đang dùng metformin 500 mg ngày hai lần và amlodipin 5 mg mỗi sáng.",
]
RUSSIAN = [
    "Пациент поступил с жалобами на боль в груди и одышку.",
    "Назначен метформин 500 мг два раза в день после еды.",
]
ENGLISH = [
    "The patient was admitted with chest pain and some breathlessness.",
    "Continue metformin 500 mg twice daily for twelve weeks, with food.",
    "Mild oedema of both ankles; an allergy to penicillin with a rash.",
]
needs_font = pytest.mark.skipif(not FONT.exists(), reason="needs the font DejaVu Sans")


@needs_font
@pytest.mark.parametrize("lines", [VIETNAMESE, ENGLISH], ids=["vi", "en"])
def test_a_hidden_layer_does_not_lose_to_a_recogniser_that_lacks_its_letters(
    reader: OcrReader, lines: list[str]
) -> None:
    found = read_hidden(reader, lines, lines)
    assert found.text.split("\n\n") == lines
    assert {word.confidence for word in found.words} == {None}
    assert found.problems == ()


@needs_font
def test_a_hidden_layer_that_ocr_cannot_judge_is_kept_and_said(reader: OcrReader) -> None:
    found = read_hidden(reader, RUSSIAN, RUSSIAN)
    assert found.text.split("\n\n") == RUSSIAN
    (problem,) = found.problems
    assert problem.startswith("page 1: 20 words of a hidden text layer were kept although OCR")


@needs_font
@pytest.mark.parametrize(
    "layer",
    [
        ENGLISH,
        [line.replace("n", "")[::-1] for line in VIETNAMESE],
        [line.translate(dict.fromkeys(map(ord, "aáàmhiì"))) for line in VIETNAMESE],
    ],
    ids=["other words", "turned round", "letters lost"],
)
def test_a_wrong_layer_over_letters_that_the_recogniser_lacks_is_left_to_ocr(
    reader: OcrReader, layer: list[str]
) -> None:
    found = read_hidden(reader, VIETNAMESE, layer)
    assert None not in {word.confidence for word in found.words}
    assert "are not what the page shows and were left to OCR" in found.problems[0]


@needs_font
def test_an_english_page_under_unknown_letters_is_left_to_ocr(reader: OcrReader) -> None:
    cyrillic = [line.translate({97 + i: 0x430 + i for i in range(26)}) for line in ENGLISH]
    found = read_hidden(reader, ENGLISH, cyrillic)
    assert " ".join(found.text.split()) == " ".join(ENGLISH)


def read_hidden(reader: OcrReader, shown: list[str], layer: list[str]) -> OcrResult:
    content = with_hidden_layer(shown, layer, ImageFont.truetype(str(FONT), 26))
    (found,) = reader.read([Document(id="page", image=content)])
    assert isinstance(found, OcrResult)
    return found
