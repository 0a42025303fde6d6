"""DICOM without the patient: the basic profile of PS3.15 on the header, black in the pixels.

The actions by attribute are those of table E.1-1 as dicom-anonymizer lists them (2026c), applied to
every level of the data set. Three things are ours: unique ids are made from the key, so that the
files of a study still belong together whoever treats them; what removes also removes dates; and
private attributes, overlays and curves are gone. What is burnt in besides the boxes stays, so
"Burned In Annotation" is never set to NO.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRLittleEndian

from actors.deidentify.keys import SecretKey
from actors.pages import DamagedFile, DecodeLimits, UnsupportedEncoding, open_pages
from actors.pages.dicom import read_dataset
from actors.spans import Box

_TABLE = "dicomfields_2026c"
_Action = Callable[[Dataset, tuple[int, int]], None]
_OVERLAYS, _CURVES = range(0x6000, 0x6100), range(0x5000, 0x5100)


def deidentified_dicom(
    content: bytes,
    boxes: Sequence[Box],
    key: SecretKey,
    limits: DecodeLimits,
    cancelled: Callable[[], bool] = lambda: False,
) -> bytes:
    """The file with the basic profile applied and the boxes black, as explicit little endian.
    ``cancelled`` is polled while the frames are checked.

    Raises a PageError for what cannot be decoded, and ValueError for a box on a frame that is not
    there.
    """
    # The limits hold, and the pixels can be decoded.
    for _ in open_pages(content, limits, cancelled):
        pass
    dataset = read_dataset(content)
    if "PixelData" not in dataset:
        # The basic profile clears their attributes; nothing here reads what their text says.
        raise UnsupportedEncoding("DICOM files without pixels are not supported")
    try:
        _burn(dataset, boxes)
        _profile(dataset, key)
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = "medspan: DICOM PS3.15 basic profile"
        dataset.file_meta = _meta(dataset)
        out = io.BytesIO()
        # The 128 bytes before the header may hold anything.
        dataset.preamble = b"\0" * 128
        dataset.save_as(out, enforce_file_format=True)
    except ValueError:
        raise
    except Exception as error:
        # pydicom quotes odd values, which may be a patient's name.
        raise DamagedFile(f"cannot be written: {type(error).__name__}") from None
    return out.getvalue()


def _burn(dataset: Dataset, boxes: Sequence[Box]) -> None:
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    if any(not 0 <= box.page < frames for box in boxes):
        raise ValueError(f"a box is on a frame that does not exist; frames: {frames}")
    if not boxes:
        return
    values = np.array(pixel_array(dataset))
    by_frame = values if frames > 1 else values[None]
    # The darkest value of a gray picture is white where the scale is turned round.
    black = values.max() if dataset.PhotometricInterpretation == "MONOCHROME1" else values.min()
    for box in boxes:
        rows = slice(max(0, int(box.y0)), int(box.y1) + 1)
        columns = slice(max(0, int(box.x0)), int(box.x1) + 1)
        by_frame[box.page, rows, columns] = 0 if by_frame.ndim == 4 else black
    photometric = dataset.PhotometricInterpretation
    if by_frame.ndim == 4:
        photometric = "RGB"  # what pydicom decodes colours to
    dataset.set_pixel_data(
        values, photometric, int(dataset.BitsStored), generate_instance_uid=False
    )
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def _profile(dataset: Dataset, key: SecretKey) -> None:
    dataset.remove_private_tags()
    for element in list(dataset):
        if element.tag.group in _OVERLAYS or element.tag.group in _CURVES:
            del dataset[element.tag]
            continue
        action = _actions().get((element.tag.group, element.tag.element))
        if element.VR == "UI" and action is not None:
            element.value = _uids(element.value, key)
        elif action is not None and not (element.VR == "SQ" and action is _references()):
            action(dataset, (element.tag.group, element.tag.element))
        if element.tag in dataset and element.VR == "SQ":
            for item in dataset[element.tag].value:
                _profile(item, key)


def _meta(dataset: Dataset) -> FileMetaDataset:
    """A new head of the file; the old one may name who sent it, and hold private information."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return meta


def _references() -> _Action:
    """The table's X/Z/U*: of a sequence the items stay, and the unique ids in them are made new."""
    from dicomanonymizer.simpledicomanonymizer import delete_or_empty_or_replace_UID

    action: _Action = delete_or_empty_or_replace_UID
    return action


def _uids(value: Any, key: SecretKey) -> Any:
    if isinstance(value, str):
        number = int.from_bytes(key.digest("uid", value)[:16])
        return f"2.25.{number}" if value else value
    return [_uids(one, key) for one in value or ()]


@cache
def _actions() -> Mapping[tuple[int, int], _Action]:
    from dicomanonymizer.simpledicomanonymizer import delete, initialize_actions

    def remove(dataset: Dataset, tag: tuple[int, int]) -> None:
        del dataset[tag]

    return {
        tag: remove if action is delete else action
        for tag, action in initialize_actions(_TABLE).items()
        if len(tag) == 2  # the others are overlays and curves
    }
