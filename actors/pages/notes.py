"""Notes about a page, such as text left out, and their wording in a step's problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum


class Note(StrEnum):
    """Something that was left out of a page, or read in another way than usual. The value is its
    sentence; ``{n}`` stands for how many."""

    UNSEEN = "{n} words of the text layer left out: they cannot be seen on the page"
    OUTSIDE = "{n} words of the text layer left out: they lie outside the visible page"
    UNREADABLE = "{n} words of the text layer are not what the page shows and were left to OCR"
    UNJUDGED = (
        "{n} words of a hidden text layer were kept although OCR cannot judge them: the recogniser "
        "lacks their letters or is not sure what it reads; see language and recognizer of the OCR "
        "model file"
    )
    PICTURES = "{n} lines that the text layer does not have were read by OCR"
    STRUCK_OUT = "{n} words are struck out by an annotation"


def page_problems(pages: Sequence[Mapping[Note, int]]) -> tuple[str, ...]:
    """Return a sentence for every kind of note, with the pages (from 1) that have it and the sum of
    its counts: "pages 1, 3-5: 12 words of the text layer left out: ..."."""
    problems = []
    for note in Note:
        numbers = [number for number, notes in enumerate(pages, start=1) if notes.get(note)]
        if numbers:
            count = sum(pages[number - 1][note] for number in numbers)
            word = "page" if len(numbers) == 1 else "pages"
            problems.append(f"{word} {_ranges(numbers)}: {note.value.format(n=count)}")
    return tuple(problems)


def _ranges(numbers: Sequence[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
