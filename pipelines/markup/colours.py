"""A stable colour per label for reports, terminals and web pages, distinguishable without colour.

Twelve hues and three line styles give 36 looks. No label depends on its hue alone: the line style
changes before a hue repeats, and the label's name is always shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hue:
    """One hue: its foreground colour on a light and on a dark background."""

    light: str
    dark: str


# Labels are printed in these colours, so every `light` has a contrast of at least 4.5 on its own
# tint on white, and every `dark` on its tint on the dark background of reader.css (a test computes
# both). Neighbours differ in lightness or temperature, for red-green colour blindness.
BLUE = Hue("#1d58b0", "#7fb2ff")
VERMILION = Hue("#a83c08", "#ff9d6b")
GREEN = Hue("#0a6b45", "#5fd3a0")
VIOLET = Hue("#7a35b8", "#c9a0ff")
OCHRE = Hue("#7d5200", "#e8b849")
TEAL = Hue("#0a6578", "#5ccfe0")
MAGENTA = Hue("#a81a69", "#ff8cc6")
INDIGO = Hue("#4146c4", "#a3a8ff")
OLIVE = Hue("#546000", "#c0d04a")
RED = Hue("#ad231c", "#ff8a80")
SLATE = Hue("#465a75", "#a9bbd3")
BROWN = Hue("#7a4a2b", "#d9a985")
HUES = (
    BLUE,
    VERMILION,
    GREEN,
    VIOLET,
    OCHRE,
    TEAL,
    MAGENTA,
    INDIGO,
    OLIVE,
    RED,
    SLATE,
    BROWN,
)
LINES = ("solid", "dashed", "dotted")


@dataclass(frozen=True, slots=True)
class Look:
    """The style of a label: a hue and a line style (a CSS border style)."""

    hue: Hue
    line: str


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """Assign a look to every label, distinct for up to 36 labels.

    A label prefers the hue that its name hashes to, so it mostly keeps its colour between runs. On
    a collision the alphabetically later label takes the next free hue.
    """
    chosen: dict[str, Look] = {}
    taken: set[int] = set()
    for label in sorted(set(labels)):
        first = int.from_bytes(hashlib.sha256(label.encode()).digest()[:4]) % len(HUES)
        if len(taken) == len(HUES) * len(LINES):
            taken.clear()
        line = len(taken) // len(HUES)  # use all hues of a line style before the next style
        slot = line * len(HUES) + first
        while slot in taken:
            slot = line * len(HUES) + (slot + 1) % len(HUES)
        taken.add(slot)
        chosen[label] = Look(HUES[slot % len(HUES)], LINES[line])
    return chosen
