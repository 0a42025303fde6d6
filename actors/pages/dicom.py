"""Read DICOM with pydicom: frames as pages, an encapsulated PDF as its pages, a structured report
as its text."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from actors.pages.dicom_frames import frame_pages
from actors.pages.dicom_report import report_pages
from actors.pages.errors import EmptyFile, UnsupportedEncoding
from actors.pages.page import DecodeLimits, Page
from actors.pages.pdf import pdf_pages

# pydicom's warnings quote invalid values, which may be a patient's name.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom\.")

_META = 132 + 4096  # bytes in which the file header, which is never deflated, names the encoding
_PDF = b"%PDF-"


def dicom_pages(content: bytes, limits: DecodeLimits) -> Iterator[Page]:
    """Yield the pages of a DICOM file."""
    dataset = read_dataset(content)
    if "EncapsulatedDocument" in dataset:
        return pdf_pages(_encapsulated_pdf(dataset), limits)
    if "PixelData" in dataset:
        return frame_pages(dataset, limits)
    if "ContentSequence" in dataset:
        return report_pages(dataset, limits)
    raise EmptyFile("the DICOM file has no pixel data, document or report")


def read_dataset(content: bytes) -> Dataset:
    """Read a DICOM file, with or without the header of PS3.10, without decoding its pixels.

    Raises UnsupportedEncoding for a deflated file, and pydicom's errors for a damaged one.
    """
    # pydicom inflates the whole file at once, without a limit that could be set.
    if DeflatedExplicitVRLittleEndian.encode() in content[:_META]:
        raise UnsupportedEncoding("deflated DICOM data sets are not supported")
    dataset = pydicom.dcmread(io.BytesIO(content), force=True)
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little_endian = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _encapsulated_pdf(dataset: Dataset) -> bytes:
    """Return the document that a file encapsulates; raises UnsupportedEncoding if it is no PDF."""
    document = bytes(dataset.EncapsulatedDocument)
    if dataset.get("SOPClassUID") != EncapsulatedPDFStorage and not document.startswith(_PDF):
        raise UnsupportedEncoding("the DICOM file encapsulates a document that is not a PDF")
    length = int(dataset.get("EncapsulatedDocumentLength", 0) or 0)
    return document[: length or None]
