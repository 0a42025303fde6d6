"""A second look at a covered page: what OCR reads of it, with the covered words filled in.

Beside a gap a title would look like a name ("Dr. ███ Hypertension"), so detectors read a text in
which every patch has words again: those printed on the page, or else those of the new text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from actors.deidentify.accent_folding import key_of
from actors.deidentify.offset_map import Edit, OffsetMap
from actors.deidentify.patches import Patch, grown
from actors.pages import OcrResult, Word
from actors.spans import Box

_WORD = re.compile(r"\w{2,}")
_LEVEL = 0.5  # overlap, relative to the lower box's height, from which two share a line


@dataclass(frozen=True, slots=True)
class PageAgain:
    """``text``: the page as a reader sees it, with the replacements; ``old``: the same with the
    real words in their place; ``offsets`` lead from ``old`` to ``text``."""

    old: str
    text: str
    offsets: OffsetMap


def page_again(reading: OcrResult, patches: Sequence[Patch], printed: bool) -> PageAgain:
    """Fill the patches into what OCR read of the covered page.

    ``printed``: surrogates are on the page. Words that OCR reads in a patch are then the surrogate,
    unless a word of the original is among them: such words stay outside of the edits, so that
    detectors take them for what they are. A patch without a word beside it on its line is left out:
    nothing can be mistaken next to it.
    """
    spans = []
    for patch in patches:
        if not patch.old:
            continue  # a mark
        for at, box in enumerate(patch.boxes):
            inside = [word for word in reading.words if grown(box).holds(word.box)]
            span = _extent(inside) if printed and patch.readable else None
            if span is None or _shows_old(reading.text[slice(*span)], patch):
                span = _beside(reading.words, inside, box)
            if span is not None:
                spans.append((*span, patch, at == 0))
    olds, news, edits = [], [], []
    at = old_length = new_length = 0
    for start, end, patch, first in sorted(spans, key=lambda span: span[:2]):
        if start < at:
            continue  # a word that lies in two patches
        between = reading.text[at:start]
        seen = reading.text[start:end]
        old, new = (patch.old, seen or patch.new) if first else ("", seen)
        # What is put in stays apart from the words beside it.
        pad = " " if start == end else ""
        old, new = f"{pad}{old}{pad}", f"{pad}{new}{pad}"
        olds += [between, old]
        news += [between, new]
        old_length, new_length = old_length + len(between), new_length + len(between)
        old_end, new_end = old_length + len(old), new_length + len(new)
        edits.append(Edit(old_length, old_end, new_length, new_end, patch.category, patch.policy))
        old_length, new_length, at = old_end, new_end, end
    rest = reading.text[at:]
    return PageAgain("".join([*olds, rest]), "".join([*news, rest]), OffsetMap(edits))


def _extent(words: Sequence[Word]) -> tuple[int, int] | None:
    if not words:
        return None
    return min(word.start for word in words), max(word.end for word in words)


def _shows_old(seen: str, patch: Patch) -> bool:
    """True if a word or number of the original is read, which the new words do not have."""
    old, new, read = (set(map(key_of, _WORD.findall(one))) for one in (patch.old, patch.new, seen))
    return bool((old - new) & read)


def _beside(words: Sequence[Word], inside: Sequence[Word], box: Box) -> tuple[int, int] | None:
    """The place in the text beside a box's neighbour on the line; None if it has none."""
    line = [word for word in words if word not in inside and _share_line(word.box, box)]
    left = [word for word in line if word.box.x1 <= (box.x0 + box.x1) / 2]
    if left:
        end = max(left, key=lambda word: word.box.x1).end
        return end, end
    if line:
        start = min(line, key=lambda word: word.box.x0).start
        return start, start
    return None


def _share_line(one: Box, other: Box) -> bool:
    shared = min(one.y1, other.y1) - max(one.y0, other.y0)
    lower = min(one.y1 - one.y0, other.y1 - other.y0)
    return one.page == other.page and shared >= _LEVEL * lower
