"""Decode bytes to pages by content, not by file name."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from struct import unpack_from

from actors.extras import MissingExtraError, optional_imports
from actors.pages.errors import DamagedFile, EmptyFile, PageError, UnknownFormat
from actors.pages.page import DecodeLimits, Page

_BRANDS_WITHIN = 256
_TWO_ELEMENTS = 16  # bytes, at least
_PDF_WITHIN = 1024  # scanners write junk before the header, and readers allow it


IMAGE_FORMATS = "PNG, JPEG, TIFF, WebP, BMP, GIF, HEIC, AVIF, JPEG 2000"


def decode_pages(content: bytes, limits: DecodeLimits) -> Generator[Page]:
    """Yield the pages of an image, PDF or DICOM file, decoded one at a time in this process,
    without limits on time and memory.

    Raises a PageError, which states the problem without quoting the page.
    """
    reader = _reader(content)
    try:
        yield from reader(content, limits)
    except (PageError, MissingExtraError, MemoryError):
        raise
    except Exception as error:
        # Decoders of damaged files raise arbitrary errors, and their messages may quote the
        # content.
        raise DamagedFile(f"cannot be decoded: {type(error).__name__}") from None


def page_format(content: bytes) -> str | None:
    """Return pdf, dicom, png, jpeg, tiff, webp, bmp, gif, heif, avif, jpeg2000, or None."""
    # Before TIFF: the 128 bytes in front of a DICOM file may be the head of a TIFF.
    if content[128:132] == b"DICM" or _is_bare_dicom(content):
        return "dicom"
    for kind, begins in _MAGIC:
        if content.startswith(begins):
            return kind
    # A text may begin with "BM", such as "BMI 31": the size of the second header tells.
    if content.startswith(b"BM") and int.from_bytes(content[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    if content[4:8] == b"ftyp":
        return _media_kind(content)
    if b"%PDF-" in content[:_PDF_WITHIN]:
        return "pdf"
    return None


_MAGIC = (
    ("png", b"\x89PNG\r\n\x1a\n"),
    ("jpeg", b"\xff\xd8\xff"),
    ("tiff", b"II*\x00"),
    ("tiff", b"MM\x00*"),
    ("tiff", b"II+\x00"),
    ("gif", b"GIF87a"),
    ("gif", b"GIF89a"),
    ("jpeg2000", b"\x00\x00\x00\x0cjP  \r\n\x87\n"),
    ("jpeg2000", b"\xff\x4f\xff\x51"),
)
_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_BRANDS = (  # of ISO base media files, by kind
    ("avif", frozenset({b"avif", b"avis"})),
    ("heif", frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})),
)


def _media_kind(content: bytes) -> str | None:
    """Return the kind of an ISO base media file by its brands; None for a video."""
    size = min(int.from_bytes(content[:4]), _BRANDS_WITHIN)
    named = {content[8:12], *(content[at : at + 4] for at in range(16, size, 4))}
    return next((kind for kind, brands in _BRANDS if named & brands), None)


# Value representations of the first elements of DICOM; those of the second set have long lengths.
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT IS LO LT PN SH ST TM UI UL US".split())
_LONG_VRS = frozenset(b"OB OW SQ UN UT".split())
_FIRST_GROUPS = (0x0002, 0x0008)
_NEXT_GROUPS = (0x0002, 0x0004, 0x0008, 0x0010)


def _is_bare_dicom(content: bytes) -> bool:
    """Return True if the bytes begin with two elements of DICOM in order: files of old modalities
    have neither the 128 bytes nor the letters that identify others."""
    return any(_begins_with_elements(content, order) for order in ("<", ">"))


def _begins_with_elements(content: bytes, order: str) -> bool:
    if len(content) < _TWO_ELEMENTS:
        return False
    group, element = unpack_from(order + "HH", content)
    if group not in _FIRST_GROUPS:
        return False
    vr = content[4:6]
    if vr in _SHORT_VRS:
        end = 8 + unpack_from(order + "H", content, 6)[0]
    elif vr in _LONG_VRS:
        end = 12 + unpack_from(order + "I", content, 8)[0]
    else:
        end = 8 + unpack_from(order + "I", content, 4)[0]
    if end + 4 > len(content):
        return False
    following = unpack_from(order + "HH", content, end)
    return following[0] in _NEXT_GROUPS and following > (group, element)


def check_kind(content: bytes) -> str:
    """Return the kind of a file; raises EmptyFile or UnknownFormat."""
    if not content:
        raise EmptyFile("the file is empty")
    kind = page_format(content)
    if kind is None:
        raise UnknownFormat(f"not an image ({IMAGE_FORMATS}), PDF or DICOM file")
    return kind


def _reader(content: bytes) -> Callable[[bytes, DecodeLimits], Iterator[Page]]:
    kind = check_kind(content)
    # Imported here: what tells texts from pictures (`page_format`) needs no decoder.
    with optional_imports("opening pictures"):
        if kind == "pdf":
            from actors.pages.pdf import pdf_pages

            return pdf_pages
        if kind == "dicom":
            from actors.pages.dicom import dicom_pages

            return dicom_pages
        from actors.pages.images import heif_pages, picture_pages
    return heif_pages if kind == "heif" else picture_pages
