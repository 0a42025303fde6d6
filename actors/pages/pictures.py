"""Pictures by Pillow: checked before they are decoded, upright by EXIF, eight bits a colour."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from actors.pages.errors import DamagedFile, TooManyPages, TooManyPixels
from actors.pages.page import Limits, Page, Picture

_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF")
_PAGED = ("TIFF", "GIF", "WEBP", "PNG")  # what else a JPEG holds is previews, not pages


def picture_pages(content: bytes, limits: Limits) -> Iterator[Page]:
    """The pages of a picture file: every frame of a TIFF, GIF, WebP or animated PNG. They are
    counted before the first is decoded."""
    try:
        # The formats are named, so that no rarely tested decoder of Pillow sees hostile bytes.
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError:
        raise DamagedFile("begins like a picture, but its header cannot be read") from None
    except Image.DecompressionBombError:
        raise TooManyPixels(_too_many(limits)) from None
    with image:
        frames = getattr(image, "n_frames", 1) if image.format in _PAGED else 1
        if frames > limits.max_pages:
            raise TooManyPages(f"{frames} pages, more than {limits.max_pages}")
        for number in range(frames):
            image.seek(number)
            yield _page(image, limits)


def _page(image: Image.Image, limits: Limits) -> Page:
    # The size is in the header: nothing of the picture has been decoded so far.
    if image.width * image.height > limits.max_pixels:
        raise TooManyPixels(f"{image.width} x {image.height} pixels; {_too_many(limits)}")
    if not image.width or not image.height:
        raise DamagedFile("a picture without width or height")
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise DamagedFile(f"cut off or corrupt: {type(error).__name__}") from None
    picture = to_picture(image)
    return Page(picture.shape[1], picture.shape[0], picture)


def to_picture(image: Image.Image) -> Picture:
    """A decoded image as an array: EXIF orientation applied, transparency on white."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float32)
        # Sixteen bits where the mode says so; of other wide modes only the data knows its range.
        top = 65535.0 if image.mode.startswith("I;16") else max(float(values.max()), 255.0)
        gray = np.clip(values * (255.0 / top), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(np.repeat(gray[:, :, None], 3, axis=2))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    rgb = np.asarray(image.convert("RGB"))
    return np.ascontiguousarray(rgb[:, :, ::-1])


def _too_many(limits: Limits) -> str:
    return f"the limit is {limits.max_pixels / 1e6:g} megapixels"
