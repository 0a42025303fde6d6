from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from support.deidentify import SECRET
from support.dicom_files import encapsulated, item, report
from support.pages_bombs import text_pdf

from actors.config.deidentify import Category, ReplacementPolicy
from actors.deidentify.keys import SecretKey
from actors.deidentify.page_redaction import burnt
from actors.deidentify.patches import Patch
from actors.pages import UnsupportedEncoding
from actors.spans import Box

_KEY = SecretKey(SECRET)
_STUDY = "1.2.840.77"


def image(instance: str = "1.2.3", frames: int = 1, photometric: str = "MONOCHROME2") -> bytes:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(instance)
    dataset.file_meta.PrivateInformationCreatorUID = UID("1.2.9")
    dataset.file_meta.PrivateInformation = b"Doe"
    dataset.preamble = b"Doe".ljust(128, b"\0")
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, instance
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _STUDY, "1.2.840.78"
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "MRN77"
    dataset.PatientBirthDate, dataset.StudyDate = "19500101", "20200102"
    dataset.InstitutionName, dataset.OperatorsName = "Elm Clinic", "Doe^Op"
    dataset.ImageComments, dataset.Modality = "Doe has pain", "OT"
    dataset.add_new((0x0009, 0x0010), "LO", "ACME")
    dataset.add_new((0x0009, 0x1001), "LO", "Doe private")
    dataset.add_new((0x6000, 0x3000), "OW", b"Doe overlay\0")
    item = Dataset()
    item.ReferencedSOPClassUID = SecondaryCaptureImageStorage
    item.ReferencedSOPInstanceUID = "1.2.3"
    item.PatientName = "Doe^Jane"
    dataset.SourceImageSequence = [item]
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 40, 60, frames
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, photometric
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    values = np.arange(frames * 40 * 60, dtype=np.uint16).reshape(frames, 40, 60) % 4000
    dataset.PixelData = values.tobytes()
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def deidentified(content: bytes, *boxes: Box) -> tuple[pydicom.Dataset, bytes]:
    patches = [Patch(boxes, "Doe", "Kim", Category.NAME, ReplacementPolicy.SURROGATE, True)]
    out, kind = burnt(content, patches, key=_KEY)
    assert kind == "dicom"
    return pydicom.dcmread(io.BytesIO(out)), out


def test_nothing_of_the_patient_is_in_the_file() -> None:
    content = image()
    dataset, out = deidentified(content)
    for value in (
        b"Doe",
        b"MRN77",
        b"19500101",
        b"20200102",
        b"Elm Clinic",
        b"ACME",
        b"1.2.840.77",
    ):
        assert value in content
        assert value not in out
    assert dataset.PatientIdentityRemoved == "YES"
    assert dataset.Modality == "OT"
    assert "BurnedInAnnotation" not in dataset
    assert not any(element.tag.is_private for element in dataset.iterall())


def test_files_of_a_study_still_belong_together() -> None:
    (one, _), (other, _) = deidentified(image("1.2.3")), deidentified(image("1.2.4"))
    assert one.StudyInstanceUID == other.StudyInstanceUID != _STUDY
    assert one.SOPInstanceUID != other.SOPInstanceUID
    reference = other.SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == one.SOPInstanceUID
    assert reference.ReferencedSOPClassUID == SecondaryCaptureImageStorage
    assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_pixels_are_black_in_the_box_and_as_they_were_elsewhere(photometric: str) -> None:
    content = image(frames=2, photometric=photometric)
    before = pydicom.dcmread(io.BytesIO(content)).pixel_array
    dataset, _ = deidentified(content, Box(1, 20, 10, 30, 20))
    after = dataset.pixel_array
    black = before.max() if photometric == "MONOCHROME1" else before.min()
    assert (after[1, 8:22, 18:32] == black).all()
    assert (after[0] == before[0]).all()
    assert (after[1, 24:] == before[1, 24:]).all()


@pytest.mark.parametrize("kind", ["report", "document"])
def test_a_report_or_document_without_pixels_is_refused(kind: str) -> None:
    content = (
        report("Report", [item("TEXT", "Finding", TextValue="Doe has pain")])
        if kind == "report"
        else encapsulated(text_pdf(b"Doe has pain"), "application/pdf")
    )
    with pytest.raises(UnsupportedEncoding, match="without pixels"):
        burnt(content, [], key=_KEY)


def test_errors_name_what_is_missing() -> None:
    with pytest.raises(ValueError, match="key"):
        burnt(image(), [])
    with pytest.raises(ValueError, match="frames: 1"):
        deidentified(image(), Box(3, 0, 0, 1, 1))
    with pytest.raises(ValueError, match="not supported for DICOM"):
        burnt(image(), [], key=_KEY, printed=True)
