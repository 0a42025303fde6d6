"""Pages without the patient: words covered in the picture, and a new file of pictures.

The new file is made of pixels alone: no text layer, no metadata, no annotations. Faces stay. Pages
are decoded, covered and encoded one after the other; of DICOM all frames are in memory at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from PIL import Image

from actors.deidentify.dicom_profile import deidentified_dicom
from actors.deidentify.keys import SecretKey
from actors.deidentify.patches import Patch, cover, grown
from actors.deidentify.picture_files import picture_file
from actors.pages import DecodeLimits, open_pages, page_format


def burnt(
    content: bytes,
    patches: Sequence[Patch],
    *,
    limits: DecodeLimits | None = None,
    key: SecretKey | None = None,
    printed: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[bytes, str]:
    """A picture, PDF or DICOM file with black in place of the patches; and its kind: pdf for a PDF,
    dicom for DICOM, tiff for a TIFF and for any other picture of several pages or frames, else png.

    ``patches``: as read with the same ``limits``. ``key``: needed for DICOM, to
    replace unique ids, the same id always by the same. ``printed``: surrogates, shifted dates and
    generalised values are printed in place, black on white; not possible in DICOM. ``cancelled``:
    polled; once it returns True, the result is not a whole file. Raises a PageError, and ValueError
    for a box on a page that is not there, or DICOM without a key.
    """
    limits = limits or DecodeLimits()
    kind = page_format(content)
    boxes = [box for patch in patches for box in patch.boxes]
    if kind == "dicom":
        if key is None:
            raise ValueError("DICOM needs a key, for its unique ids: set MEDSPAN_DEIDENTIFY_KEY")
        if printed:
            raise ValueError("printing surrogates is not supported for DICOM files")
        grown_boxes = [grown(box) for box in boxes]
        return deidentified_dicom(content, grown_boxes, key, limits, cancelled), kind
    count = 0

    def covered() -> Iterator[Image.Image]:
        nonlocal count
        # Every page is rendered, also where the text layer was read: boxes are measured alike.
        for page in open_pages(content, replace(limits, text_layer=False), cancelled):
            if cancelled():
                return
            assert page.picture is not None  # without a text layer there is nothing else
            image = Image.fromarray(page.picture[:, :, ::-1].copy())
            for patch in patches:
                cover(image, count, patch, printed)
            count += 1
            yield image

    made = picture_file(covered(), kind, limits.dpi)
    if any(not 0 <= box.page < count for box in boxes):
        raise ValueError(f"a box is on a page that does not exist; pages: {count}")
    return made
