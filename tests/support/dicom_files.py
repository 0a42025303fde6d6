"""DICOM files for tests: with documents, reports and overlays, and without a header."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, EncapsulatedPDFStorage, ExplicitVRLittleEndian

BASIC_TEXT_SR = UID("1.2.840.10008.5.1.4.1.1.88.11")


def saved(dataset: Dataset, sop_class: UID) -> bytes:
    """A dataset as the bytes of a file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def encapsulated(document: bytes, kind: str, sop_class: UID = EncapsulatedPDFStorage) -> bytes:
    """A file that holds a document of a MIME type."""
    dataset = Dataset()
    dataset.MIMETypeOfEncapsulatedDocument = kind
    dataset.EncapsulatedDocumentLength = len(document)
    dataset.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    return saved(dataset, sop_class)


def report(title: str, items: Sequence[Dataset]) -> bytes:
    """A structured report."""
    dataset = Dataset()
    dataset.ValueType = "CONTAINER"
    dataset.ConceptNameCodeSequence = [_code(title)]
    dataset.ContentSequence = items
    return saved(dataset, BASIC_TEXT_SR)


def item(kind: str, name: str, **values: object) -> Dataset:
    """An item of a structured report; ``items`` are those below it."""
    made = Dataset()
    made.ValueType, made.RelationshipType = kind, "CONTAINS"
    made.ConceptNameCodeSequence = [_code(name)]
    for key, value in values.items():
        setattr(made, "ContentSequence" if key == "items" else key, value)
    return made


def number(name: str, value: str, unit: str) -> Dataset:
    """A measurement of a structured report, with its unit of UCUM."""
    measured, units = Dataset(), _code(unit)
    units.CodeValue = unit
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = value, [units]
    return item("NUM", name, MeasuredValueSequence=[measured])


def coded(name: str, meaning: str) -> Dataset:
    """A coded statement of a structured report."""
    return item("CODE", name, ConceptCodeSequence=[_code(meaning)])


def _code(meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99TEST", meaning
    return code


def with_overlay(content: bytes, ink: NDArray[np.bool_], origin: tuple[int, int] = (1, 1)) -> bytes:
    """The file with a graphic overlay; ``origin`` counts from 1."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    bits = np.packbits(ink.ravel(), bitorder="little").tobytes()
    for element, vr, value in (
        (0x0010, "US", ink.shape[0]),
        (0x0011, "US", ink.shape[1]),
        (0x0040, "CS", "G"),
        (0x0050, "SS", list(origin)),
        (0x0100, "US", 1),
        (0x0102, "US", 0),
        (0x3000, "OW", bits + b"\0" * (len(bits) % 2)),
    ):
        dataset.add_new((0x6000, element), vr, value)
    return _written(dataset)


def bare(content: bytes, implicit: bool = True, little_endian: bool = True) -> bytes:
    """The file's dataset alone, without the 128 bytes, the letters and the header before it."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    if not little_endian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    del dataset.file_meta
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = implicit, little_endian
    write_dataset(file, dataset)
    return file.getvalue()


def _written(dataset: Dataset) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()
