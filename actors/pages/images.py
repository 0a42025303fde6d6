"""Read images with Pillow: checked before decoding, upright by EXIF, eight bits per channel."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from actors.pages.errors import DamagedFile, TooManyPages, TooManyPixels
from actors.pages.page import Limits, Page, Picture

_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF")
_PAGED = ("TIFF", "GIF", "WEBP", "PNG")  # further images in a JPEG are previews, not pages


def picture_pages(content: bytes, limits: Limits) -> Iterator[Page]:
    """Yield the pages of an image file: every frame of a TIFF, GIF, WebP or animated PNG. They are
    counted before the first is decoded."""
    try:
        # Restrict the formats, so that no rarely tested decoder of Pillow sees hostile bytes.
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError:
        raise DamagedFile("the image header cannot be read") from None
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
    # The size is in the header: nothing has been decoded so far.
    if image.width * image.height > limits.max_pixels:
        raise TooManyPixels(f"{image.width} x {image.height} pixels; {_too_many(limits)}")
    if not image.width or not image.height:
        raise DamagedFile("an image without width or height")
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise DamagedFile(f"truncated or corrupt: {type(error).__name__}") from None
    picture = to_picture(image)
    return Page(picture.shape[1], picture.shape[0], picture)


def to_picture(image: Image.Image) -> Picture:
    """Convert a decoded image to an array: EXIF orientation applied, transparency on white."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float32)
        # 16 bits if the mode says so; for other wide modes only the data reveals the range.
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
