"""Files of every kind, good and bad: pages, or an error that says what is wrong."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pydicom
import pypdfium2 as pdfium
import pytest
from PIL import Image
from support import ROOT
from support.images import dicom, encoded

from actors.pages import (
    DamagedFile,
    DecodeLimits,
    EmptyFile,
    Page,
    PageError,
    PasswordNeeded,
    TooManyPages,
    TooManyPixels,
    UnknownFormat,
    UnsupportedEncoding,
    open_pages,
    page_format,
)

SAMPLES = ROOT / "configs" / "samples" / "pages"


def only_page(content: bytes) -> Page:
    (page,) = open_pages(content)
    return page


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"])
def test_a_picture_of_every_format_is_a_page(form: str) -> None:
    page = only_page(encoded(Image.new("RGB", (30, 20), (200, 100, 0)), form))
    assert (page.width, page.height) == (30, 20)
    assert page.picture is not None
    assert page.picture.shape == (20, 30, 3)
    assert page.picture[10, 15, 2] > page.picture[10, 15, 0]  # blue comes first


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_kind_of_pixel_becomes_eight_bits(mode: str) -> None:
    picture = only_page(encoded(Image.new(mode, (16, 16)), "TIFF")).picture
    assert picture is not None
    assert picture.dtype == np.uint8
    assert picture.shape == (16, 16, 3)


def test_transparent_pixels_become_white() -> None:
    picture = only_page(encoded(Image.new("RGBA", (16, 16), (0, 0, 0, 0)), "PNG")).picture
    assert picture is not None
    assert picture.min() == 255


def test_the_camera_s_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it turned clockwise by 90 degrees
    page = only_page(encoded(Image.new("RGB", (40, 10)), "JPEG", exif=exif))
    assert (page.width, page.height) == (10, 40)


def test_every_frame_of_a_tiff_is_a_page() -> None:
    frames = [Image.new("L", (20 + i, 10)) for i in range(3)]
    content = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert [page.width for page in open_pages(content)] == [20, 21, 22]
    with pytest.raises(TooManyPages):
        list(open_pages(content, DecodeLimits(max_pages=2)))


def test_a_name_does_not_matter_and_content_does() -> None:
    assert page_format(encoded(Image.new("L", (9, 9)), "PNG")) == "png"
    with pytest.raises(UnknownFormat):
        list(open_pages(b"this was named scan.jpg"))
    with pytest.raises(EmptyFile):
        list(open_pages(b""))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_truncated_file_is_an_error(form: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), form)
    cut = content[: max(13, int(len(content) * share))]
    with pytest.raises(PageError):
        list(open_pages(cut))


def test_a_large_picture_is_refused_before_it_is_decoded() -> None:
    # 20,000 x 20,000 pixels of one colour: 50 kB here, 1.2 GB decoded.
    header = encoded(Image.new("1", (8, 8)), "PNG")
    large = _png_of_size(header, 20_000, 20_000)
    with pytest.raises(TooManyPixels, match="the limit is 60 megapixels"):
        list(open_pages(large))
    with pytest.raises(TooManyPixels):
        list(open_pages(_png_of_size(header, 60_000, 60_000)))


def _png_of_size(content: bytes, width: int, height: int) -> bytes:
    head = b"IHDR" + width.to_bytes(4) + height.to_bytes(4) + content[24:29]
    return content[:12] + head + zlib.crc32(head).to_bytes(4) + content[33:]


def test_frames_of_a_dicom_file_are_pages_stretched_to_what_they_hold() -> None:
    values = np.zeros((2, 12, 16), np.uint16)
    values[:, 6:, :] = 3000
    pages = list(open_pages(dicom(values, NumberOfFrames=2)))
    assert [(page.width, page.height) for page in pages] == [(16, 12)] * 2
    assert pages[0].picture is not None
    assert (pages[0].picture.min(), pages[0].picture.max()) == (0, 255)
    inverse = only_page(dicom(values[0], PhotometricInterpretation="MONOCHROME1")).picture
    assert inverse is not None
    assert inverse[0, 0, 0] == 255


def test_a_dicom_file_of_too_many_pixels_or_without_any_is_refused() -> None:
    values = np.zeros((12, 16), np.uint16)
    with pytest.raises(TooManyPixels):
        list(open_pages(dicom(values), DecodeLimits(max_pixels=100)))
    with pytest.raises(TooManyPages):
        list(open_pages(dicom(values, NumberOfFrames=9), DecodeLimits(max_pages=8)))
    without = pydicom.dcmread(io.BytesIO(dicom(values)))
    del without.PixelData
    file = io.BytesIO()
    without.save_as(file)
    with pytest.raises(EmptyFile):
        list(open_pages(file.getvalue()))


def test_odd_values_of_a_dicom_file_are_not_repeated_anywhere(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    content = dicom(np.zeros((12, 16), np.uint16), PatientName="x", StudyDate="19600211")
    odd = content.replace(b"19600211", b"SMITH JO")
    assert len(list(open_pages(odd))) == 1
    out, err = capfd.readouterr()
    assert "SMITH" not in out + err + caplog.text


def test_a_deflated_dicom_file_is_refused() -> None:
    content = dicom(np.zeros((12, 16), np.uint16))
    named = content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99", 1)
    with pytest.raises(UnsupportedEncoding):
        list(open_pages(named))


def test_a_pdf_page_gives_its_own_text_and_a_scan_its_picture() -> None:
    first, second = open_pages((SAMPLES / "letter-and-scan.pdf").read_bytes())
    assert first.picture is None
    words = [word for strip in first.strips for word in strip.words]
    assert {"naproxen", "500", "mg"} <= {word.text for word in words}
    assert all(0 <= w.x0 < w.x1 <= first.width and 0 <= w.y0 < w.y1 <= first.height for w in words)
    assert all(word.confidence is None for word in words)
    assert second.picture is not None
    assert abs(second.width - 1000) <= 2  # rendered at the resolution it was scanned in


def test_a_huge_pdf_page_is_rendered_coarser() -> None:
    document = pdfium.PdfDocument.new()
    document.new_page(14_400, 14_400)
    file = io.BytesIO()
    document.save(file)
    page = only_page_of(file.getvalue(), DecodeLimits(max_pixels=1_000_000))
    assert page.width * page.height <= 1_001_000


def only_page_of(content: bytes, limits: DecodeLimits) -> Page:
    (page,) = open_pages(content, limits)
    return page


def test_a_damaged_pdf_is_an_error() -> None:
    with pytest.raises(DamagedFile):
        list(open_pages(b"%PDF-1.7\nand then nothing"))
    content = (SAMPLES / "letter-and-scan.pdf").read_bytes()
    with pytest.raises(PageError):
        list(open_pages(content[: len(content) // 3]))


def test_a_pdf_with_a_password_is_an_error() -> None:
    # Any key that the empty password does not open: what O and U say is never looked into.
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>",
        b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >>" % (b"41" * 32, b"42" * 32),
    ]
    body, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    rows = b"".join(b"%010d 00000 n \n" % at for at in places)
    table = b"xref\n0 5\n0000000000 65535 f \n" + rows
    trailer = b"trailer << /Size 5 /Root 1 0 R /Encrypt 4 0 R /ID [<00> <00>] >>\n"
    content = body + table + trailer + b"startxref\n%d\n%%%%EOF" % len(body)
    with pytest.raises(PasswordNeeded):
        list(open_pages(content))
