"""Pages without the patient: words burnt out of the picture, and a new file of pictures.

The new file is made of pixels alone: no text layer, no metadata, no annotations. Faces stay.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from PIL import Image, ImageDraw

from actors.deidentify.dicom import deidentified_dicom
from actors.deidentify.keys import SecretKey
from actors.deidentify.offsets import Edit
from actors.pages import DecodeLimits, OcrResult, PageError, open_pages, page_format, place
from actors.spans import Box, spanning

_MARGIN = 0.15  # of a box's height, on every side: boxes of OCR cut ascenders and accents
_LEAST_MARGIN = 2  # pixels


def boxes_of(reading: OcrResult, edits: Iterable[Edit]) -> list[Box]:
    """Where the words are that edits touch, a box a line. Words are taken whole: where their
    letters end is a guess."""
    touched = []
    for edit in edits:
        words = [w for w in reading.words if edit.start < w.end and w.start < edit.end]
        if words:
            start, end = words[0].start, words[-1].end
            touched.append(spanning(reading.text, start, end, edit.category))
    return [box for entity in place(touched, reading) for box in entity.boxes]


def burnt(
    content: bytes,
    boxes: Sequence[Box],
    *,
    limits: DecodeLimits | None = None,
    key: SecretKey | None = None,
) -> tuple[bytes, str]:
    """A picture, PDF or DICOM file with black in place of the boxes; and its kind: pdf for a PDF,
    tiff for a TIFF, dicom for DICOM, else png.

    ``boxes`` as ``OcrResult`` has them, read with the same ``limits``. ``key``: needed for DICOM,
    whose unique ids are made anew with it, the same for the same id. Raises a PageError, and
    ValueError for a box on a page that is not there, or DICOM without a key.
    """
    limits = limits or DecodeLimits()
    kind = page_format(content)
    if kind == "dicom":
        if key is None:
            raise ValueError("DICOM needs a key, for its unique ids: set MEDSPAN_DEIDENTIFY_KEY")
        return deidentified_dicom(content, [grown(box) for box in boxes], key, limits), kind
    # Every page is rendered, also where the text layer was read: boxes are measured alike.
    pages = [
        Image.fromarray(page.picture[:, :, ::-1].copy())
        for page in open_pages(content, _rendered(limits))
        if page.picture is not None
    ]
    if any(not 0 <= box.page < len(pages) for box in boxes):
        raise ValueError(f"a box is on a page that is not there; there are {len(pages)}")
    for box in boxes:
        _black(pages[box.page], grown(box))
    return _written(pages, kind, limits.dpi)


def grown(box: Box) -> Box:
    """The box with a margin around it."""
    margin = max(_LEAST_MARGIN, _MARGIN * min(box.y1 - box.y0, box.x1 - box.x0))
    return Box(box.page, box.x0 - margin, box.y0 - margin, box.x1 + margin, box.y1 + margin)


def _black(page: Image.Image, box: Box) -> None:
    # Pillow's rectangle holds its last pixel; a pixel that the box touches is burnt.
    corners = (int(max(box.x0, 0)), int(max(box.y0, 0)), int(box.x1) + 1, int(box.y1) + 1)
    ImageDraw.Draw(page).rectangle(corners, fill="black")


def _rendered(limits: DecodeLimits) -> DecodeLimits:
    return DecodeLimits(limits.dpi, limits.max_pages, limits.max_pixels, text_layer=False)


def _written(pages: list[Image.Image], kind: str | None, dpi: int) -> tuple[bytes, str]:
    if not pages:
        raise PageError("a file without pages")
    out = io.BytesIO()
    first, rest = pages[0], pages[1:]
    if kind == "pdf":
        # No date and no producer: they say when and by whom.
        first.save(
            out, "PDF", save_all=True, append_images=rest, resolution=dpi,
            title=None, producer=None, creationDate=None, modDate=None,
        )  # fmt: skip
        return out.getvalue(), "pdf"
    if kind == "tiff":
        first.save(out, "TIFF", save_all=True, append_images=rest, compression="tiff_deflate")
        return out.getvalue(), "tiff"
    first.save(out, "PNG")
    return out.getvalue(), "png"
