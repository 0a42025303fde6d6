"""Find bar codes and two-dimensional codes on pages, by zxing-cpp: where they are, what they say.

A page is read several times: as it is; in black and white by the brightness around each pixel, for
faint codes; at twice its size, for bars of a pixel and a half; and turned, since a code of lines is
read along rows and columns only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import zxingcpp
from numpy.typing import NDArray

from actors.pages.bars import whole_bars
from actors.pages.page import DecodeLimits, Picture
from actors.pages.process import open_pages
from actors.spans import Box, MarkKind, PageMark

_Gray = NDArray[np.uint8]
_Matrix = NDArray[np.float64]
_Corners = NDArray[np.float64]  # four points, x and y

_LINES = "Code128,Code39,Code93,Codabar,ITF,EANUPC,DataBar,PDF417,MicroPDF417"
_SQUARES = "QRCode,MicroQRCode,RMQRCode,DataMatrix,Aztec,MaxiCode"
_OF_LINES = zxingcpp.barcode_formats_from_str(_LINES)
_ALL = zxingcpp.barcode_formats_from_str(f"{_LINES},{_SQUARES}")
_AROUND, _DARKER = 51, 20  # pixels, and gray values, for black and white
_LARGER = 2.0
_MOST_PIXELS = 24_000_000  # of a page that is made larger: A4 at 300 dpi has 8.7 million
_TURNS = range(10, 90, 10)  # degrees; rows and columns reach 5 degrees to either side
_IDENTITY = np.eye(2, 3)
_ONE_LINE = frozenset(
    getattr(zxingcpp.BarcodeFormat, name)
    for name in ("Code128", "Code39", "Code93", "Codabar", "ITF", "EANUPC", "DataBar")
)


def page_bar_codes(
    content: bytes, limits: DecodeLimits, cancelled: Callable[[], bool] = lambda: False
) -> Iterator[PageMark]:
    """Yield the codes on the pages of a file, in their order. ``cancelled`` is polled.

    Every page is rendered, also where its text layer was read: codes may be drawn as lines or set
    in a font. Raises a PageError.
    """
    pages = open_pages(content, replace(limits, text_layer=False), cancelled)
    for number, page in enumerate(pages):
        assert page.picture is not None  # without a text layer there is nothing else
        yield from find_bar_codes(page.picture, number)


def find_bar_codes(picture: Picture, page: int = 0) -> list[PageMark]:
    """Return the codes of a picture, each with the upright rectangle around it."""
    marks: list[PageMark] = []
    for look in _looks(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)):
        for found in zxingcpp.read_barcodes(
            look.picture,
            formats=look.formats,
            binarizer=look.binarizer,
            text_mode=zxingcpp.TextMode.Plain,
        ):
            corners = _corners(found.position)
            if found.symbology in _ONE_LINE:
                corners = whole_bars(look.picture, corners)
            mark = PageMark(MarkKind.BARCODE, look.box(corners, page), found.text)
            same = [known for known in marks if _is_same(mark, known)]
            marks = [*(known for known in marks if known not in same), _united([*same, mark])]
    return marks


@dataclass(frozen=True, slots=True)
class _Look:
    """A page as one reading sees it; ``matrix`` leads from its pixels to those of the page."""

    picture: _Gray
    matrix: _Matrix
    formats: zxingcpp.BarcodeFormats = _ALL
    binarizer: zxingcpp.Binarizer = zxingcpp.Binarizer.LocalAverage

    def box(self, corners: _Corners, page: int) -> Box:
        """The rectangle around a code with these corners, on the page."""
        there = np.column_stack([corners, np.ones(len(corners))]) @ self.matrix.T
        (x0, y0), (x1, y1) = np.floor(there.min(axis=0)), np.ceil(there.max(axis=0))
        return Box(page, float(x0), float(y0), float(x1), float(y1))


def _looks(page: _Gray) -> Iterator[_Look]:
    yield _Look(page, _IDENTITY)
    black = cv2.adaptiveThreshold(
        page, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, _AROUND, _DARKER
    )
    fixed = zxingcpp.Binarizer.FixedThreshold
    yield _Look(np.asarray(black, np.uint8), _IDENTITY, binarizer=fixed)
    if page.size * _LARGER**2 <= _MOST_PIXELS:
        large = cv2.resize(page, None, fx=_LARGER, fy=_LARGER, interpolation=cv2.INTER_CUBIC)
        yield _Look(np.asarray(large, np.uint8), _IDENTITY / _LARGER)
    for degrees in _TURNS:
        yield _turned(page, degrees)


def _turned(page: _Gray, degrees: float) -> _Look:
    """The page turned clockwise, on white."""
    height, width = page.shape
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    size = (math.ceil(width * cosine + height * sine), math.ceil(width * sine + height * cosine))
    there = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1.0)
    there[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    turned = cv2.warpAffine(page, there, size, flags=cv2.INTER_CUBIC, borderValue=(255,))
    back = np.asarray(cv2.invertAffineTransform(there), np.float64)
    return _Look(np.asarray(turned, np.uint8), back, _OF_LINES)


def _corners(position: zxingcpp.Position) -> _Corners:
    """Left and right at the top, right and left at the bottom, as the code is read."""
    found = (
        position.top_left,
        position.top_right,
        position.bottom_right,
        position.bottom_left,
    )
    return np.array([(corner.x + 0.5, corner.y + 0.5) for corner in found])


def _is_same(one: PageMark, other: PageMark) -> bool:
    """True if two readings found the same code, or one found a part of it."""
    a, b = one.box, other.box
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return width > 0 and height > 0 and width * height > min(_area(a), _area(b)) / 2


def _united(marks: list[PageMark]) -> PageMark:
    """All of a code, with what its readings say, a line each: one may be wrong."""
    boxes = [mark.box for mark in marks]
    whole = Box(
        boxes[0].page,
        min(box.x0 for box in boxes),
        min(box.y0 for box in boxes),
        max(box.x1 for box in boxes),
        max(box.y1 for box in boxes),
    )
    said = dict.fromkeys(line for mark in marks for line in mark.content.split("\n"))
    return PageMark(MarkKind.BARCODE, whole, "\n".join(said))


def _area(box: Box) -> float:
    return (box.x1 - box.x0) * (box.y1 - box.y0)
