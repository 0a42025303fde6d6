"""Read images with Pillow: checked before decoding, upright by EXIF, eight bits per channel."""

from __future__ import annotations

import io
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from actors.extras import MissingExtraError, require
from actors.pages.errors import DamagedFile, TooManyPages, TooManyPixels, UnsupportedEncoding
from actors.pages.page import DecodeLimits, Page, Picture

# Restricted, so that no rarely tested decoder of Pillow sees hostile bytes.
_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "AVIF", "JPEG2000")
# Further images in a JPEG are previews, not pages.
_PAGED = ("TIFF", "GIF", "WEBP", "PNG", "AVIF", "HEIF")
# Tags of TIFF, and what marks a frame that is a smaller copy of another, or its mask.
_NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _ORIENTATION = 254, 255, 274
_X_RESOLUTION, _Y_RESOLUTION = 282, 283
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_OLD_REDUCED = 2  # the value of SubfileType
_SIDEWAYS = (5, 6, 7, 8)  # values of Orientation
# Lines of a fax are twice as far apart as its pixels (204 x 98 dpi), or four times. A lower ratio
# does not distort letters, a higher one is no resolution.
_LEAST_STRETCH, _MOST_STRETCH = 1.3, 4.5


def picture_pages(content: bytes, limits: DecodeLimits) -> Iterator[Page]:
    """Yield the pages of an image file: every frame of a TIFF, GIF, WebP, AVIF or animated PNG, but
    no thumbnails. They are counted before the first is decoded."""
    return _pages(content, limits, _FORMATS)


def heif_pages(content: bytes, limits: DecodeLimits) -> Iterator[Page]:
    """Yield the images of a HEIC file. Raises UnsupportedEncoding, which names the extra, if its
    decoder is not installed."""
    try:
        require("HEIC", "codecs")
    except MissingExtraError as error:
        raise UnsupportedEncoding(str(error)) from None
    from pi_heif import register_heif_opener

    register_heif_opener()
    return _pages(content, limits, ("HEIF",))


def _pages(content: bytes, limits: DecodeLimits, formats: tuple[str, ...]) -> Iterator[Page]:
    try:
        image = Image.open(io.BytesIO(content), formats=formats)
    except UnidentifiedImageError:
        raise DamagedFile("the image header cannot be read") from None
    except Image.DecompressionBombError:
        raise TooManyPixels(_too_many(limits)) from None
    with image:
        frames = _frames(image)
        if len(frames) > limits.max_pages:
            raise TooManyPages(f"{len(frames)} pages, more than {limits.max_pages}")
        for number in frames:
            image.seek(number)
            yield _page(image, limits)


def _frames(image: Image.Image) -> list[int]:
    """Return the numbers of the frames that are pages."""
    if image.format not in _PAGED:
        return [0]
    frames = range(getattr(image, "n_frames", 1))
    if image.format != "TIFF":
        return list(frames)
    pages = []
    for number in frames:
        image.seek(number)
        tags = image.getexif()
        marked = int(tags.get(_NEW_SUBFILE_TYPE, 0)) & (_REDUCED | _MASK)
        if not marked and tags.get(_SUBFILE_TYPE) != _OLD_REDUCED:
            pages.append(number)
    return pages or [0]


def _page(image: Image.Image, limits: DecodeLimits) -> Page:
    wider, higher = _stretch(image)
    # The size is in the header: nothing has been decoded so far.
    if image.width * wider * image.height * higher > limits.max_pixels:
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
    if (wider, higher) != (1.0, 1.0):
        stretched = cv2.resize(picture, None, fx=wider, fy=higher, interpolation=cv2.INTER_CUBIC)
        picture = np.asarray(stretched, np.uint8)
    return Page(picture.shape[1], picture.shape[0], picture)


def _stretch(image: Image.Image) -> tuple[float, float]:
    """Return the factors of width and height, as shown, that make the pixels of a TIFF square."""
    if image.format != "TIFF":
        return 1.0, 1.0
    tags = image.getexif()
    try:
        ratio = float(tags[_X_RESOLUTION]) / float(tags[_Y_RESOLUTION])
        if tags.get(_ORIENTATION) in _SIDEWAYS:
            ratio = 1 / ratio
    except (KeyError, ValueError, TypeError, ZeroDivisionError):
        return 1.0, 1.0
    if _LEAST_STRETCH < ratio < _MOST_STRETCH:
        return 1.0, ratio
    if 1 / _MOST_STRETCH < ratio < 1 / _LEAST_STRETCH:
        return 1 / ratio, 1.0
    return 1.0, 1.0


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


def _too_many(limits: DecodeLimits) -> str:
    return f"the limit is {limits.max_pixels / 1e6:g} megapixels"
