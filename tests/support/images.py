"""Small pictures and DICOM files for tests, and networks that read nothing in them."""

from __future__ import annotations

import io
import threading
from typing import Any

import pydicom
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.uid import UID, ExplicitVRLittleEndian

from actors.pages import Picture


def written(text: str, width: int = 480, height: int = 80) -> Image.Image:
    """A line of text on white paper."""
    image = Image.new("L", (width, height), 255)
    ImageDraw.Draw(image).text((20, 20), text, fill=0, font=ImageFont.load_default(32))
    return image


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    """An image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def dicom(values: NDArray[Any], **elements: object) -> bytes:
    """A DICOM file of one or several frames of gray values."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
    meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    data = pydicom.Dataset()
    data.file_meta = meta
    data.Rows, data.Columns = values.shape[-2:]
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.PixelData = values.astype("<u2").tobytes()
    for name, value in elements.items():
        setattr(data, name, value)
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


class Blank:
    """In the place of the networks: finds no line on any page, each once ``go`` is set."""

    last: Blank

    def __init__(self, *_: Any) -> None:
        self.begun, self.go, self.count = threading.Event(), threading.Event(), 0
        Blank.last = self

    def can_write(self, letter: str) -> bool:
        return True

    def lines(self, picture: Picture) -> tuple[list[Any], list[Any]]:
        self.count += 1
        self.begun.set()
        self.go.wait(30)
        return [], []
