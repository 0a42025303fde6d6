"""The text layer of a PDF page: its words, and what of it nobody sees or can read."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw
from numpy.typing import NDArray

from actors.pages.device import Device
from actors.pages.language import is_no_language
from actors.pages.notes import Note
from actors.pages.page import PlacedWord, Strip
from actors.pages.page_objects import PageObjects, address, bounds_of, fill_colour, is_clipped
from actors.pages.rectangles import Rectangle, strip_of, turned_box, union

_CELL_GAP = 1.2  # in line heights: a wider gap separates cells, not words
_BROKEN_SHARE = 0.1  # share of unmapped glyphs from which a font's text is no text
_LIGHT = 215  # of 255: a fill this light may be paper on paper
_FAINT_OPACITY = 40  # of 255
_CONTRAST = 14  # of 255: least difference of a word from its paper that can be seen
_SMALLEST = 1.5  # pixels: lower words are no text to anybody
_HYPHEN = "\x02"  # written by pdfium for the hyphen of a word that a line end breaks
_INVISIBLE, _CLIP_ONLY = 3, 7  # text rendering modes


class _Trust(IntEnum):
    """What a character of the layer is worth, from best to worst."""

    SURE = 0
    SUSPECT = 1
    """Seen or not seen, which only the rendered page can tell."""
    DOUBTFUL = 2
    """To be compared with OCR: invisible over a picture, or in a font that writes no language."""
    BROKEN = 3
    """In a font whose glyphs have no characters: only OCR can read them."""
    OUTSIDE = 4


@dataclass(frozen=True, slots=True)
class _Style:
    """What the characters of one text object share."""

    trust: _Trust
    font: int
    turn: int


@dataclass(frozen=True, slots=True)
class _Character:
    text: str
    box: Rectangle | None
    style: _Style
    broken: bool


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
    """Read the text layer of a page whose boxes are in pixels of ``size`` (width, height).
    ``render`` is called only if it takes pixels to tell whether a word can be seen."""
    text = page.get_textpage()
    try:
        characters = _characters(page, text, size, objects)
    finally:
        text.close()
    fonts = _font_trust(characters)
    words = list(_words(characters, fonts))
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


def _characters(
    page: pdfium.PdfPage, text: pdfium.PdfTextPage, size: tuple[int, int], objects: PageObjects
) -> list[_Character]:
    device = Device.of(page, size)
    styles: dict[int, _Style] = {}
    plain = _Style(_Trust.SURE, 0, 0)
    loose = raw.FS_RECTF()
    found = []
    for i in range(raw.FPDFText_CountChars(text)):
        code = raw.FPDFText_GetUnicode(text, i)
        character = chr(code) if code <= 0x10FFFF and not 0xD800 <= code < 0xE000 else "�"
        if character.isspace():
            found.append(_Character(character, None, plain, False))
            continue
        item = raw.FPDFText_GetTextObject(text, i)
        key = address(item)
        style = styles.get(key)
        if style is None:
            style = styles[key] = _style(item, key, text, i, device, objects) if key else plain
        box = None
        if raw.FPDFText_GetLooseCharBox(text, i, loose):
            box = device.box(loose.left, loose.bottom, loose.right, loose.top)
        if box is not None and not _inside(box, size):
            style = _Style(_Trust.OUTSIDE, style.font, style.turn)
        broken = character != _HYPHEN and (
            character == "�"
            or character < " "
            or 0xE000 <= code <= 0xF8FF
            or raw.FPDFText_HasUnicodeMapError(text, i) == 1
        )
        found.append(_Character(character, box, style, broken))
    return found


def _inside(box: Rectangle, size: tuple[int, int]) -> bool:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return 0 <= x <= size[0] and 0 <= y <= size[1]


def _style(
    item: Any, key: int, text: pdfium.PdfTextPage, i: int, device: Device, objects: PageObjects
) -> _Style:
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
    return _Style(trust, font, device.turn(raw.FPDFText_GetCharAngle(text, i)))


def _font_trust(characters: Sequence[_Character]) -> dict[int, _Trust]:
    """Return the fonts that cannot be trusted. Where one writes no language, fonts with too little
    text to be judged are doubted with it."""
    by_font: defaultdict[int, list[_Character]] = defaultdict(list)
    for one in characters:
        if one.box is not None and one.style.trust is not _Trust.OUTSIDE:
            by_font[one.style.font].append(one)
    trust: dict[int, _Trust] = {}
    for font, own in by_font.items():
        if sum(one.broken for one in own) > _BROKEN_SHARE * len(own):
            trust[font] = _Trust.BROKEN
        elif is_no_language("".join(one.text for one in own)):
            trust[font] = _Trust.DOUBTFUL
    return trust


@dataclass(frozen=True, slots=True)
class _LayerWord:
    word: PlacedWord
    trust: _Trust
    turn: int
    ends_line: bool


def _words(characters: Sequence[_Character], fonts: dict[int, _Trust]) -> Iterator[_LayerWord]:
    letters: list[_Character] = []
    for one in [*characters, _END]:
        trust = _trust(one, fonts)
        if one.text.isspace() or (letters and trust is not _trust(letters[0], fonts)):
            word = _word(letters, fonts, ends_line=one.text in "\r\n")
            letters = []
            if word is not None:
                yield word
        if not one.text.isspace():
            letters.append(one)


_END = _Character("\n", None, _Style(_Trust.SURE, 0, 0), False)


def _trust(one: _Character, fonts: dict[int, _Trust]) -> _Trust:
    return max(one.style.trust, fonts.get(one.style.font, _Trust.SURE))


def _word(
    letters: Sequence[_Character], fonts: dict[int, _Trust], ends_line: bool
) -> _LayerWord | None:
    places = [one.box for one in letters if one.box is not None]
    text = "".join("-" if one.text == _HYPHEN else one.text for one in letters)
    text = text.replace("\0", "")
    if not places or not text:
        return None
    trust, box = _trust(letters[0], fonts), union(places)
    if min(box[2] - box[0], box[3] - box[1]) < _SMALLEST:
        trust = _Trust.SUSPECT if trust is _Trust.SURE else trust
    return _LayerWord(PlacedWord(text, *box), trust, letters[0].style.turn, ends_line)


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
    run: list[PlacedWord] = []
    last: _LayerWord | None = None
    for one in words:
        if last is not None and (
            last.ends_line or last.turn != one.turn or _apart(last.word, one.word, one.turn, size)
        ):
            yield strip_of(run, last.turn, size)
            run = []
        run.append(one.word)
        last = one
    if last is not None:
        yield strip_of(run, last.turn, size)


def _apart(left: PlacedWord, right: PlacedWord, turn: int, size: tuple[int, int]) -> bool:
    ax0, ay0, ax1, ay1 = turned_box((left.x0, left.y0, left.x1, left.y1), size, turn)
    bx0, by0, _, by1 = turned_box((right.x0, right.y0, right.x1, right.y1), size, turn)
    height = max(ay1 - ay0, by1 - by0)
    return bx0 - ax1 > _CELL_GAP * height or bx0 < ax0 - height
