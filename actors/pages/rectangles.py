"""Rectangles of a page: unions, and how they turn with it so that sideways text is read upright."""

from __future__ import annotations

from collections.abc import Sequence

from actors.pages.page import PlacedWord, Strip

Rectangle = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels; y downwards."""


def turned_box(box: Rectangle, size: tuple[int, int], turn: int) -> Rectangle:
    """Return a rectangle of a page of ``size`` (width, height) after rotating the page clockwise by
    ``turn`` degrees: 0, 90, 180 or 270."""
    (x0, y0, x1, y1), (width, height) = box, size
    if turn == 90:
        return height - y1, x0, height - y0, x1
    if turn == 180:
        return width - x1, height - y1, width - x0, height - y0
    if turn == 270:
        return y0, width - x1, y1, width - x0
    return box


def union(boxes: Sequence[Rectangle]) -> Rectangle:
    """Return the smallest rectangle around some."""
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )


def strip_of(words: Sequence[PlacedWord], turn: int, size: tuple[int, int]) -> Strip:
    """Return adjacent words as a strip of a page of ``size``."""
    box = union([(word.x0, word.y0, word.x1, word.y1) for word in words])
    return Strip(tuple(words), *turned_box(box, size, turn), turn)
