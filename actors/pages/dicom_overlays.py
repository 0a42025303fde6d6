"""Overlays of DICOM images: graphics and text that a viewer draws over the pixels."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array

from actors.pages.errors import DamagedFile
from actors.pages.page import Picture

_GROUPS = range(0x6000, 0x6020, 2)
_ROWS, _TYPE, _ORIGIN, _FIRST_FRAME, _BIT, _DATA = 0x0010, 0x0040, 0x0050, 0x0051, 0x0102, 0x3000


def draw_overlays(dataset: Dataset, index: int, picture: Picture) -> None:
    """Draw the graphic overlays of a frame onto its picture: white with a dark edge, which is
    legible on any background."""
    ink = _ink(dataset, index, picture.shape[:2])
    if ink is not None:
        edge = cv2.dilate(ink.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_)
        picture[edge] = 0
        picture[ink] = 255


def _ink(dataset: Dataset, index: int, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Return where the graphic overlays of a frame have ink (PS3.3 C.9.2); None without any.
    Overlays that mark a region of interest would only cover what is in it."""
    ink: NDArray[np.bool_] | None = None
    for group in _GROUPS:
        if (group, _ROWS) not in dataset or _value(dataset, group, _TYPE, "G") != "G":
            continue
        plane = _plane(dataset, group, index)
        if plane is not None:
            ink = np.zeros(shape, np.bool_) if ink is None else ink
            top, left = (int(at) - 1 for at in _value(dataset, group, _ORIGIN, (1, 1)))
            part = plane[max(0, -top) :, max(0, -left) :]
            target = ink[max(0, top) :, max(0, left) :]
            rows, columns = np.minimum(part.shape, target.shape)
            target[:rows, :columns] |= part[:rows, :columns]
    return ink


def _plane(dataset: Dataset, group: int, index: int) -> NDArray[np.bool_] | None:
    """Return an overlay's bits for a frame; None if it has none for this one."""
    try:
        if (group, _DATA) not in dataset:  # until 2004 overlays also used spare bits of the pixels
            bit = int(_value(dataset, group, _BIT, 0))
            if not bit:
                return None
            raw = pixel_array(dataset, index=index, raw=True, correct_unused_bits=False)
            return np.asarray(raw >> bit & 1, np.bool_)
        planes = dataset.overlay_array(group).astype(np.bool_)
    except MemoryError:
        raise
    except Exception as error:
        raise DamagedFile(f"overlay of frame {index}: {type(error).__name__}") from None
    if planes.ndim == 2:
        return planes
    at = index + 1 - int(_value(dataset, group, _FIRST_FRAME, 1))
    return np.asarray(planes[at]) if 0 <= at < len(planes) else None


def _value(dataset: Dataset, group: int, element: int, default: Any) -> Any:
    found = dataset.get((group, element))
    return default if found is None or found.is_empty else found.value
