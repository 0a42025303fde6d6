"""Compare the words that a PDF has for a page with what OCR sees there, and join both."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from rapidfuzz.distance import Levenshtein

from actors.ocr.line_crops import LineCrop, source_box
from actors.ocr.recognized import RecognizedLine
from actors.pages import Coverage, Note, Page, PlacedWord, Strip, strip_of, union

_SAMPLE = 5  # lines of a doubtful layer that are read and compared
_ALIKE = 0.9  # least share of equal letters and digits in these
_KNOWN = 0.8  # OCR that is less sure than this cannot judge a layer: another script, say
_FOREIGN = 0.1  # share of unknown letters from which a line is in a language of another recogniser
_LEAST = 4  # letters and digits of a line that say something

Read = Callable[[Sequence[LineCrop]], list[RecognizedLine]]
CanWrite = Callable[[str], bool]
"""Returns True for a letter that the recogniser knows; it leaves out the others."""


class _Verdict(Enum):
    RIGHT = auto()
    WRONG = auto()
    UNJUDGED = auto()
    """OCR is not sure of what it sees, or knows too few of the layer's letters."""


@dataclass(frozen=True, slots=True)
class KnownWords:
    """The words of a page that OCR need not read, as strips, and where they are."""

    strips: tuple[Strip, ...]
    coverage: Coverage
    notes: dict[Note, int]


def known_words(
    page: Page,
    sure: Coverage,
    cuts: Sequence[LineCrop],
    turn: int,
    read: Read,
    can_write: CanWrite,
) -> KnownWords:
    """Return the words of a page that can be believed. ``sure``: where those are that need no OCR.
    ``cuts``: the lines that were detected on the page rotated by ``turn``. ``read`` recognises a
    sample of them if the layer is doubtful."""
    size, notes = (page.width, page.height), dict(page.notes)
    strips = page.strips
    doubtful = _shown(page.doubtful, cuts, size, turn)
    unseen = _count(page.doubtful) - _count(doubtful)
    if unseen:
        notes[Note.UNSEEN] = notes.get(Note.UNSEEN, 0) + unseen
    doubtful = [s for s in doubtful if not sure.has(union(_boxes(s.words)))]
    verdict = _judged(doubtful, cuts, size, turn, read, can_write)
    if doubtful and verdict is not _Verdict.WRONG:
        if verdict is _Verdict.UNJUDGED:
            notes[Note.UNJUDGED] = _count(doubtful)
        strips = (*strips, *doubtful)
        # Invisible words are seldom as wide as what they stand for: a line half covered is theirs.
        layer = Coverage(size, doubtful)
        lines = [
            box for box in (source_box(c.quad, size, turn) for c in cuts) if layer.has_half(box)
        ]
        return KnownWords(strips, Coverage(size, strips, (*page.covered, *lines)), notes)
    if doubtful:
        notes[Note.UNREADABLE] = notes.get(Note.UNREADABLE, 0) + _count(doubtful)
    return KnownWords(strips, sure, notes)


def _shown(
    strips: Sequence[Strip], cuts: Sequence[LineCrop], size: tuple[int, int], turn: int
) -> list[Strip]:
    """Return the words of strips that lie where the detector has found a line."""
    if not strips:
        return []
    ink = Coverage(size, (), [source_box(one.quad, size, turn) for one in cuts])
    found = (_kept(strip, ink.touches, size) for strip in strips)
    return [strip for strip in found if strip is not None]


def without_known(
    strips: Sequence[Strip], coverage: Coverage, size: tuple[int, int]
) -> list[Strip]:
    """Return the strips that OCR has read without the words that were known before."""
    found = (_kept(strip, lambda box: not coverage.has(box), size) for strip in strips)
    return [strip for strip in found if strip is not None]


def _kept(
    strip: Strip,
    wanted: Callable[[tuple[float, float, float, float]], bool],
    size: tuple[int, int],
) -> Strip | None:
    words = [w for w in strip.words if wanted((w.x0, w.y0, w.x1, w.y1))]
    if len(words) == len(strip.words):
        return strip
    if not words:
        return None
    made = strip_of(words, strip.turn, size)
    return replace(made, y0=strip.y0, y1=strip.y1)  # as level as the line that it was part of


def _judged(
    strips: Sequence[Strip],
    cuts: Sequence[LineCrop],
    size: tuple[int, int],
    turn: int,
    read: Read,
    can_write: CanWrite,
) -> _Verdict:
    """Compare lines of a layer with what OCR reads there."""
    words = [word for strip in strips for word in strip.words]
    lines = []
    for one in sorted(cuts, key=lambda one: -one.crop.shape[1]):
        own = _within(words, source_box(one.quad, size, turn))
        if len(_compared(own)) >= _LEAST:
            lines.append((one, own))
        if len(lines) == _SAMPLE:
            break
    if not lines:
        return _Verdict.WRONG
    wrong = total = 0
    for (_, own), found in zip(lines, read([one for one, _ in lines]), strict=True):
        if found.confidence >= _KNOWN:
            errors, letters = _differences(own, found.text, can_write)
            if letters >= _LEAST:
                wrong += errors
                total += letters
    if not total:
        return _Verdict.UNJUDGED
    return _Verdict.RIGHT if wrong <= (1 - _ALIKE) * total else _Verdict.WRONG


def _differences(own: str, seen: str, can_write: CanWrite) -> tuple[int, int]:
    """Return how many letters of a layer's line OCR has read otherwise, and of how many.

    Letters that the recogniser leaves out since it does not know them say nothing: it is as sure of
    "phi" as it would be of "phổi". Where it lacks many, it was not made for the language and leaves
    out others, too.
    """
    letters = [(one, _compared(one)) for one in unicodedata.normalize("NFC", own)]
    unknown = [not can_write(one) for one, compared in letters for _ in compared]
    layer, read = "".join(compared for _, compared in letters), _compared(seen)
    edits = Levenshtein.editops(layer, read)
    foreign = sum(unknown) > _FOREIGN * len(layer)
    excused = sum(edit.tag == "delete" and (foreign or unknown[edit.src_pos]) for edit in edits)
    return len(edits) - excused, max(len(layer) - excused, len(read))


def _compared(text: str) -> str:
    """Return what of a text is compared: letters without marks, and digits."""
    return "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if c.isalnum())


def _within(words: Sequence[PlacedWord], box: tuple[float, float, float, float]) -> str:
    """Return the words centred in a rectangle, in their order."""
    x0, y0, x1, y1 = box
    return " ".join(
        word.text
        for word in words
        if x0 <= (word.x0 + word.x1) / 2 <= x1 and y0 <= (word.y0 + word.y1) / 2 <= y1
    )


def _boxes(words: Sequence[PlacedWord]) -> list[tuple[float, float, float, float]]:
    return [(word.x0, word.y0, word.x1, word.y1) for word in words]


def _count(strips: Sequence[Strip]) -> int:
    return sum(len(strip.words) for strip in strips)
