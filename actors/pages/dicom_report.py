"""Structured reports of DICOM as pages: the items of the content tree, a line each.

A report has no layout, so its text is set on pages of A4 in one column. Boxes refer to these pages,
which are drawn the same way where a picture is asked for.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset

from actors.pages.errors import EmptyFile, TooManyPages
from actors.pages.page import DecodeLimits, Page, Picture, PlacedWord, Strip

_A4 = (8.27, 11.69)  # inches
_MARGIN = 0.8  # inches
_LINES_PER_INCH = 6
# Of a line's height: the width of a letter's cell, the height of a word's box, the font's size.
_LETTER, _INK, _FONT = 0.5, 0.75, 0.6
_VALUES = {
    "TEXT": "TextValue",
    "DATE": "Date",
    "TIME": "Time",
    "DATETIME": "DateTime",
    "PNAME": "PersonName",
}


def report_pages(dataset: Dataset, limits: DecodeLimits) -> Iterator[Page]:
    """Yield the pages of a structured report."""
    lines = [part for line in _lines(dataset) for part in line.splitlines() or [""]]
    if not any(line.strip() for line in lines):
        raise EmptyFile("the DICOM structured report has no text")
    width, height = (round(side * limits.dpi) for side in _A4)
    line_height = limits.dpi / _LINES_PER_INCH
    columns = int((width - 2 * _MARGIN * limits.dpi) / (_LETTER * line_height))
    set_lines = [part for line in lines for part in textwrap.wrap(line, columns) or [""]]
    rows = int((height - 2 * _MARGIN * limits.dpi) / line_height)
    starts = range(0, len(set_lines), rows)
    if len(starts) > limits.max_pages:
        raise TooManyPages(f"{len(starts)} pages of text, more than {limits.max_pages}")
    for start in starts:
        strips = _strips(set_lines[start : start + rows], _MARGIN * limits.dpi, line_height)
        if limits.text_layer:
            yield Page(width, height, strips=strips)
        else:
            yield Page(width, height, _drawn(strips, (width, height), line_height))


def _lines(dataset: Dataset) -> Iterator[str]:
    """Yield the lines of a content tree (PS3.3 C.17.3), in its order; blank before a container."""
    yield _meaning(dataset, "ConceptNameCodeSequence")
    yield from _item_lines(dataset)


def _item_lines(parent: Dataset) -> Iterator[str]:
    for item in parent.get("ContentSequence") or ():
        name, value = _meaning(item, "ConceptNameCodeSequence"), _value(item)
        if item.get("ValueType") == "CONTAINER":
            yield from ("", name)
        elif value:
            yield f"{name}: {value}" if name else value
        yield from _item_lines(item)


def _value(item: Dataset) -> str:
    """Return the value of an item as text; empty for references to images, waves and places."""
    kind = str(item.get("ValueType", ""))
    if kind in _VALUES:
        value = str(item.get(_VALUES[kind], "") or "").replace("\0", "")
        if kind == "DATE" and len(value) == 8:
            return f"{value[:4]}-{value[4:6]}-{value[6:]}"
        return value
    if kind == "CODE":
        return _meaning(item, "ConceptCodeSequence")
    if kind == "NUM":
        for measured in item.get("MeasuredValueSequence") or ():
            number = measured.get("NumericValue")
            units = next(iter(measured.get("MeasurementUnitsCodeSequence") or ()), Dataset())
            unit = str(units.get("CodeValue", ""))
            # UCUM writes units that are none as 1 or in braces.
            plain = unit in ("", "1") or unit.startswith("{")
            return str(number) if plain else f"{number} {unit}"
    return ""


def _meaning(item: Dataset, name: str) -> str:
    codes = item.get(name) or ()
    return str(codes[0].get("CodeMeaning", "")) if codes else ""


def _strips(lines: Sequence[str], margin: float, line_height: float) -> tuple[Strip, ...]:
    letter, ink = _LETTER * line_height, _INK * line_height
    strips = []
    for row, line in enumerate(lines):
        top, at, words = margin + row * line_height, 0, []
        for text in line.split():
            at = line.index(text, at)
            left, right = margin + at * letter, margin + (at + len(text)) * letter
            words.append(PlacedWord(text, left, top, right, top + ink))
            at += len(text)
        if words:
            strips.append(Strip(tuple(words), words[0].x0, top, words[-1].x1, top + ink))
    return tuple(strips)


def _drawn(strips: Sequence[Strip], size: tuple[int, int], line_height: float) -> Picture:
    page = Image.new("L", size, 255)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(_FONT * line_height)
    for strip in strips:
        for word in strip.words:
            draw.text((word.x0, word.y0), word.text, fill=0, font=font)
    return np.repeat(np.asarray(page)[:, :, None], 3, axis=2)
