"""The places on a page that de-identification covers, and what is printed there."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from actors.config.deidentify import Category, ReplacementPolicy
from actors.deidentify.offset_map import Edit, OffsetMap
from actors.deidentify.page_marks import TakenMark
from actors.pages import OcrResult, place
from actors.spans import Box, spanning

_READABLE = frozenset(
    {ReplacementPolicy.SURROGATE, ReplacementPolicy.SHIFT, ReplacementPolicy.GENERALISE}
)
_MARGIN = 0.15  # of a box's height, on every side: boxes of OCR cut ascenders and accents
_LEAST_MARGIN = 2  # pixels
_HIGH, _WIDE = 0.8, 0.95  # of the box, for a line of text
_SMALLEST_FONT = 6  # pixels; smaller letters are not read


@dataclass(frozen=True, slots=True)
class Patch:
    """Words that edits touch, whole: where their letters end is a guess. Or a mark.

    ``boxes``: one a line. ``old``: the words; ``new``: what stands for them in the new text. Both
    are empty of a mark, the words in which are patches of their own.
    ``readable``: every edit in them left words that are worth printing, no mask or hash. ``turn``:
    the page is to be turned clockwise by so many degrees for the words to be upright.
    """

    boxes: tuple[Box, ...]
    old: str
    new: str
    category: Category
    policy: ReplacementPolicy
    readable: bool
    turn: int = 0


def patches_of(
    reading: OcrResult, new_text: str, offsets: OffsetMap, marks: Sequence[TakenMark] = ()
) -> list[Patch]:
    """The patches of a page's text and its edits, in the text's order, then those of its marks.
    Edits that share a word share a patch."""
    starts = [word.start for word in reading.words]
    ends = [word.end for word in reading.words]
    groups: list[tuple[int, int, list[Edit]]] = []
    for edit in offsets.edits:
        first, after = bisect_right(ends, edit.start), bisect_left(starts, edit.end)
        if first >= after:
            continue
        if groups and first < groups[-1][1]:
            begin, end, edits = groups[-1]
            groups[-1] = (begin, max(end, after), [*edits, edit])
        else:
            groups.append((first, after, [edit]))
    return [
        *(_patch(reading, new_text, offsets, *group) for group in groups),
        *(
            Patch((mark.box,), "", "", mark.category, ReplacementPolicy.MASK, readable=False)
            for mark in marks
        ),
    ]


def _patch(
    reading: OcrResult, new_text: str, offsets: OffsetMap, first: int, after: int, edits: list[Edit]
) -> Patch:
    words = reading.words[first:after]
    start, end = words[0].start, words[-1].end
    (placed,) = place([spanning(reading.text, start, end, edits[0].category)], reading)
    begin, finish = offsets.to_new(start, end)
    return Patch(
        placed.boxes,
        reading.text[start:end],
        new_text[begin:finish],
        edits[0].category,
        edits[0].policy,
        all(edit.policy in _READABLE for edit in edits),
        (reading.pages[words[0].box.page].turn + words[0].turn) % 360,
    )


def grown(box: Box) -> Box:
    """The box with a margin around it."""
    margin = max(_LEAST_MARGIN, _MARGIN * min(box.y1 - box.y0, box.x1 - box.x0))
    return Box(box.page, box.x0 - margin, box.y0 - margin, box.x1 + margin, box.y1 + margin)


def cover(image: Image.Image, page: int, patch: Patch, printed: bool) -> None:
    """Cover the words of a patch that stand on this page with black.

    ``printed``: the new words are black on white in the patch's first box, if they are readable,
    the font has their letters, and they fit in letters that can be read.
    """
    for at, box in enumerate(patch.boxes):
        if box.page != page:
            continue
        x0, y0, x1, y1 = _pixels(grown(box))
        # Pillow's rectangle includes its last pixel; a pixel that the box touches is covered.
        ImageDraw.Draw(image).rectangle((x0, y0, x1, y1), fill="black")
        if at == 0 and printed and patch.readable:
            label = _label(patch.new, x1 + 1 - x0, y1 + 1 - y0, patch.turn)
            if label is not None:
                image.paste(label, (x0, y0))


def _pixels(box: Box) -> tuple[int, int, int, int]:
    return int(max(box.x0, 0)), int(max(box.y0, 0)), int(box.x1), int(box.y1)


def _label(words: str, width: int, height: int, turn: int) -> Image.Image | None:
    """Black words on white of this size in pixels; None if they would be too small or if the font
    lacks a letter."""
    line = " ".join(words.split())
    if not line or not all(map(_has_glyph, line)):
        return None
    sideways = turn in (90, 270)
    long, high = (height, width) if sideways else (width, height)
    size = _HIGH * high
    size *= min(1.0, _WIDE * long / max(_font(size).getlength(line), 1.0))
    if size < _SMALLEST_FONT:
        return None
    label = Image.new("RGB", (long, high), "white")
    draw = ImageDraw.Draw(label)
    draw.text((long / 2, high / 2), line, fill="black", font=_font(size), anchor="mm")
    return label.rotate(turn, expand=True)  # counter-clockwise, as the words stand on the page


@lru_cache(maxsize=64)
def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(round(size, 1))
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow's wheels have FreeType
    return font


@lru_cache(maxsize=1024)
def _has_glyph(character: str) -> bool:
    if character.isspace():
        return True
    missing = _font(16.0).getmask("\U0010ffff")
    shown = _font(16.0).getmask(character)
    return (shown.size, bytes(shown)) != (missing.size, bytes(missing))
