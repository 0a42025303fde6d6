"""Laying out: pieces of text to lines, as a browser shows them in a terminal."""

from __future__ import annotations

import re
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
    """What a reader sees of a document, and the sections that its markup states."""

    text: str
    sections: tuple[Section, ...] = ()


def joined(parts: Sequence[Visible]) -> Visible:
    """The parts with a blank line between them."""
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
    return Visible("\n\n".join(part.text for part in parts), tuple(sections))


class Lines:
    """Text in lines. White space in a line is one space each; blank lines are left out."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._sections: list[tuple[int, int, str | None]] = []

    def add(self, text: str, preformatted: bool = False) -> None:
        """Text within a line; with ``preformatted`` its own line breaks are kept."""
        if not preformatted:
            self._line.append(text)
            return
        for number, line in enumerate(text.splitlines() or [""]):
            if number:
                self.end_line()
            self._line.append(line)

    def end_line(self) -> None:
        """What follows begins a line."""
        cells = "".join(self._line).split("\x00")
        cells = [_SPACE.sub(" ", cell).strip() for cell in cells]
        line = "\t".join(cell for cell in cells if cell)
        if line:
            self._lines.append(line)
        self._line = []

    def end_cell(self) -> None:
        """What follows is another cell of the same row."""
        self._line.append("\x00")

    def next_line(self) -> int:
        """The number of the line that begins here."""
        self.end_line()
        return len(self._lines)

    def add_section(self, heading: int, body: int, loinc: str | None) -> None:
        """A section whose heading is the lines [heading, body); it ends where the next begins."""
        self._sections.append((heading, body, loinc))

    def visible(self) -> Visible:
        """All lines, and the sections among them."""
        self.end_line()
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
