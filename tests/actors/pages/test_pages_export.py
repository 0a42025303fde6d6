"""OCR results in the formats of other tools: written, and read back by them or by our parser."""

from __future__ import annotations

import ctypes
import io
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from xml.etree import ElementTree as Tree

import numpy as np
import pypdfium2 as pdfium
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pypdf import PdfReader, PdfWriter
from pypdf.generic import RectangleObject
from support.pages_bombs import text_pdf

from actors.pages import DamagedFile, DecodeLimits, OcrResult, PageSize, Word
from actors.pages.export import write_alto, write_hocr, write_searchable_pdf
from actors.spans import Box

Placed = tuple[str, tuple[float, float, float, float], float | None]

SIZE = (400, 600)
LIMITS = DecodeLimits(dpi=200)


def made(*pages: tuple[PageSize, list[list[Placed]]], joined: bool = False) -> OcrResult:
    """A result of these pages of lines of words; ``joined``: lines end in the middle of a word."""
    text, words = "", []
    for number, (_, lines) in enumerate(pages):
        for at, line in enumerate(lines):
            if text and not joined:
                text += "\n" if at else "\n\n"
            for place, (word, box, confidence) in enumerate(line):
                text += " " if place else ""
                words.append(Word(len(text), len(text) + len(word), Box(number, *box), confidence))
                text += word
    return OcrResult(text, tuple(words), tuple(size for size, _ in pages))


def hocr_words(result: OcrResult, name: str = "scan.png") -> list[list[list[Placed]]]:
    """The words of every line of every page, parsed back from hOCR."""
    file = io.StringIO()
    write_hocr(result, name, file)
    root = Tree.fromstring(file.getvalue().encode())
    return [
        [[_hocr_word(word) for word in line] for line in page.iter() if of(line, "ocr_line")]
        for page in root.iter()
        if of(page, "ocr_page")
    ]


def of(element: Tree.Element, kind: str) -> bool:
    return element.get("class") == kind


def _hocr_word(element: Tree.Element) -> Placed:
    properties = dict(
        part.strip().split(" ", 1) for part in (element.get("title") or "").split(";")
    )
    x0, y0, x1, y1 = map(float, properties["bbox"].split())
    sure = properties.get("x_wconf")
    return element.text or "", (x0, y0, x1, y1), None if sure is None else float(sure) / 100


NS = "{http://www.loc.gov/standards/alto/ns-v4#}"
# The children that the schema's sequences allow, in order, and the attributes it requires, for the
# elements that are written.
CHILDREN = {
    "alto": ["Description", "Layout"],
    "Description": ["MeasurementUnit", "sourceImageInformation", "Processing"],
    "sourceImageInformation": ["fileName"],
    "Processing": ["processingSoftware"],
    "processingSoftware": ["softwareName"],
    "Layout": ["Page"],
    "Page": ["PrintSpace"],
    "PrintSpace": ["TextBlock"],
    "TextBlock": ["TextLine"],
    "TextLine": ["String", "SP"],
}
REQUIRED = {
    "Page": {"ID", "PHYSICAL_IMG_NR"},
    "Processing": {"ID"},
    "TextBlock": {"ID"},
    "String": {"CONTENT"},
}
NUMBERS = {"HPOS", "VPOS", "WIDTH", "HEIGHT", "WC", "ROTATION", "PHYSICAL_IMG_NR"}


def alto(result: OcrResult, name: str = "scan.png") -> Tree.Element:
    """ALTO, held to the structure of the v4 schema."""
    file = io.StringIO()
    write_alto(result, name, file)
    root = Tree.fromstring(file.getvalue().encode())
    ids: list[str] = []
    for element in root.iter():
        tag = element.tag.removeprefix(NS)
        assert element.tag != tag, "every element is in ALTO's namespace"
        order = [CHILDREN[tag].index(child.tag.removeprefix(NS)) for child in element]
        if tag == "TextLine":
            assert order[0] == 0
            assert all(a != b for a, b in pairwise(order)), "a space between two words"
        else:
            assert order == sorted(order)
        assert element.attrib.keys() >= REQUIRED.get(tag, set())
        ids += [element.attrib["ID"]] if "ID" in element.attrib else []
        assert all(float(element.attrib[key]) >= 0 for key in NUMBERS & element.attrib.keys())
        assert float(element.get("WC", "0")) <= 1
    assert len(ids) == len(set(ids))
    return root


def test_hocr_and_alto_have_the_words_and_their_boxes() -> None:
    lines: list[list[Placed]] = [
        [("Metformin", (20.4, 50, 120, 71.6), 0.93), ("<500", (130, 50, 180, 70), None)],
        [('"phổi"', (20, 80, 90, 100), 0.5)],
    ]
    result = made((PageSize(*SIZE), lines), (PageSize(30, 40), []))
    assert hocr_words(result, 'a "scan" & <b>.png') == [
        [
            [("Metformin", (20, 50, 120, 72), 0.93), ("<500", (130, 50, 180, 70), None)],
            [('"phổi"', (20, 80, 90, 100), 0.5)],
        ],
        [],
    ]
    root = alto(result)
    strings = [(e.get("CONTENT"), e.get("HPOS"), e.get("WC")) for e in root.iter(f"{NS}String")]
    assert strings == [
        ("Metformin", "20.4", "0.930"), ("<500", "130.0", None), ('"phổi"', "20.0", "0.500"),
    ]  # fmt: skip
    assert len(list(root.iter(f"{NS}TextLine"))) == 2
    assert len(list(root.iter(f"{NS}Page"))) == 2


@given(st.lists(st.lists(st.text(min_size=1, max_size=6), max_size=3), max_size=4))
def test_any_words_can_be_written(words: list[list[str]]) -> None:
    lines: list[list[Placed]] = [
        [(word, (10.0 * at, 20.0, 10.0 * at + 8, 30.0), 0.5) for at, word in enumerate(line)]
        for line in words
        if line
    ]
    result = made((PageSize(*SIZE), lines))
    root = alto(result)
    content = [element.get("CONTENT") for element in root.iter(f"{NS}String")]
    assert len(content) == len(result.words)
    assert sum(len(line) for line in hocr_words(result)[0]) == len(result.words)


def test_a_broken_word_is_two_words_of_two_lines() -> None:
    box = (10.0, 10.0, 50.0, 20.0)
    result = made((PageSize(*SIZE), [[("metfor", box, 0.9)], [("min", box, 0.9)]]), joined=True)
    assert result.text == "metformin"
    assert [[word[0] for word in line] for line in hocr_words(result)[0]] == [["metfor"], ["min"]]


def image(size: tuple[int, int] = SIZE) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), 255, np.uint8)).save(file, "PNG")
    return file.getvalue()


def searchable(content: bytes, result: OcrResult, limits: DecodeLimits = LIMITS) -> bytes:
    file = io.BytesIO()
    write_searchable_pdf(content, result, limits, file)
    return file.getvalue()


def found(content: bytes, word: str, page: int = 0) -> Iterator[tuple[float, float, float, float]]:
    """Find a word with pdfium: rectangles in fractions of the page, y downwards."""
    document = pdfium.PdfDocument(content)
    width, height = document[page].get_size()
    text = document[page].get_textpage()
    search = text.search(word, match_case=True)
    while (hit := search.get_next()) is not None:
        boxes = [text.get_charbox(hit[0] + at) for at in range(hit[1])]
        left, bottom = min(b[0] for b in boxes), min(b[1] for b in boxes)
        right, top = max(b[2] for b in boxes), max(b[3] for b in boxes)
        yield left / width, 1 - top / height, right / width, 1 - bottom / height


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_pdfium_finds_the_words_of_an_image_where_they_are(turn: int) -> None:
    box = (100.0, 60.0, 300.0, 90.0) if turn in (0, 180) else (60.0, 100.0, 90.0, 300.0)
    other = (100.0, 200.0, 300.0, 230.0) if turn in (0, 180) else (200.0, 100.0, 230.0, 300.0)
    result = made((PageSize(*SIZE, turn), [[("Metformin", box, 0.9)], [("phổi", other, 0.9)]]))
    content = searchable(image(), result)
    assert pdfium.PdfDocument(content)[0].get_size() == (400 * 72 / 200, 600 * 72 / 200)
    for word, (x0, y0, x1, y1) in (("Metformin", box), ("phổi", other)):
        [place] = found(content, word)
        expected = (x0 / SIZE[0], y0 / SIZE[1], x1 / SIZE[0], y1 / SIZE[1])
        assert place == pytest.approx(expected, abs=0.01)


def test_the_page_looks_as_before() -> None:
    pixels = np.full((*SIZE[::-1], 3), 255, np.uint8)
    pixels[50:80, 40:200] = 0
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    result = made((PageSize(*SIZE), [[("Metformin", (40, 250, 200, 280), 0.9)]]))
    content = searchable(file.getvalue(), result)
    drawn = pdfium.PdfDocument(content)[0].render(scale=200 / 72).to_numpy()[:600, :400, :3]
    assert np.abs(drawn.astype(int) - pixels).mean() < 2, "the words are not drawn"


def turned_pdf(turn: int, crop: tuple[float, float, float, float] | None = None) -> bytes:
    """A page that says "stamp", with /Rotate and a crop box."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(text_pdf(b"stamp"))))
    page = writer.pages[0]
    page.rotate(turn)
    if crop is not None:
        page.cropbox = RectangleObject(crop)
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


@pytest.mark.parametrize("crop", [None, (20, 30, 180, 150)])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_words_stand_where_a_viewer_shows_them_on_a_turned_pdf(
    turn: int, crop: tuple[float, float, float, float] | None
) -> None:
    before = turned_pdf(turn, crop)
    width, height = pdfium.PdfDocument(before)[0].get_size()
    size = PageSize(round(width * 3), round(height * 3))
    box = (size.width * 0.25, size.height * 0.5, size.width * 0.75, size.height * 0.6)
    result = made((size, [[("stamp", (0, 0, 9, 9), None), ("Metformin", box, 0.9)]]))
    after = searchable(before, result)
    document = pdfium.PdfDocument(after)
    text = document[0].get_textpage().get_text_range()
    assert text.count("stamp") == 1, "its own text is not written again"
    assert text.count("Metformin") == 1
    shown = pdfium.PdfDocument(before)[0].render(scale=2).to_numpy()
    assert np.array_equal(document[0].render(scale=2).to_numpy(), shown)
    # pdfium's places are those of the page that is not turned: told by the corners of a viewer.
    [place] = viewer_places(document[0], "Metformin")
    assert place == pytest.approx((0.25, 0.5, 0.75, 0.6), abs=0.02)


def viewer_places(page: pdfium.PdfPage, word: str) -> Iterator[tuple[float, float, float, float]]:
    text = page.get_textpage()
    search = text.search(word)
    while (hit := search.get_next()) is not None:
        corners = []
        for at in range(hit[0], hit[0] + hit[1]):
            left, bottom, right, top = text.get_charbox(at)
            for x, y in ((left, bottom), (right, top)):
                column, row = ctypes.c_int(), ctypes.c_int()
                pdfium.raw.FPDF_PageToDevice(page, 0, 0, 10_000, 10_000, 0, x, y, column, row)
                corners.append((column.value / 10_000, row.value / 10_000))
        xs, ys = zip(*corners, strict=True)
        yield min(xs), min(ys), max(xs), max(ys)


def test_a_pdf_without_words_of_ocr_keeps_its_pages() -> None:
    before = text_pdf(b"stamp")
    after = searchable(before, made((PageSize(*SIZE), [[("stamp", (0, 0, 9, 9), None)]])))
    drawings = [PdfReader(io.BytesIO(file)).pages[0].get_contents() for file in (before, after)]
    assert drawings[0] is not None
    assert drawings[1] is not None
    assert drawings[0].get_data() == drawings[1].get_data()


def test_a_pdf_that_cannot_be_rewritten_is_an_error() -> None:
    result = made((PageSize(*SIZE), [[("word", (0, 0, 9, 9), 0.9)]]))
    with pytest.raises(DamagedFile):
        searchable(b"%PDF-1.4\nnothing", result)


@pytest.mark.parametrize(
    ("form", "pages"),
    [("TIFF", 2), ("GIF", 2), ("WEBP", 2), ("BMP", 1), ("JPEG", 1), ("JPEG2000", 1), ("AVIF", 1)],
)
def test_every_frame_of_an_image_of_any_format_is_a_page(form: str, pages: int) -> None:
    frames = [Image.new("L", SIZE, shade) for shade in (255, 128)]
    file = io.BytesIO()
    more = {"save_all": True, "append_images": frames[1:]} if pages > 1 else {}
    frames[0].save(file, form, **more)
    box = (100.0, 60.0, 300.0, 90.0)
    lines: list[list[Placed]] = [[("Metformin", box, 0.9)]]
    result = made(*[(PageSize(*SIZE), lines)] * pages)
    content = searchable(file.getvalue(), result)
    assert len(PdfReader(io.BytesIO(content), strict=True).pages) == pages
    for number in range(pages):
        [place] = found(content, "Metformin", number)
        assert place == pytest.approx((0.25, 0.1, 0.75, 0.15), abs=0.01)


class _Forgetful(io.RawIOBase):
    """A file that counts what is written and keeps nothing."""

    size = 0

    def writable(self) -> bool:
        return True

    def write(self, content: object) -> int:
        length = len(memoryview(content))  # type: ignore[arg-type]  # any buffer
        self.size += length
        return length


def test_pages_of_images_are_not_kept_while_the_pdf_is_written() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (*SIZE[::-1], 3), np.uint8)
    frames = [Image.fromarray(np.roll(noise, shift, axis=0)) for shift in range(20)]
    file = io.BytesIO()
    frames[0].save(file, "TIFF", save_all=True, append_images=frames[1:])
    content, result = file.getvalue(), made(*[(PageSize(*SIZE), [])] * 20)
    out = _Forgetful()
    tracemalloc.start()
    try:
        write_searchable_pdf(content, result, LIMITS, out)  # type: ignore[arg-type]  # it only writes
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.7 * out.size, "one page and its JPEG, and not those of all"
