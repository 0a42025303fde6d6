"""DICOM frames as pictures: the intensity window that a viewer would show, with overlays drawn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from actors.extras import MissingExtraError, require
from actors.pages import dicom_jpeg12
from actors.pages.dicom_overlays import draw_overlays
from actors.pages.errors import DamagedFile, TooManyPages, TooManyPixels, UnsupportedEncoding
from actors.pages.page import DecodeLimits, Page, Picture

dicom_jpeg12.add_plugin()


def frame_pages(dataset: Dataset, limits: DecodeLimits) -> Iterator[Page]:
    """Yield the frames of a dataset with pixel data. Frames are checked before decoding."""
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
        except RuntimeError:  # pydicom's error if no decoder is installed, or if all of them fail
            raise _undecodable(dataset, index) from None
        except MemoryError:
            raise
        except Exception as error:
            raise DamagedFile(f"frame {index}: {type(error).__name__}") from None
        picture, problems = _shown(values, dataset, index)
        draw_overlays(dataset, index, picture)
        yield Page(picture.shape[1], picture.shape[0], picture, problems=problems)


def _undecodable(dataset: Dataset, index: int) -> DamagedFile | UnsupportedEncoding:
    """Return the error for a frame that no installed decoder reads."""
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    # A UID that pydicom does not know is free text.
    name = syntax.name if syntax.is_transfer_syntax else "an unknown transfer syntax"
    try:
        require(name, "codecs")
    except MissingExtraError as error:
        return UnsupportedEncoding(str(error))
    return DamagedFile(f"frame {index} cannot be decoded")


def _shown(
    values: NDArray[np.generic], dataset: Dataset, index: int
) -> tuple[Picture, tuple[str, ...]]:
    """Convert the pixel values of a frame as a viewer shows them; also return problems."""
    if values.ndim == 3:
        return np.ascontiguousarray(_eight_bits(values)[:, :, ::-1]), ()
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
        return np.ascontiguousarray(_eight_bits(values)[:, :, ::-1]), ()
    gray, problems = _windowed(values, _transformation(dataset, index))
    eight = _stretched(gray)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        eight = 255 - eight
    return np.ascontiguousarray(np.repeat(eight[:, :, None], 3, axis=2)), problems


def _windowed(
    values: NDArray[np.generic], transformation: Dataset
) -> tuple[NDArray[np.generic], tuple[str, ...]]:
    """Apply rescale, then the window or lookup table, as in DICOM PS3.3 C.11: a window is given in
    rescaled units. A window that leaves nothing to see is not applied."""
    try:
        values = apply_modality_lut(values, transformation)
        shown = apply_voi_lut(values, transformation)
    except MemoryError:
        raise
    except Exception:
        return values, ("the intensity window is invalid and was not applied",)
    if shown.min() == shown.max() and values.min() != values.max():
        return values, ("the intensity window leaves nothing to see and was not applied",)
    return shown, ()


def _transformation(dataset: Dataset, index: int) -> Dataset:
    """Return the dataset with the rescale and window of a frame: enhanced images have them in
    functional groups, shared or per frame (PS3.3 C.7.6.16)."""
    groups = list(dataset.get("SharedFunctionalGroupsSequence") or ())
    groups += list(dataset.get("PerFrameFunctionalGroupsSequence") or ())[index : index + 1]
    items = [
        item
        for group in groups
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence")
        for item in group.get(name) or ()
    ]
    if not items:
        return dataset
    merged = Dataset()
    # What pydicom needs beside them, for the range of a window's output.
    for name in ("PhotometricInterpretation", "BitsStored", "PixelRepresentation"):
        setattr(merged, name, dataset[name].value)
    for item in items:
        merged.update(item)
    return merged


def _stretched(gray: NDArray[np.generic]) -> Picture:
    """Scale gray values to 0 to 255."""
    values = gray.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    return np.asarray((values - low) * (255.0 / (high - low)), np.uint8)


def _eight_bits(values: NDArray[np.generic]) -> Picture:
    if values.dtype == np.uint8:
        return np.asarray(values, np.uint8)
    top = max(float(values.max()), 1.0)
    return (values.astype(np.float32) * (255.0 / top)).astype(np.uint8)
