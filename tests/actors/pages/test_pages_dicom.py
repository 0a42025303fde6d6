"""DICOM as a viewer shows it: windows, overlays, documents, reports, files of every encoding."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID
from support.dicom_files import (
    bare,
    coded,
    encapsulated,
    item,
    number,
    report,
    with_overlay,
)
from support.images import dicom
from support.pages_bombs import text_pdf

from actors.pages import (
    DecodeLimits,
    EmptyFile,
    Page,
    PageSize,
    Picture,
    TooManyPages,
    UnknownFormat,
    UnsupportedEncoding,
    compose,
    open_pages,
    page_format,
)
from actors.pages.decoding import decode_pages


def only_page(content: bytes) -> Page:
    (page,) = open_pages(content)
    return page


def picture_of(content: bytes) -> Picture:
    picture = only_page(content).picture
    assert picture is not None
    return picture


def text_of(content: bytes, limits: DecodeLimits | None = None) -> str:
    pages = list(open_pages(content, limits))
    return compose([(PageSize(page.width, page.height), page.strips) for page in pages]).text


def ct_page() -> np.ndarray[Any, np.dtype[np.uint16]]:
    """A page in Hounsfield units plus 1024, as a CT stores it: paper at 40, letters at 100."""
    values = np.full((12, 16), 1064, np.uint16)
    values[4:8, 4:8] = 1124
    values[0, 0] = 4000  # the table of the scanner
    return values


def test_a_window_is_applied_to_rescaled_values() -> None:
    window = {"WindowCenter": 70, "WindowWidth": 80}
    picture = picture_of(dicom(ct_page(), RescaleSlope=1, RescaleIntercept=-1024, **window))
    paper, letter = int(picture[10, 10, 0]), int(picture[5, 5, 0])
    assert letter - paper > 150, "the window was applied to stored values, all of them above it"


def test_a_window_of_an_enhanced_image_is_its_frame_s() -> None:
    def group(name: str, **values: float) -> Dataset:
        inner, outer = Dataset(), Dataset()
        for key, value in values.items():
            setattr(inner, key, value)
        setattr(outer, name, [inner])
        return outer

    values = np.zeros((2, 12, 16), np.uint16)
    values[0, :, 8:], values[1, :, 8:] = 100, 3000
    values[:, 0, 0] = 60_000
    frames = [
        group("FrameVOILUTSequence", WindowCenter=center, WindowWidth=width)
        for center, width in ((50, 100), (1500, 3000))
    ]
    shared = group("PixelValueTransformationSequence", RescaleSlope=1, RescaleIntercept=0)
    pages = open_pages(
        dicom(
            values,
            NumberOfFrames=2,
            SharedFunctionalGroupsSequence=[shared],
            PerFrameFunctionalGroupsSequence=frames,
        )
    )
    for page in pages:
        assert page.picture is not None
        assert int(page.picture[6, 12, 0]) - int(page.picture[6, 4, 0]) > 200


@pytest.mark.parametrize(("center", "width"), [(9000, 10), (70, 0)])
def test_a_window_that_hides_everything_is_reported_not_applied(center: int, width: int) -> None:
    page = only_page(dicom(ct_page(), WindowCenter=center, WindowWidth=width))
    assert page.picture is not None
    assert page.picture[5, 5, 0] > page.picture[10, 10, 0]
    (problem,) = page.problems
    assert "window" in problem


@pytest.mark.parametrize("paper", [0, 3000])
def test_an_overlay_is_drawn_on_any_background(paper: int) -> None:
    ink = np.zeros((6, 6), np.bool_)
    ink[3, 2:5] = True
    values = np.full((12, 16), paper, np.uint16)
    values[11, 15] = 3000 - paper  # another value, so that there is a scale
    picture = picture_of(with_overlay(dicom(values), ink, origin=(5, 3)))
    assert (picture[7, 4:7] == 255).all(), "the origin counts from 1"
    assert (picture[6, 4:7] == 0).all(), "an edge that sets it off"


def test_an_overlay_that_sticks_out_is_cut_to_the_picture() -> None:
    ink = np.ones((20, 20), np.bool_)
    picture = picture_of(with_overlay(dicom(np.zeros((12, 16), np.uint16)), ink, origin=(-3, -3)))
    assert (picture == 255).all()


def test_an_overlay_in_spare_bits_of_the_pixels_is_drawn() -> None:
    values = np.zeros((12, 16), np.uint16)
    values[2, 2] = 900
    values[7, 4:7] |= 1 << 15
    content = dicom(values, BitsStored=12, HighBit=11)
    dataset = pydicom.dcmread(io.BytesIO(content))
    for element, vr, value in (
        (0x0010, "US", 12),
        (0x0011, "US", 16),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]),
        (0x0102, "US", 15),
    ):
        dataset.add_new((0x6000, element), vr, value)
    file = io.BytesIO()
    dataset.save_as(file)
    assert (picture_of(file.getvalue())[7, 4:7] == 255).all()


def test_an_encapsulated_pdf_is_read_as_the_pdf_that_it_is() -> None:
    document = text_pdf(b"Continue bisoprolol 5 mg")
    content = encapsulated(document, "application/pdf")
    assert page_format(content) == "dicom"
    assert list(open_pages(content)) == list(open_pages(document))
    assert text_of(content) == "Continue bisoprolol 5 mg"


def test_another_document_within_dicom_is_refused_by_that_name() -> None:
    cda = UID("1.2.840.10008.5.1.4.1.1.104.2")
    with pytest.raises(UnsupportedEncoding, match="a document that is not a PDF"):
        only_page(encapsulated(b"<ClinicalDocument/>", "text/XML", cda))


def sample_report() -> bytes:
    findings = [
        item("TEXT", "Finding", TextValue="A mass of the left lung.\r\nNo effusion."),
        number("Diameter", "31.5", "mm"),
        number("Ratio", "0.4", "1"),
        item("UIDREF", "Series", UID="1.2.3.4"),
        coded("Assessment", "Probably malignant"),
    ]
    return report(
        "Chest CT report",
        [
            item("CONTAINER", "Findings", items=findings),
            item("DATE", "Date of study", Date="20260304"),
        ],
    )


def test_a_structured_report_is_read_as_its_text() -> None:
    assert text_of(sample_report()) == (
        "Chest CT report\n\nFindings\nFinding: A mass of the left lung.\nNo effusion.\n"
        "Diameter: 31.5 mm\nRatio: 0.4\nAssessment: Probably malignant\nDate of study: 2026-03-04"
    )


def test_a_report_is_drawn_where_its_boxes_are() -> None:
    (page,) = open_pages(sample_report())
    (drawn,) = open_pages(sample_report(), DecodeLimits(text_layer=False))
    assert drawn.picture is not None
    assert (drawn.width, drawn.height) == (page.width, page.height)
    ink = drawn.picture[:, :, 0] < 128
    for strip in page.strips:
        for word in strip.words:
            box = ink[int(word.y0) : int(word.y1) + 1, int(word.x0) : int(word.x1) + 1]
            assert box.any()
            box[:] = False
    assert not ink.any(), "ink outside the boxes"


def test_a_long_report_goes_on_on_further_pages() -> None:
    lines = [item("TEXT", "Line", TextValue=f"number {i} " + "word " * 30) for i in range(60)]
    content = report("Long", lines)
    pages = list(open_pages(content))
    assert len(pages) > 1
    text = text_of(content)
    assert [text.find(f"number {i} ") for i in range(60)] == sorted(
        text.find(f"number {i} ") for i in range(60)
    )
    assert all(w.x1 <= page.width for page in pages for s in page.strips for w in s.words)
    with pytest.raises(TooManyPages):
        list(open_pages(content, DecodeLimits(max_pages=1)))


def test_a_report_without_text_is_empty() -> None:
    with pytest.raises(EmptyFile, match="structured report"):
        only_page(report("", [item("UIDREF", "Series", UID="1.2.3.4")]))


@pytest.mark.parametrize(
    ("implicit", "little_endian"), [(True, True), (False, True), (False, False)]
)
def test_a_file_without_a_header_is_read(implicit: bool, little_endian: bool) -> None:
    values = np.zeros((12, 16), np.uint16)
    values[6:] = 3000
    content = dicom(values, StudyDate="20260304", Modality="OT")
    without = bare(content, implicit, little_endian)
    assert page_format(without) == "dicom"
    assert np.array_equal(picture_of(without), picture_of(content))


def test_a_preamble_that_is_the_head_of_a_tiff_does_not_matter() -> None:
    content = dicom(ct_page())
    assert page_format(b"II*\0" + content[4:]) == "dicom"
    assert np.array_equal(picture_of(b"II*\0" + content[4:]), picture_of(content))


@pytest.mark.parametrize(
    "content",
    [
        b"\x08\x00\x05\x00CS\x0a\x00short",
        b"\x08\x00" + b"a" * 40,
        b"\x02\x00\x00\x00" * 9,
        b"\0" * 99,
    ],
)
def test_bytes_that_only_begin_like_dicom_are_of_no_known_kind(content: bytes) -> None:
    assert page_format(content) is None
    with pytest.raises(UnknownFormat):
        only_page(content)


COMPRESSED = {  # files of pydicom's own tests, and the same pixels uncompressed
    "MR_small_RLE.dcm": "MR_small.dcm",
    "MR_small_jpeg_ls_lossless.dcm": "MR_small.dcm",
    "MR_small_jp2klossless.dcm": "MR_small.dcm",
}


def sample(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"this pydicom comes without {name}")
    return Path(str(path)).read_bytes()


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_pixels_are_those_of_the_uncompressed_file(name: str) -> None:
    pytest.importorskip("gdcm")
    assert np.array_equal(picture_of(sample(name)), picture_of(sample(COMPRESSED[name])))


def test_jpeg_lossless_is_decoded() -> None:
    pytest.importorskip("gdcm")
    assert picture_of(sample("SC_rgb_jpeg_gdcm.dcm")).shape == (100, 100, 3)


def test_a_decoder_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    content = sample("MR_small_jpeg_ls_lossless.dcm")

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("no decoder")  # as pydicom does

    monkeypatch.setattr("actors.pages.dicom_frames.pixel_array", fails)
    monkeypatch.setattr("actors.extras.find_spec", lambda module: None)
    with pytest.raises(UnsupportedEncoding, match=r"JPEG-LS.*medspan\[codecs\]"):
        list(decode_pages(content, DecodeLimits()))


def test_twelve_bit_jpeg_is_decoded_to_all_its_gray_values() -> None:
    pytest.importorskip("gdcm")
    picture = picture_of(sample("JPGExtended.dcm"))
    assert picture.shape == (1024, 256, 3)
    assert len(np.unique(picture)) > 100
    dataset = pydicom.dcmread(io.BytesIO(sample("JPGExtended.dcm")))
    values = pixel_array(dataset)
    assert (values.dtype.name, int(values.min()), int(values.max())) == ("uint16", 0, 264)
