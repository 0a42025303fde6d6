"""The text layer of a PDF page: its words, and what of it nobody sees or can read."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw
from numpy.typing import NDArray

from actors.pages.garbled_text import is_no_language
from actors.pages.notes import Note
from actors.pages.page import PlacedWord, Strip
from actors.pages.page_objects import PageObjects, address, bounds_of, fill_colour, is_clipped
from actors.pages.page_transform import Device
from actors.pages.rectangles import strip_of, turned_box

# A gap may separate cells or columns, not only words, if it is wider than the spaces of its line by
# this factor and at least as many line heights as this; or where a line has too few to tell.
_WIDER, _LEAST_GAP, _FEW_GAPS_GAP, _CELL_GAP = 1.6, 0.35, 0.6, 1.2
_FEW_GAPS = 3
_BROKEN_SHARE = 0.1  # share of unmapped glyphs from which a font's text is no text
_LIGHT = 215  # of 255: a fill this light may be paper on paper
_FAINT_OPACITY = 40  # of 255
_CONTRAST = 14  # of 255: least difference of a word from its paper that can be seen
_SMALLEST = 1.5  # pixels: lower words are no text to anybody
_HYPHEN = "\x02"  # written by pdfium for the hyphen of a word that a line end breaks
_INVISIBLE, _CLIP_ONLY = 3, 7  # text rendering modes


class _Trust(IntEnum):
    """Trust in a character of the layer, from best to worst."""

    SURE = 0
    SUSPECT = 1
    """Visible or not: only the rendered page shows it."""
    DOUBTFUL = 2
    """To be compared with OCR: invisible over a picture, or in a font that writes no language."""
    BROKEN = 3
    """In a font that maps no glyphs to characters: only OCR can read them."""
    OUTSIDE = 4


@dataclass(frozen=True, slots=True)
class _Style:
    """Properties shared by the characters of one text object."""

    trust: _Trust
    font: int
    turn: int


@dataclass(slots=True)
class _LayerWord:
    word: PlacedWord
    trust: _Trust
    style: _Style
    ends_line: bool = False


@dataclass(frozen=True, slots=True)
class TextLayer:
    """The words of a page: ``sure`` as they are, ``doubtful`` until OCR has confirmed them.
    ``broken``: the number of words that only OCR can read."""

    sure: tuple[Strip, ...] = ()
    doubtful: tuple[Strip, ...] = ()
    broken: int = 0
    notes: Mapping[Note, int] = field(default_factory=dict)


Render = Callable[[], NDArray[np.uint8]]
"""Draws the page in gray, without annotations, in pixels of any size."""


def read_text_layer(
    page: pdfium.PdfPage, size: tuple[int, int], objects: PageObjects, render: Render
) -> TextLayer:
    """Read the text layer of a page, with boxes in pixels of ``size`` (width, height). ``render``
    is called only if a word's visibility depends on pixels."""
    text = page.get_textpage()
    try:
        found = _Words(page, text, size, objects)
    finally:
        text.close()
    words = found.words
    fonts = found.font_trust()
    for word in words:
        word.trust = max(word.trust, fonts.get(word.style.font, _Trust.SURE))
    counts: Counter[_Trust] = Counter(word.trust for word in words)
    notes = {Note.OUTSIDE: counts[_Trust.OUTSIDE]}
    if counts[_Trust.SUSPECT]:
        seen = _seen([word for word in words if word.trust is _Trust.SUSPECT], render(), size)
        suspects = iter(seen)
        words = [w for w in words if w.trust is not _Trust.SUSPECT or next(suspects)]
        notes[Note.UNSEEN] = len(seen) - sum(seen)
    sure = [w for w in words if w.trust in (_Trust.SURE, _Trust.SUSPECT)]
    return TextLayer(
        tuple(_strips(sure, size)),
        tuple(_strips([w for w in words if w.trust is _Trust.DOUBTFUL], size)),
        counts[_Trust.BROKEN],
        {note: count for note, count in notes.items() if count},
    )


class _Words:
    """The words of a text layer, in its order, and how well each font maps to characters."""

    def __init__(
        self,
        page: pdfium.PdfPage,
        text: pdfium.PdfTextPage,
        size: tuple[int, int],
        objects: PageObjects,
    ) -> None:
        self.words: list[_LayerWord] = []
        self._shown: Counter[int] = Counter()
        self._broken: Counter[int] = Counter()
        self._letters: list[str] = []
        self._places: list[tuple[float, float, float, float]] = []
        self._state = (_Trust.SURE, _NO_STYLE)
        self._device = Device.of(page, size)
        self._read(page, text.raw, objects)

    def _read(self, page: pdfium.PdfPage, text: Any, objects: PageObjects) -> None:
        styles: dict[int, _Style] = {0: _NO_STYLE}
        visible, loose = raw.FS_RECTF(), raw.FS_RECTF()
        raw.FPDF_GetPageBoundingBox(page, visible)
        left, bottom, right, top = visible.left, visible.bottom, visible.right, visible.top
        for i in range(raw.FPDFText_CountChars(text)):
            code = raw.FPDFText_GetUnicode(text, i)
            character = chr(code) if code <= 0x10FFFF and not 0xD800 <= code < 0xE000 else "�"
            if character.isspace():
                self._end(character in "\r\n")
                continue
            key = address(raw.FPDFText_GetTextObject(text, i))
            style = styles.get(key)
            if style is None:
                style = styles[key] = _style(key, text, i, self._device, objects)
            self._shown[style.font] += 1
            # Tesseract's layers map all codes with one range, which pdfium takes to end at 255; the
            # letters beyond are right, and what OCR wrote will be compared with OCR anyway.
            unmapped = (
                style.trust is not _Trust.DOUBTFUL and raw.FPDFText_HasUnicodeMapError(text, i) == 1
            )
            if unmapped or _is_broken(character, code):
                self._broken[style.font] += 1
            trust = style.trust
            place = None
            if raw.FPDFText_GetLooseCharBox(text, i, loose):
                place = (loose.left, loose.bottom, loose.right, loose.top)
                x, y = place[0] + place[2], place[1] + place[3]  # twice the middle
                if not (2 * left <= x <= 2 * right and 2 * bottom <= y <= 2 * top):
                    trust = _Trust.OUTSIDE
            if self._letters and (trust, style.turn) != (self._state[0], self._state[1].turn):
                self._end(line=False)
            if not self._letters:
                self._state = (trust, style)
            if place is not None:
                self._places.append(place)
            if character == _HYPHEN:  # what follows is in the next line, and no line end between
                self._letters.append("-")
                self._end(line=True)
            elif character != "\0":
                self._letters.append(character)
        self._end(line=True)

    def font_trust(self) -> dict[int, _Trust]:
        """Return the fonts that cannot be trusted. Where one writes no language, those with too
        little text to be judged are doubted with it."""
        texts: defaultdict[int, list[str]] = defaultdict(list)
        for one in self.words:
            if one.trust is not _Trust.OUTSIDE:
                texts[one.style.font].append(one.word.text)
        trust = {
            font: _Trust.BROKEN
            for font, broken in self._broken.items()
            if broken > _BROKEN_SHARE * self._shown[font]
            and any(len(word) > 1 for word in texts[font])  # else it is one of bullets and ticks
        }
        judged = {font: is_no_language(own) for font, own in texts.items() if font not in trust}
        if any(judged.values()):
            trust |= {font: _Trust.DOUBTFUL for font, bad in judged.items() if bad is not False}
        return trust

    def _end(self, line: bool) -> None:
        """End the word, and the line."""
        if self._letters and self._places:
            trust, style = self._state
            lefts, bottoms, rights, tops = zip(*self._places, strict=True)
            box = self._device.box(min(lefts), min(bottoms), max(rights), max(tops))
            if trust is _Trust.SURE and min(box[2] - box[0], box[3] - box[1]) < _SMALLEST:
                trust = _Trust.SUSPECT
            word = PlacedWord("".join(self._letters), *box)
            self.words.append(_LayerWord(word, trust, style))
        self._letters, self._places = [], []
        if line and self.words:
            self.words[-1].ends_line = True


def _is_broken(character: str, code: int) -> bool:
    """Return True if a glyph has no character that means anything."""
    control = code < 32 and character != _HYPHEN
    return character == "�" or control or 0xE000 <= code <= 0xF8FF or code in (0xFFFE, 0xFFFF)


_NO_STYLE = _Style(_Trust.SURE, 0, 0)


def _style(key: int, text: Any, i: int, device: Device, objects: PageObjects) -> _Style:
    item = raw.FPDFText_GetTextObject(text, i)
    mode = raw.FPDFTextObj_GetTextRenderMode(item)
    red, green, blue, opacity = fill_colour(item)
    bounds = bounds_of(item)
    trust = _Trust.SURE
    if mode == _INVISIBLE:
        trust = _Trust.DOUBTFUL
    elif bounds is not None and objects.is_covered(key, bounds, by_picture=True):
        trust = _Trust.DOUBTFUL  # a scan over its text: the text is an OCR layer, too
    elif (
        mode == _CLIP_ONLY
        or min(red, green, blue) > _LIGHT
        or opacity < _FAINT_OPACITY
        or bounds is None
        or is_clipped(item, bounds)
        or objects.is_covered(key, bounds, by_picture=False)
    ):
        trust = _Trust.SUSPECT
    font = address(raw.FPDFTextObj_GetFont(item))
    return _Style(trust, font, _turn(text, i, device))


def _turn(text: Any, i: int, device: Device) -> int:
    matrix = raw.FS_MATRIX()
    return device.turn(matrix.a, matrix.b) if raw.FPDFText_GetMatrix(text, i, matrix) else 0


def _seen(
    words: Sequence[_LayerWord], drawn: NDArray[np.uint8], size: tuple[int, int]
) -> list[bool]:
    """Return for each word whether the drawn page has ink, or anything else but paper, there."""
    tall, wide = drawn.shape[0] / size[1], drawn.shape[1] / size[0]
    seen = []
    for one in words:
        word = one.word
        # Without the margins, where a table's lines and the neighbours are.
        margin = 0.2 * min(word.x1 - word.x0, word.y1 - word.y0)
        rows = slice(
            max(0, int((word.y0 + margin) * tall)), max(1, math.ceil((word.y1 - margin) * tall))
        )
        columns = slice(
            max(0, int((word.x0 + margin) * wide)), max(1, math.ceil((word.x1 - margin) * wide))
        )
        part = drawn[rows, columns]
        seen.append(part.size > 0 and int(part.max()) - int(part.min()) >= _CONTRAST)
    return seen


def _strips(words: Sequence[_LayerWord], size: tuple[int, int]) -> Iterator[Strip]:
    line: list[_LayerWord] = []
    for one in words:
        if line and (line[-1].ends_line or line[-1].style.turn != one.style.turn):
            yield from _cells(line, size)
            line = []
        line.append(one)
    if line:
        yield from _cells(line, size)


def _cells(line: Sequence[_LayerWord], size: tuple[int, int]) -> Iterator[Strip]:
    """Split a line where it has gaps between cells or columns."""
    turn = line[0].style.turn
    words = [one.word for one in line]
    boxes = [turned_box((w.x0, w.y0, w.x1, w.y1), size, turn) for w in words]
    gaps = [right[0] - left[2] for left, right in pairwise(boxes)]
    height = median(box[3] - box[1] for box in boxes)
    if len(gaps) < _FEW_GAPS:
        limit = _FEW_GAPS_GAP * height
    else:
        limit = max(_LEAST_GAP * height, _WIDER * median(gaps))
    limit = min(limit, _CELL_GAP * height)
    start = 0
    for number, gap in enumerate(gaps, start=1):
        if gap > limit or boxes[number][0] < boxes[number - 1][0] - height:
            yield strip_of(words[start:number], turn, size)
            start = number
    yield strip_of(words[start:], turn, size)
