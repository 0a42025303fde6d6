from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from actors.config.deidentify import Category, ReplacementPolicy
from actors.deidentify import Edit
from actors.deidentify.pages import boxes_of, burnt
from actors.pages import DecodeLimits, OcrResult, PageSize, Word, open_pages
from actors.spans import Box

_BOX = Box(0, 30.0, 10.0, 60.0, 20.0)


def page(colour: str = "red") -> Image.Image:
    """White, with something of a colour in the box."""
    image = Image.new("RGB", (100, 50), "white")
    ImageDraw.Draw(image).rectangle((30, 10, 59, 19), fill=colour)
    return image


def encoded(image: Image.Image, kind: str, **more: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def read(content: bytes, limits: DecodeLimits | None = None) -> list[np.ndarray]:
    return [p.picture for p in open_pages(content, limits) if p.picture is not None]


def test_the_words_of_an_edit_are_burnt_whole() -> None:
    words = tuple(
        Word(start, end, Box(0, float(start), 0.0, float(end), 9.0), None)
        for start, end in ((0, 4), (5, 12), (13, 15))
    )
    reading = OcrResult("John Smith's is", words, (PageSize(20, 10),))
    edits = [
        Edit(0, 4, 0, 6, Category.NAME, ReplacementPolicy.MASK),
        Edit(5, 10, 7, 9, Category.NAME, ReplacementPolicy.MASK),
    ]
    assert boxes_of(reading, edits) == [words[0].box, words[1].box]
    both = [Edit(2, 10, 2, 9, Category.NAME, ReplacementPolicy.MASK)]
    assert boxes_of(reading, both) == [Box(0, 0.0, 0.0, 12.0, 9.0)]
    assert boxes_of(reading, []) == []


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "GIF"])
def test_a_picture_is_black_in_the_box_and_as_it_was_elsewhere(kind: str) -> None:
    content = encoded(page(), kind, **({"lossless": True} if kind == "WEBP" else {}))
    out, name = burnt(content, [_BOX])
    assert name == "png"
    before, after = read(content)[0], read(out)[0]
    assert not after[8:22, 28:62].any()
    assert (after[:7] == before[:7]).all()
    assert (after[24:] == before[24:]).all()
    assert (after[:, 66:] == before[:, 66:]).all()


def test_metadata_is_gone() -> None:
    info = PngInfo()
    info.add_text("Author", "Jane Doe")
    exif = Image.Exif()
    exif[0x013B] = "Jane Doe"
    for content in (
        encoded(page(), "PNG", pnginfo=info, exif=exif),
        encoded(page(), "JPEG", exif=exif, comment=b"Jane Doe"),
        encoded(page(), "TIFF", description="Jane Doe"),
    ):
        assert b"Jane Doe" in content
        out, _ = burnt(content, [])
        assert b"Jane Doe" not in out


def test_a_turned_photograph_is_burnt_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the viewer turns it by 90 degrees
    content = encoded(page().rotate(90, expand=True), "PNG", exif=exif)
    out, _ = burnt(content, [_BOX])
    after = read(out)[0]
    assert after.shape == (50, 100, 3)
    assert not after[8:22, 28:62].any()


def test_every_page_of_a_tiff_stays_a_page() -> None:
    content = encoded(page(), "TIFF", save_all=True, append_images=[page("blue"), page("green")])
    out, name = burnt(content, [Box(1, 30, 10, 60, 20)])
    assert name == "tiff"
    first, second, third = read(out)
    assert (first == read(content)[0]).all()
    assert not second[8:22, 28:62].any()
    assert (third == read(content)[2]).all()


def test_a_pdf_becomes_pictures_without_text_or_metadata() -> None:
    content = _text_pdf(b"Jane Doe 12345")
    limits = DecodeLimits(dpi=100)
    out, name = burnt(content, [], limits=limits)
    assert name == "pdf"
    (before,) = open_pages(content, limits)
    assert before.strips  # it had a text layer
    (after,) = open_pages(out, limits)
    assert not after.strips
    assert after.picture is not None
    assert (after.picture < 128).any()  # what was seen is seen
    assert abs(after.width - before.width) <= 1
    assert b"Jane" not in out
    assert b"Secret Title" in content
    assert b"Secret Title" not in out
    assert b"CreationDate" not in out
    box = Box(0, 0, 0, before.width, before.height)
    (burnt_page,) = read(burnt(content, [box], limits=limits)[0], limits)
    assert burnt_page.max() < 40


def test_a_box_on_no_page_and_a_file_of_no_kind_are_errors() -> None:
    with pytest.raises(ValueError, match="there are 1"):
        burnt(encoded(page(), "PNG"), [Box(1, 0, 0, 1, 1)])
    with pytest.raises(Exception, match="not an image"):
        burnt(b"no picture", [])


def _text_pdf(words: bytes) -> bytes:
    """A PDF of one page with a text layer and a title."""
    stream = b"BT /F1 24 Tf 20 100 Td (" + words * 8 + b") Tj ET"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 900 200]/Contents 4 0 R"
        b"/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Title(Secret Title)>>",
    ]
    out = b"%PDF-1.4\n"
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    at = len(out)
    out += b"xref\n0 7\n0000000000 65535 f \n" + table
    return out + b"trailer<</Size 7/Root 1 0 R/Info 6 0 R>>\nstartxref\n%d\n%%%%EOF" % at
