"""The drawing of a PDF page: where it has pictures, and what may hide its text."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from actors.pages.rectangles import Rectangle, union

_DEPTH = 4  # nested forms that are searched for pictures
_MOST_OBJECTS = 20_000  # a form may draw forms that draw forms: beyond, all of it may be a picture
_OPAQUE = 230  # of 255
_COVER = 6.0  # least sides in points of something that can hide a word
# Text drawn as outlines: paths as high as letters with more points than a rectangle has, several of
# them, or a whole line in one path.
_LETTER_HEIGHT = (3.0, 60.0)  # points
_LETTER_POINTS, _LETTERS, _LINE_POINTS = 8, 4, 100
_ALWAYS_OPAQUE = (raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_SHADING)


@dataclass(slots=True)
class PageObjects:
    """``pictures``: the rectangles of images, and around paths that may be letters. ``covers``:
    those of opaque areas and images, with their place in the drawing order and whether they are
    images. ``order``: the place of the page's own text objects by address.
    """

    pictures: list[Rectangle] = field(default_factory=list)
    covers: list[tuple[int, Rectangle, bool]] = field(default_factory=list)
    order: dict[int, int] = field(default_factory=dict)

    def is_covered(self, address: int, bounds: Rectangle, by_picture: bool) -> bool:
        """Return True if an image, or an opaque area, is drawn over part of a text object."""
        at = self.order.get(address)
        return at is not None and any(
            number > at and picture == by_picture and _overlap(bounds, cover)
            for number, cover, picture in self.covers
        )


def page_objects(page: pdfium.PdfPage) -> PageObjects:
    """Walk over the objects of a page, and over those of its forms for pictures."""
    found = PageObjects()
    letters = _Letters()
    for number in range(raw.FPDFPage_CountObjects(page)):
        item = raw.FPDFPage_GetObject(page, number)
        kind = raw.FPDFPageObj_GetType(item)
        if kind == raw.FPDF_PAGEOBJ_TEXT:
            found.order[address(item)] = number
            continue
        bounds = bounds_of(item)
        if bounds is None:
            continue
        picture = kind == raw.FPDF_PAGEOBJ_IMAGE or (
            kind == raw.FPDF_PAGEOBJ_FORM and _has_picture(item, _Budget(_MOST_OBJECTS), 1)
        )
        if picture:
            found.pictures.append(bounds)
        elif kind == raw.FPDF_PAGEOBJ_PATH:
            letters.add(item, bounds, bounds)
        elif kind == raw.FPDF_PAGEOBJ_FORM:
            letters.add_form(item, bounds, _Budget(_MOST_OBJECTS), 1)
        if found.order and _may_cover(item, kind, bounds):
            found.covers.append((number, bounds, picture))
    if letters.count >= _LETTERS:
        found.pictures.append(union(letters.boxes))
    return found


def address(item: Any) -> int:
    """Return the address of a pdfium object, equal for two handles of one object."""
    return ctypes.cast(item, ctypes.c_void_p).value or 0


def bounds_of(item: Any) -> Rectangle | None:
    """Return the bounds of a page object in the coordinates of what contains it."""
    sides = [ctypes.c_float() for _ in range(4)]
    if not raw.FPDFPageObj_GetBounds(item, *sides):
        return None
    left, bottom, right, top = (side.value for side in sides)
    return left, bottom, right, top


def is_clipped(item: Any, bounds: Rectangle) -> bool:
    """Return True if the clip paths of a page object may cut something off its bounds."""
    clip = raw.FPDFPageObj_GetClipPath(item)
    return any(
        path[0] > bounds[0] + 1
        or path[1] > bounds[1] + 1
        or path[2] < bounds[2] - 1
        or path[3] < bounds[3] - 1
        for path in _clip_bounds(clip)
    )


def _clip_bounds(clip: Any) -> Iterator[Rectangle]:
    x, y = ctypes.c_float(), ctypes.c_float()
    for path in range(max(0, raw.FPDFClipPath_CountPaths(clip))):
        corners = []
        for segment in range(max(0, raw.FPDFClipPath_CountPathSegments(clip, path))):
            raw.FPDFPathSegment_GetPoint(raw.FPDFClipPath_GetPathSegment(clip, path, segment), x, y)
            corners.append((x.value, y.value))
        if corners:
            xs, ys = zip(*corners, strict=True)
            yield min(xs), min(ys), max(xs), max(ys)


@dataclass(slots=True)
class _Budget:
    left: int


@dataclass(slots=True)
class _Letters:
    """Paths that may be letters: how many, and the rectangles of them on the page."""

    count: int = 0
    boxes: list[Rectangle] = field(default_factory=list)

    def add(self, path: Any, bounds: Rectangle, on_page: Rectangle) -> None:
        """Add a path if it may be a letter; ``on_page``: where what contains it is."""
        points = raw.FPDFPath_CountSegments(path)
        low, most = _LETTER_HEIGHT
        if points >= _LETTER_POINTS and low <= bounds[3] - bounds[1] <= most:
            self.count += _LETTERS if points >= _LINE_POINTS else 1
            self.boxes.append(on_page)

    def add_form(self, form: Any, on_page: Rectangle, budget: _Budget, depth: int) -> None:
        """Add the paths of a form, and of those that it draws. Its scale is taken to be 1."""
        for number in range(max(0, raw.FPDFFormObj_CountObjects(form))):
            budget.left -= 1
            if budget.left < 0:
                return
            item = raw.FPDFFormObj_GetObject(form, number)
            kind, bounds = raw.FPDFPageObj_GetType(item), bounds_of(item)
            if kind == raw.FPDF_PAGEOBJ_PATH and bounds is not None:
                self.add(item, bounds, on_page)
            elif kind == raw.FPDF_PAGEOBJ_FORM and depth < _DEPTH:
                self.add_form(item, on_page, budget, depth + 1)


def _has_picture(form: Any, budget: _Budget, depth: int) -> bool:
    for number in range(max(0, raw.FPDFFormObj_CountObjects(form))):
        budget.left -= 1
        if budget.left < 0:
            return True
        item = raw.FPDFFormObj_GetObject(form, number)
        kind = raw.FPDFPageObj_GetType(item)
        if kind == raw.FPDF_PAGEOBJ_IMAGE:
            return True
        if kind == raw.FPDF_PAGEOBJ_FORM and (
            depth >= _DEPTH or _has_picture(item, budget, depth + 1)
        ):
            return True
    return False


def _may_cover(item: Any, kind: int, bounds: Rectangle) -> bool:
    if min(bounds[2] - bounds[0], bounds[3] - bounds[1]) < _COVER:
        return False
    if kind in _ALWAYS_OPAQUE:
        return True
    if kind != raw.FPDF_PAGEOBJ_PATH:
        return False
    fill, stroke = ctypes.c_int(), ctypes.c_int()
    raw.FPDFPath_GetDrawMode(item, fill, stroke)
    return bool(fill.value) and fill_colour(item)[3] >= _OPAQUE


def fill_colour(item: Any) -> tuple[int, int, int, int]:
    """Return red, green, blue and opacity (0 to 255) of an object; black where it has a pattern."""
    parts = [ctypes.c_uint() for _ in range(4)]
    if not raw.FPDFPageObj_GetFillColor(item, *parts):
        return 0, 0, 0, 255
    red, green, blue, opacity = (part.value for part in parts)
    return red, green, blue, opacity


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
