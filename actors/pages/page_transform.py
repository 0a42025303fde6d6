"""From the coordinates of a PDF page to the pixels that it is shown in."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from actors.pages.rectangles import Rectangle


@dataclass(frozen=True, slots=True)
class Device:
    """The map from points of a page to its pixels."""

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float

    @classmethod
    def of(cls, page: pdfium.PdfPage, size: tuple[int, int]) -> Device:
        """Return the map for a page shown in pixels of ``size`` (width, height)."""
        finer = (1 << 22) // max(size)  # pdfium returns whole pixels: ask on a finer grid
        far = 1000.0
        x, y = ctypes.c_int(), ctypes.c_int()
        points = []
        for at in ((0.0, 0.0), (far, 0.0), (0.0, far)):
            raw.FPDF_PageToDevice(page, 0, 0, size[0] * finer, size[1] * finer, 0, *at, x, y)
            points.append((x.value / finer, y.value / finer))
        (e, f), (ax, ay), (bx, by) = points
        return cls((ax - e) / far, (ay - f) / far, (bx - e) / far, (by - f) / far, e, f)

    @property
    def scale(self) -> float:
        """Pixels per point."""
        return math.hypot(self.a, self.b)

    def box(self, left: float, bottom: float, right: float, top: float) -> Rectangle:
        """Return the pixels of a rectangle in points."""
        ax, ay = self.a * left + self.c * bottom + self.e, self.b * left + self.d * bottom + self.f
        bx, by = self.a * right + self.c * top + self.e, self.b * right + self.d * top + self.f
        return min(ax, bx), min(ay, by), max(ax, bx), max(ay, by)

    def turn(self, x: float, y: float) -> int:
        """Return the degrees clockwise (0, 90, 180, 270) that make text upright which runs in the
        direction (x, y) of the page."""
        across, down = self.a * x + self.c * y, self.b * x + self.d * y
        if abs(across) >= abs(down):
            return 0 if across >= 0 else 180
        return 270 if down > 0 else 90
