"""Decode bytes to pages by content, not by file name."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from actors.extras import MissingExtraError, optional_imports
from actors.pages.errors import DamagedFile, EmptyFile, PageError, UnknownFormat
from actors.pages.page import Limits, Page

_PDF_WITHIN = 1024  # scanners write junk before the header, and readers allow it


def decode_pages(content: bytes, limits: Limits) -> Generator[Page]:
    """Yield the pages of a PNG, JPEG, TIFF, WebP, BMP, GIF, PDF or DICOM file, decoded one at a
    time in this process, without limits on time and memory.

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


def kind_of(content: bytes) -> str | None:
    """Return pdf, dicom, png, jpeg, tiff, webp, bmp, gif, or None."""
    for kind, begins in _MAGIC:
        if content.startswith(begins):
            return kind
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    if content[128:132] == b"DICM":
        return "dicom"
    if b"%PDF-" in content[:_PDF_WITHIN]:
        return "pdf"
    return None


_MAGIC = (
    ("png", b"\x89PNG\r\n\x1a\n"),
    ("jpeg", b"\xff\xd8\xff"),
    ("tiff", b"II*\x00"),
    ("tiff", b"MM\x00*"),
    ("tiff", b"II+\x00"),
    ("bmp", b"BM"),
    ("gif", b"GIF8"),
)


def check_kind(content: bytes) -> str:
    """Return the kind of a file; raises EmptyFile or UnknownFormat."""
    if not content:
        raise EmptyFile("the file has no bytes")
    kind = kind_of(content)
    if kind is None:
        raise UnknownFormat("not an image (PNG, JPEG, TIFF, WebP, BMP, GIF), PDF or DICOM file")
    return kind


def _reader(content: bytes) -> Callable[[bytes, Limits], Iterator[Page]]:
    kind = check_kind(content)
    # Imported here: what tells texts from pictures (`kind_of`) needs no decoder.
    with optional_imports("opening pictures"):
        if kind == "pdf":
            from actors.pages.pdf import pdf_pages

            return pdf_pages
        if kind == "dicom":
            from actors.pages.dicom import dicom_pages

            return dicom_pages
        from actors.pages.images import picture_pages
    return picture_pages
