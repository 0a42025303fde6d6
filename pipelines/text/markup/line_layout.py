"""Laying out: pieces of text to lines, as a browser shows them in a terminal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from actors.spans import Section

OTHER = "other"
"""The name of a section until the context stage gives it one, by its LOINC code or its title."""
MOST_DEPTH = 1_000
_SPACE = re.compile(r"[ \t\r\n\f\v\u00a0]+")


@dataclass(frozen=True, slots=True)
class Visible:
    """The visible text of a document, the sections that its markup states, and the parts of it that
    the text lacks (``problems``)."""

    text: str
    sections: tuple[Section, ...] = ()
    problems: tuple[str, ...] = ()


def joined(parts: Sequence[Visible], problems: Sequence[str] = ()) -> Visible:
    """The parts with a blank line between them; ``problems``: those beside theirs."""
    starts = accumulate((len(part.text) + 2 for part in parts), initial=0)
    sections = [
        replace(
            section,
            start=section.start + at,
            end=section.end + at,
            heading_end=section.heading_end + at,
        )
        for part, at in zip(parts, starts, strict=False)
        for section in part.sections
    ]
    every = dict.fromkeys((*(one for part in parts for one in part.problems), *problems))
    return Visible("\n\n".join(part.text for part in parts), tuple(sections), tuple(every))


def left_out_words(what: str, counts: Counter[str]) -> tuple[str, ...]:
    """The problem that names what was left out, the most first; none where nothing was."""
    if not counts:
        return ()
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common())
    return (f"{what} left out: {kinds}",)


class Lines:
    """Text in lines. White space in a line is one space each; blank lines are left out.

    Lines within a cell break where its text goes on, but not where it begins or ends: cells of a
    row stay in a line, also where each holds a paragraph.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._sections: list[tuple[int, int, str | None]] = []
        self._cells: list[bool] = []  # of each cell around here, whether it has text
        self._breaks = False  # before the next text of this cell

    def add(self, text: str, preformatted: bool = False) -> None:
        """Text within a line; with ``preformatted`` its own line breaks are kept."""
        for number, line in enumerate(text.splitlines() or [""] if preformatted else [text]):
            if number:
                self.end_line()
            if self._cells and not line.isspace() and line:
                if self._breaks:
                    self._break_line()
                self._cells[-1] = True
            self._line.append(line)

    def end_line(self) -> None:
        """Begin a new line."""
        if self._cells:
            self._breaks = self._cells[-1]
        else:
            self._break_line()

    def _break_line(self) -> None:
        self._breaks = False
        cells = "".join(self._line).split("\x00")
        cells = [_SPACE.sub(" ", cell).strip() for cell in cells]
        line = "\t".join(cell for cell in cells if cell)
        if line:
            self._lines.append(line)
        self._line = []

    def begin_cell(self) -> None:
        """Begin a cell, until ``end_cell``."""
        self._cells.append(False)

    def end_cell(self) -> None:
        """End the cell; the next one is of the same row."""
        had_text = bool(self._cells) and self._cells.pop()
        if self._cells:
            self._cells[-1] |= had_text
        self._breaks = False
        self._line.append("\x00")

    def next_line(self) -> int:
        """The number of the line that begins here."""
        self._break_line()
        return len(self._lines)

    def add_section(self, heading: int, body: int, loinc: str | None) -> None:
        """Add a section that begins with the lines [heading, body) and ends at the next one."""
        self._sections.append((heading, body, loinc))

    def visible(self) -> Visible:
        """All lines, and the sections among them."""
        self._break_line()
        text = "\n".join(self._lines)
        starts = [*accumulate((len(line) + 1 for line in self._lines[:-1]), initial=0), len(text)]
        ends = [*(starts[heading] for heading, _, _ in self._sections), len(text)]
        sections = [
            Section(OTHER, start, end, start + len("\n".join(self._lines[heading:body])), loinc)
            for (heading, body, loinc), (start, end) in zip(
                self._sections, pairwise(ends), strict=True
            )
            if start < end
        ]
        return Visible(text, tuple(sections))
