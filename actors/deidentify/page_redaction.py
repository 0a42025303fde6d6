"""Pages without the patient: words covered in the picture, and a new file of pictures.

The new file is made of pixels alone: no text layer, no metadata, no annotations. Faces stay.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from actors.deidentify.dicom_profile import deidentified_dicom
from actors.deidentify.keys import SecretKey
from actors.deidentify.patches import Patch, cover, grown
from actors.pages import DecodeLimits, PageError, open_pages, page_format


def burnt(
    content: bytes,
    patches: Sequence[Patch],
    *,
    limits: DecodeLimits | None = None,
    key: SecretKey | None = None,
    printed: bool = False,
) -> tuple[bytes, str]:
    """A picture, PDF or DICOM file with black in place of the patches; and its kind: pdf for a PDF,
    dicom for DICOM, tiff for a TIFF and for any other picture of several pages or frames, else png.

    ``patches``: as read with the same ``limits``. ``key``: needed for DICOM, to
    replace unique ids, the same id always by the same. ``printed``: surrogates, shifted dates and
    generalised values are printed in place, black on white; not possible in DICOM. Raises a
    PageError, and ValueError for a box on a page that is not there, or DICOM without a key.
    """
    limits = limits or DecodeLimits()
    kind = page_format(content)
    boxes = [box for patch in patches for box in patch.boxes]
    if kind == "dicom":
        if key is None:
            raise ValueError("DICOM needs a key, for its unique ids: set MEDSPAN_DEIDENTIFY_KEY")
        if printed:
            raise ValueError("printing surrogates is not supported for DICOM files")
        return deidentified_dicom(content, [grown(box) for box in boxes], key, limits), kind
    # Every page is rendered, also where the text layer was read: boxes are measured alike.
    pages = [
        Image.fromarray(page.picture[:, :, ::-1].copy())
        for page in open_pages(content, _rendered(limits))
        if page.picture is not None
    ]
    if any(not 0 <= box.page < len(pages) for box in boxes):
        raise ValueError(f"a box is on a page that does not exist; pages: {len(pages)}")
    for patch in patches:
        cover(pages, patch, printed)
    return _written(pages, kind, limits.dpi)


def _rendered(limits: DecodeLimits) -> DecodeLimits:
    return DecodeLimits(limits.dpi, limits.max_pages, limits.max_pixels, text_layer=False)


def _written(pages: list[Image.Image], kind: str | None, dpi: int) -> tuple[bytes, str]:
    if not pages:
        raise PageError("the file has no pages")
    out = io.BytesIO()
    first, rest = pages[0], pages[1:]
    if kind == "pdf":
        # No date and no producer: they say when and by whom.
        first.save(
            out, "PDF", save_all=True, append_images=rest, resolution=dpi,
            title=None, producer=None, creationDate=None, modDate=None,
        )  # fmt: skip
        return out.getvalue(), "pdf"
    if kind == "tiff" or rest:
        # Frames of a GIF, WebP or HEIC become pages: a PNG would hold the first alone.
        first.save(out, "TIFF", save_all=True, append_images=rest, compression="tiff_deflate")
        return out.getvalue(), "tiff"
    first.save(out, "PNG")
    return out.getvalue(), "png"
