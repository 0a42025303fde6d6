"""Formats of phones, archives and faxes: every page that a viewer shows, as it shows it."""

from __future__ import annotations

import io
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin
from support.images import encoded

from actors.pages import DecodeLimits, TooManyPages, UnsupportedEncoding, open_pages, page_format
from actors.pages.decoding import decode_pages

# 64 x 48 pixels of one orange, as pillow-heif writes them: nothing that is installed here encodes.
HEIC = b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAWltZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABjQABAAAAAAAAABoAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAAB"
    "AABodmMxAAAAAA5waXRtAAAAAAABAAAA6WlwcnAAAADKaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADw"
    "NgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAA"
    "AAMDIAAAAwAhYgABAAZEAcFzwIkAAAAUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFwAAAAQAAAAAEAAAAwAAAAAQAAAA"
    "AAAAAC////8AAAAAIAAAAQcGl4aQAAAAADCAgIAAAAF2lwbWEAAAAAAAAAAQABBIECBIMAAAAibWRhdAAAABYoAa8Z"
    "gO9Jpb//VSf+/XL/Sa1pj5uA"
)


def sizes(content: bytes) -> list[tuple[int, int]]:
    return [(page.width, page.height) for page in open_pages(content)]


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "AVIF"])
def test_every_frame_of_an_animation_is_a_page(form: str) -> None:
    frames = [Image.new("RGB", (32, 24), colour) for colour in ("red", "green", "blue")]
    content = encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=100)
    pages = list(open_pages(content))
    assert len(pages) == 3
    for page, strongest in zip(pages, (2, 1, 0), strict=True):  # the order is BGR
        assert page.picture is not None
        assert int(page.picture[12, 16].argmax()) == strongest
    with pytest.raises(TooManyPages):
        list(open_pages(content, DecodeLimits(max_pages=2)))


@pytest.mark.parametrize(
    ("form", "kind"), [("AVIF", "avif"), ("JPEG2000", "jpeg2000"), ("HEIF", "heif")]
)
def test_pictures_of_phones_and_archives_are_pages(form: str, kind: str) -> None:
    content = HEIC if form == "HEIF" else encoded(Image.new("RGB", (64, 48), (200, 100, 0)), form)
    if form == "HEIF":
        pytest.importorskip("pi_heif")
    assert page_format(content) == kind
    (page,) = open_pages(content)
    assert (page.width, page.height) == (64, 48)
    assert page.picture is not None
    assert page.picture[20, 30, 2] > page.picture[20, 30, 0] + 100


def test_a_text_that_begins_like_a_bitmap_is_none() -> None:
    assert page_format(encoded(Image.new("RGB", (9, 9)), "BMP")) == "bmp"
    assert page_format(b"BMI 31.2 kg/m2, GIF89a") is None
    assert page_format(b"GIF8 is a word here") is None


def test_a_codestream_of_jpeg_2000_is_a_page() -> None:
    content = encoded(Image.new("L", (64, 48), 9), "JPEG2000", no_jp2=True)
    assert page_format(content) == "jpeg2000"
    assert sizes(content) == [(64, 48)]


def test_the_orientation_of_a_phone_s_picture_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert sizes(encoded(Image.new("RGB", (64, 32)), "AVIF", exif=exif)) == [(32, 64)]


def test_a_video_is_of_no_known_kind() -> None:
    assert page_format(b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + b"\0" * 40) is None


def test_heic_without_its_decoder_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.extras.find_spec", lambda module: None)
    with pytest.raises(UnsupportedEncoding, match=r"medspan\[codecs\]"):
        list(decode_pages(HEIC, DecodeLimits()))


@pytest.mark.parametrize(("tag", "value"), [(254, 1), (254, 4), (255, 2)])
def test_thumbnails_and_masks_of_a_tiff_are_no_pages(tag: int, value: int) -> None:
    marked = TiffImagePlugin.ImageFileDirectory_v2()
    marked[tag] = value
    file = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(file, new=True) as writer:
        for width, info in ((200, None), (20, marked), (201, None)):
            Image.new("L", (width, 100)).save(writer, "TIFF", tiffinfo=info or {})
            writer.newFrame()
    assert sizes(file.getvalue()) == [(200, 100), (201, 100)]


def test_a_tiff_of_a_thumbnail_alone_is_read() -> None:
    content = encoded(Image.new("L", (20, 10)), "TIFF", tiffinfo={254: 1})
    assert sizes(content) == [(20, 10)]


@pytest.mark.parametrize(
    ("dpi", "size"),
    [
        ((204, 98), (40, 62)),
        ((204, 196), (40, 30)),
        ((100, 200), (80, 30)),
        ((300, 1), (40, 30)),
        ((0, 0), (40, 30)),
    ],
)
def test_the_pixels_of_a_fax_become_square(dpi: tuple[int, int], size: tuple[int, int]) -> None:
    assert sizes(encoded(Image.new("1", (40, 30)), "TIFF", dpi=dpi)) == [size]


def test_a_fax_on_its_side_is_stretched_along_its_own_lines() -> None:
    content = encoded(Image.new("1", (40, 30)), "TIFF", dpi=(204, 98), tiffinfo={274: 6})
    assert sizes(content) == [(62, 40)]


def test_a_stretched_fax_keeps_its_strokes() -> None:
    values = np.full((30, 40), True)
    values[10:12, 5:35] = False
    content = encoded(Image.fromarray(values), "TIFF", dpi=(204, 98), compression="group4")
    (page,) = open_pages(content)
    assert page.picture is not None
    dark = np.flatnonzero(page.picture[:, 20, 0] < 128)
    assert dark[0] == pytest.approx(10 * 204 / 98, abs=1)
    assert len(dark) == pytest.approx(2 * 204 / 98, abs=1)
    assert page.picture[0, 0, 0] == 255
