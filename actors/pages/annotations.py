"""Values of form fields and texts of annotations: words at their place on a PDF page."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from actors.pages.page import CHECKED, UNCHECKED, PlacedWord, Strip
from actors.pages.page_transform import Device
from actors.pages.rectangles import Rectangle, strip_of

_CHOICES = (raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX)
_BOXES = (raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON)
_NO_VALUE = (raw.FPDF_FORMFIELD_PUSHBUTTON, raw.FPDF_FORMFIELD_SIGNATURE)
_PASSWORD = 1 << 13  # flag of a text field
_HIDDEN = raw.FPDF_ANNOT_FLAG_HIDDEN | raw.FPDF_ANNOT_FLAG_NOVIEW
_WITH_TEXT = {
    raw.FPDF_ANNOT_TEXT,
    raw.FPDF_ANNOT_FREETEXT,
    raw.FPDF_ANNOT_STAMP,
    raw.FPDF_ANNOT_HIGHLIGHT,
    raw.FPDF_ANNOT_UNDERLINE,
    raw.FPDF_ANNOT_SQUIGGLY,
    raw.FPDF_ANNOT_STRIKEOUT,
    raw.FPDF_ANNOT_CARET,
    raw.FPDF_ANNOT_LINE,
    raw.FPDF_ANNOT_SQUARE,
    raw.FPDF_ANNOT_CIRCLE,
    raw.FPDF_ANNOT_POLYGON,
    raw.FPDF_ANNOT_POLYLINE,
    raw.FPDF_ANNOT_INK,
}
_DRAWN = (raw.FPDF_ANNOT_STAMP, raw.FPDF_ANNOT_FREETEXT)
"""Kinds of annotation that show text on the page."""
_LETTER = 0.5  # usual width of a letter, in font sizes
_LINE = 1.2  # usual height of a line, in font sizes
_DEFAULT_SIZE = 12.0
_MOST = 5_000  # annotations of a page that are looked at


@dataclass(frozen=True, slots=True)
class Annotated:
    """``strips``: the words of fields and annotations. ``covered``: where their text is drawn.
    ``drawn``: rectangles of what is drawn without a text, such as an image used as a stamp.
    ``struck_out``: rectangles that an annotation strikes out."""

    strips: tuple[Strip, ...]
    covered: tuple[Rectangle, ...]
    drawn: tuple[Rectangle, ...]
    struck_out: tuple[Rectangle, ...]


def read_annotations(
    document: pdfium.PdfDocument, page: pdfium.PdfPage, size: tuple[int, int]
) -> Annotated:
    """Read the form fields and annotations of a page shown in pixels of ``size`` (width, height).

    A check box or radio button is one word, CHECKED or UNCHECKED. Hidden annotations and passwords
    are left out.
    """
    count = min(raw.FPDFPage_GetAnnotCount(page), _MOST)
    strips: list[Strip] = []
    covered: list[Rectangle] = []
    drawn: list[Rectangle] = []
    struck: list[Rectangle] = []
    if count <= 0:
        return Annotated((), (), (), ())
    device = Device.of(page, size)
    for number in range(count):
        item = raw.FPDFPage_GetAnnot(page, number)
        if not item:
            continue
        try:
            rectangle = _rectangle(item, device)
            if rectangle is None or raw.FPDFAnnot_GetFlags(item) & _HIDDEN:
                continue
            kind = raw.FPDFAnnot_GetSubtype(item)
            if kind == raw.FPDF_ANNOT_WIDGET and document.formenv is not None:
                lines, name = _value(document.formenv, item)
                made = _lines(lines, rectangle, size, device, _font_size(document, item), name)
                strips += made
                if made:
                    covered.append(rectangle)
            elif kind in _WITH_TEXT:
                lines = _split(_string(item, b"Contents"))
                strips += _lines(lines, rectangle, size, device, None, None)
                if kind in _DRAWN:
                    (covered if lines else drawn).append(rectangle)
                if kind == raw.FPDF_ANNOT_STRIKEOUT:
                    struck.append(rectangle)
        finally:
            raw.FPDFPage_CloseAnnot(item)
    return Annotated(tuple(strips), tuple(covered), tuple(drawn), tuple(struck))


def _rectangle(item: Any, device: Device) -> Rectangle | None:
    found = raw.FS_RECTF()
    if not raw.FPDFAnnot_GetRect(item, found):
        return None
    box = device.box(found.left, found.bottom, found.right, found.top)
    return box if box[0] < box[2] and box[1] < box[3] else None


def _value(form: Any, item: Any) -> tuple[list[str], str | None]:
    """Return the lines of a field's value, and the field's name."""
    kind = raw.FPDFAnnot_GetFormFieldType(form, item)
    if kind in _NO_VALUE or kind < 0:
        return [], None
    name = _text(lambda buffer, n: raw.FPDFAnnot_GetFormFieldName(form, item, buffer, n)) or None
    if kind in _BOXES:
        return [CHECKED if raw.FPDFAnnot_IsChecked(form, item) else UNCHECKED], name
    if kind in _CHOICES:
        chosen = list(_chosen(form, item))
        if chosen:
            return chosen, name
    elif raw.FPDFAnnot_GetFormFieldFlags(form, item) & _PASSWORD:
        return [], name
    value = _text(lambda buffer, n: raw.FPDFAnnot_GetFormFieldValue(form, item, buffer, n))
    return _split(value), name


def _chosen(form: Any, item: Any) -> Iterator[str]:
    for option in range(max(0, raw.FPDFAnnot_GetOptionCount(form, item))):
        if raw.FPDFAnnot_IsOptionSelected(form, item, option):
            yield _text(
                lambda buffer, n, option=option: raw.FPDFAnnot_GetOptionLabel(  # type: ignore[misc]
                    form, item, option, buffer, n
                )
            )


def _string(item: Any, key: bytes) -> str:
    return _text(lambda buffer, n: raw.FPDFAnnot_GetStringValue(item, key, buffer, n))


def _text(get: Callable[[Any, int], int]) -> str:
    """Return a string that pdfium writes as UTF-16 to a buffer of some bytes."""
    size = get(None, 0)
    if size <= 2:
        return ""
    buffer = ctypes.create_string_buffer(size)
    get(ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    return buffer.raw[: size - 2].decode("utf-16-le", "replace")


def _split(text: str) -> list[str]:
    return [line for line in text.replace("\0", "").splitlines() if line.strip()]


def _font_size(document: pdfium.PdfDocument, item: Any) -> float | None:
    value = ctypes.c_float()
    if raw.FPDFAnnot_GetFontSize(document.formenv, item, value) and value.value > 0:
        return value.value
    return None


def _lines(
    lines: Sequence[str],
    rectangle: Rectangle,
    size: tuple[int, int],
    device: Device,
    font: float | None,
    name: str | None,
) -> list[Strip]:
    """Place lines in a rectangle: how a viewer sets them is not known, so widths are estimated."""
    if not lines:
        return []
    x0, y0, x1, y1 = rectangle
    pixels = device.scale * (font or _DEFAULT_SIZE)
    if y1 - y0 < _LINE * pixels:
        pixels = (y1 - y0) / _LINE
    per_line = max(1, int((x1 - x0) / (_LETTER * pixels)))
    several = len(lines) > 1 or y1 - y0 > 2 * _LINE * pixels
    wrapped = [part for line in lines for part in (_wrapped(line, per_line) if several else [line])]
    height = min(_LINE * pixels, (y1 - y0) / len(wrapped)) if several else y1 - y0
    strips = []
    for number, line in enumerate(wrapped):
        top = y0 + number * height
        pitch = min(_LETTER * pixels, (x1 - x0) / len(line))
        words, at = [], 0
        for word in line.split():
            at = line.index(word, at)
            left, right = x0 + pitch * at, x0 + pitch * (at + len(word))
            words.append(PlacedWord(word, left, top, right, top + height, None, name))
            at += len(word)
        strips.append(strip_of(words, 0, size))
    return strips


def _wrapped(line: str, width: int) -> list[str]:
    parts = [""]
    for word in line.split():
        if parts[-1] and len(parts[-1]) + 1 + len(word) > width:
            parts.append("")
        parts[-1] += f" {word}" if parts[-1] else word
    return parts
