"""Read DICOM with pydicom: frames as pages, with the intensity window a viewer would show."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator

import numpy as np
import pydicom
from pydicom.pixels.processing import apply_color_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array

from actors.pages.errors import (
    DamagedFile,
    EmptyFile,
    TooManyPages,
    TooManyPixels,
    UnsupportedEncoding,
)
from actors.pages.page import Limits, Page, Picture

# pydicom's warnings quote invalid values, which may be a patient's name.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom\.")

# pydicom inflates the whole file at once, without a limit that could be set.
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_META = 4096  # the file header, which is never deflated, names the encoding


def dicom_pages(content: bytes, limits: Limits) -> Iterator[Page]:
    """Yield the frames of a DICOM file."""
    if _DEFLATED in content[132 : 132 + _META]:
        raise UnsupportedEncoding("deflated DICOM data sets are not supported")
    dataset = pydicom.dcmread(io.BytesIO(content))
    if "PixelData" not in dataset:
        raise EmptyFile("the DICOM file has no pixel data")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    if rows * columns > limits.max_pixels:
        raise TooManyPixels(
            f"{columns} x {rows} pixels; the limit is {limits.max_pixels / 1e6:g} megapixels"
        )
    if frames > limits.max_pages:
        raise TooManyPages(f"{frames} frames, more than {limits.max_pages}")
    for index in range(frames):
        try:
            values = pixel_array(dataset, index=index)
        except (RuntimeError, NotImplementedError):
            # pydicom raises these for a transfer syntax without a plugin.
            raise UnsupportedEncoding("no decoder for the DICOM transfer syntax") from None
        except MemoryError:
            raise
        except Exception as error:
            raise DamagedFile(f"frame {index}: {type(error).__name__}") from None
        picture = _shown(values, dataset)
        yield Page(picture.shape[1], picture.shape[0], picture)


def _shown(values: np.ndarray, dataset: pydicom.Dataset) -> Picture:
    """Convert pixel values as a viewer shows them."""
    if values.ndim == 3:
        return np.ascontiguousarray(_eight_bits(values)[:, :, ::-1])
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        return np.ascontiguousarray(_eight_bits(apply_color_lut(values, dataset))[:, :, ::-1])
    gray = apply_voi_lut(values, dataset).astype(np.float32)
    low, high = float(gray.min()), float(gray.max())
    eight = np.zeros(gray.shape, np.uint8)
    if high > low:
        eight = ((gray - low) * (255.0 / (high - low))).astype(np.uint8)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        eight = 255 - eight
    return np.ascontiguousarray(np.repeat(eight[:, :, None], 3, axis=2))


def _eight_bits(values: np.ndarray) -> Picture:
    if values.dtype == np.uint8:
        return values
    top = max(float(values.max()), 1.0)
    return (values.astype(np.float32) * (255.0 / top)).astype(np.uint8)
