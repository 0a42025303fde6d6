"""Filled fields of forms: the label and the value, from where words stand and from the file.

A label begins a cell, or follows a wide gap, and ends with a colon. Its value is the rest of the
cell, the next cell, or, in a row of labels alone, the cell below. A form field of a PDF is taken as
it is and only given the label that stands before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from statistics import median

from actors.pages.page import OcrResult
from actors.pages.upright import UprightLine, UprightSpan, joined, upright_lines
from actors.spans import FormField

_WIDE = 0.8  # heights of a line: a gap that begins a new part of it
_USUAL_GAPS = 1.6  # a gap this many times as wide as the usual ones precedes a label
_CLOSE = 0.8  # heights of a line: a gap between lines of the same text
_BELOW = 1.5  # heights of a line: the farthest that a value is below its label
_MARGIN = 0.9  # of the lines' common width: prose that goes on in the next line reaches so far
_MOST_WORDS = 5
_LABEL_WORD = re.compile(r"[^\W\d_][\w.'’()/#&°-]*", re.UNICODE)
_BLANK = re.compile(r"[\W_]*")  # what a form prints where a value is to be written
_BOX = re.compile("[☐☑☒✓✔✗✘]")


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a line: the words of a label, none if it has none, and those that follow it."""

    label: tuple[UprightSpan, ...]
    value: tuple[UprightSpan, ...]


def find_fields(result: OcrResult) -> tuple[FormField, ...]:
    """Return the filled fields of the pages, in the order of the text."""
    text = result.text
    pairs = [(page, *pair) for page, lines in upright_lines(result) for pair in _pairs(text, lines)]
    found = []
    for page, own in _of_file(result):
        label = next((lb for _, lb, value in pairs if value.start <= own.start < value.end), None)
        if label is None:
            start, end = _named_beside(text, own)
        else:
            start, end = label.start, _label_end(text, label)
        found.append(FormField(page, own.field or "", start, end, own.start, own.end))
    starts = [one.start for one in found]
    for page, label, value in pairs:
        if not any(value.start <= start < value.end for start in starts):
            end = _label_end(text, label)
            name = text[label.start : end]
            found.append(FormField(page, name, label.start, end, value.start, value.end))
    return tuple(sorted(found, key=lambda one: (one.start, one.end)))


def _named_beside(text: str, value: UprightSpan) -> tuple[int, int] | tuple[None, None]:
    """Return where the name of a field stands, right before its value or after it."""
    name = value.field or ""
    before = len(text[: value.start].rstrip(": \t\n"))
    after = value.end + len(text[value.end :]) - len(text[value.end :].lstrip())
    for start in (before - len(name), after):
        if name and start >= 0 and text.startswith(name, start):
            return start, start + len(name)
    return None, None


def _of_file(result: OcrResult) -> Iterator[tuple[int, UprightSpan]]:
    """Yield the values that a PDF has for its form fields; an unmarked line ends none."""
    for page, lines in upright_lines(result):
        words = [word for line in lines for cell in line for word in cell]
        for name, group in groupby(words, lambda word: word.field):
            if name is not None:
                yield page, joined(list(group))


def _pairs(text: str, lines: Sequence[UprightLine]) -> Iterator[tuple[UprightSpan, UprightSpan]]:
    """Yield labels and their values."""
    if not lines:
        return
    right = max(line[-1][-1].high for line in lines)
    parts = [list(_parts(text, line)) for line in lines]
    for at, line in enumerate(parts):
        below = parts[at + 1] if at + 1 < len(parts) else []
        if len(line) > 1 and all(part.label and not part.value for part in line):
            yield from _pairs_below(line, below)
            continue
        for number, part in enumerate(line):
            value = part.value
            following = line[number + 1] if number + 1 < len(line) else None
            if part.label and not value and following is not None and not following.label:
                value = following.value
            if not part.label or not value:
                continue
            last = number + 1 == len(line) or (value is not part.value and number + 2 == len(line))
            if last and _is_prose(part.label, value, below, right):
                continue
            if last:
                value = (*value, *_continued(part.label, value, parts[at + 1 :]))
            yield joined(part.label), joined(value)


def _pairs_below(
    labels: Sequence[_Part], below: Sequence[_Part]
) -> Iterator[tuple[UprightSpan, UprightSpan]]:
    """Yield the labels of a row without values, each with what stands below it. What stands below
    several belongs to the one that it shares most of its width with."""
    left = [joined(part.label) for part in labels]
    empty = False  # a label without a value: what follows it in its own line is its value
    for other in below:
        taken, empty = empty, bool(other.label and not other.value)
        if other.label or not other.value or taken:
            continue
        value = joined(other.value)
        above = [
            label
            for label in left
            if min(value.high, label.high) > max(value.low, label.low)
            and value.top - label.bottom < _BELOW * (label.bottom - label.top)
        ]
        if above:
            label = max(above, key=lambda one: min(value.high, one.high) - max(value.low, one.low))
            left.remove(label)
            yield label, value


def _parts(text: str, line: UprightLine) -> Iterator[_Part]:
    """Yield the parts of a line: where a cell, a wide gap or another label begins."""
    for cell in line:
        cuts = [0]
        usual = median(b.low - a.high for a, b in pairwise(cell)) if len(cell) > 1 else 0.0
        for i, (left, right) in enumerate(pairwise(cell), start=1):
            height = min(left.bottom - left.top, right.bottom - right.top)
            if right.low - left.high > max(_WIDE * height, _USUAL_GAPS * usual):
                cuts.append(i)
        for start, end in pairwise([*cuts, len(cell)]):
            yield from _split(text, cell[start:end], usual)


def _split(text: str, words: tuple[UprightSpan, ...], usual: float) -> Iterator[_Part]:
    count = _label_length(text, words)
    if not count:
        if words := _value(text, words):
            yield _Part((), words)
        return
    for end in range(count + 1, len(words)):
        if text[words[end].start : words[end].end].endswith(":"):
            start = _inner_label(text, words, count, end, usual)
            if start is not None:
                yield _Part(words[:count], _value(text, words[count:start]))
                yield from _split(text, words[start:], usual)
                return
    yield _Part(words[:count], _value(text, words[count:]))


def _label_length(text: str, words: Sequence[UprightSpan]) -> int:
    """Return how many words at the beginning are a label with its colon; 0 if they are none."""
    for count, word in enumerate(words[:_MOST_WORDS], start=1):
        written = text[word.start : word.end]
        if written == ":" and count > 1:
            return count
        if written.endswith(":") and _LABEL_WORD.fullmatch(written[:-1]):
            return count
        if word.field is not None or not _LABEL_WORD.fullmatch(written):
            return 0
    return 0


def _inner_label(
    text: str, words: Sequence[UprightSpan], least: int, end: int, usual: float
) -> int | None:
    """Return where the label begins that ends with word ``end``: after a gap wider than usual, or
    else at its last capital letter. None if it is no label."""
    first = max(least, end + 1 - _MOST_WORDS)
    starts = [i for i in range(first, end + 1) if _label_length(text, words[i : end + 1])]
    if not starts:
        return None
    widest = max(starts, key=lambda i: words[i].low - words[i - 1].high)
    if words[widest].low - words[widest - 1].high > _USUAL_GAPS * usual:
        return widest
    return next((i for i in reversed(starts) if text[words[i].start].isupper()), None)


def _value(text: str, words: tuple[UprightSpan, ...]) -> tuple[UprightSpan, ...]:
    """Return the words of a value without the lines or dots that it is written on."""
    kept = [i for i, w in enumerate(words) if w.field or not _is_blank(text, w)]
    return words[kept[0] : kept[-1] + 1] if kept else ()


def _is_blank(text: str, word: UprightSpan) -> bool:
    written = text[word.start : word.end]
    return not _BOX.search(written) and _BLANK.fullmatch(written) is not None


def _is_prose(
    label: Sequence[UprightSpan],
    value: Sequence[UprightSpan],
    below: Sequence[_Part],
    right: float,
) -> bool:
    """Return True for a heading in front of a paragraph: its line is full, and the next one begins
    at the margin."""
    if not below or below[0].label:
        return False
    first, last, start = (below[0].value)[0], value[-1], label[0]
    height = last.bottom - last.top
    return (
        last.high - start.low > _MARGIN * (right - start.low)
        and abs(first.low - start.low) < height
        and first.top - last.bottom < _CLOSE * height
    )


def _continued(
    label: Sequence[UprightSpan], value: Sequence[UprightSpan], lines: Sequence[Sequence[_Part]]
) -> Iterator[UprightSpan]:
    """Yield the words of the following lines that stand below a value, right of its label."""
    last = value[-1]
    for line in lines:
        if len(line) != 1 or line[0].label:
            return
        words = line[0].value
        height = last.bottom - last.top
        if words[0].low < label[-1].high or words[0].top - last.bottom > _CLOSE * height:
            return
        if words[0].low > max(word.high for word in value):
            return
        yield from words
        last = words[-1]


def _label_end(text: str, label: UprightSpan) -> int:
    """Return the end of a label without its colon."""
    return label.start + len(text[label.start : label.end].rstrip(": "))
