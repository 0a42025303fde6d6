"""Text with marked spans, drawn: the reader page of report and evaluate, and its colours."""

from __future__ import annotations

from pipelines.markup.colours import Hue, Look, looks
from pipelines.markup.highlight import Mark, depth, highlight
from pipelines.markup.layers import Piece, pieces
from pipelines.markup.page import Item, Key, Reader, Reading, duration, render, save

__all__ = [
    "Hue",
    "Item",
    "Key",
    "Look",
    "Mark",
    "Piece",
    "Reader",
    "Reading",
    "depth",
    "duration",
    "highlight",
    "looks",
    "pieces",
    "render",
    "save",
]
