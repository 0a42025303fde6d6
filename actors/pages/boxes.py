"""Map entities to page positions: the words they cover, with one box per line."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace

from actors.pages.page import OcrResult, Word
from actors.spans import Box, Entity, FormField

_LEVEL = 0.5  # overlap, relative to the lower word's height, from which two words share a line


def place(
    entities: Iterable[Entity], reading: OcrResult, fields: Sequence[FormField] = ()
) -> list[Entity]:
    """Return the entities with their boxes and the minimum confidence of the words they cover.

    An entity in the value of one of ``fields``, in the order of the text, has the field's name as
    attribute ``field``. An ungrounded entity has no place in the text, so it gets no boxes.
    """
    field_starts = [field.start for field in fields]
    starts = [word.start for word in reading.words]
    ends = [word.end for word in reading.words]
    page_turns = [page.turn for page in reading.pages]
    turns = [(page_turns[word.box.page] + word.turn) % 360 for word in reading.words]
    placed = []
    for entity in entities:
        if entity.start is None or entity.end is None:
            placed.append(entity)
            continue
        first, last = bisect_right(ends, entity.start), bisect_left(starts, entity.end)
        words = reading.words[first:last]
        at = bisect_right(field_starts, entity.start) - 1
        attributes = entity.attributes
        if at >= 0 and entity.end <= fields[at].end:
            attributes = {**attributes, "field": fields[at].name}
        known = [word.confidence for word in words if word.confidence is not None]
        placed.append(
            replace(
                entity,
                attributes=attributes,
                boxes=_boxes(words, entity.start, entity.end, turns[first:last]),
                ocr_confidence=min(known, default=None),
            )
        )
    return placed


def _boxes(words: Sequence[Word], start: int, end: int, turns: Sequence[int]) -> tuple[Box, ...]:
    boxes: list[Box] = []
    last: Box | None = None
    for word, turn in zip(words, turns, strict=True):
        part = _part(word, start, end, turn)
        if last is not None and _continues_line(last, part, turn):
            boxes[-1] = _union(boxes[-1], part)
        else:
            boxes.append(part)
        last = part
    return tuple(boxes)


def _part(word: Word, start: int, end: int, turn: int) -> Box:
    """Return the part of a word's box that a span covers: for "120mg", the number alone."""
    box = word.box
    low = max(start - word.start, 0) / (word.end - word.start)
    high = min(end - word.start, word.end - word.start) / (word.end - word.start)
    if turn in (180, 90):  # the text runs to the left, or upwards
        low, high = 1 - high, 1 - low
    width, height = box.x1 - box.x0, box.y1 - box.y0
    if turn in (90, 270):
        return Box(box.page, box.x0, box.y0 + low * height, box.x1, box.y0 + high * height)
    return Box(box.page, box.x0 + low * width, box.y0, box.x0 + high * width, box.y1)


def _continues_line(left: Box, right: Box, turn: int) -> bool:
    """Return True if a word continues the line of the previous one, when read upright."""
    if left.page != right.page:
        return False
    if turn in (90, 270):
        shared = min(left.x1, right.x1) - max(left.x0, right.x0)
        lower = min(left.x1 - left.x0, right.x1 - right.x0)
        forward = right.y0 >= left.y0
    else:
        shared = min(left.y1, right.y1) - max(left.y0, right.y0)
        lower = min(left.y1 - left.y0, right.y1 - right.y0)
        forward = right.x0 >= left.x0
    return shared > _LEVEL * lower and forward == (turn in (0, 270))


def _union(a: Box, b: Box) -> Box:
    return Box(a.page, min(a.x0, b.x0), min(a.y0, b.y0), max(a.x1, b.x1), max(a.y1, b.y1))
