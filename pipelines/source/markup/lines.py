"""Laying out: pieces of text to lines, as a browser shows them in a terminal."""

from __future__ import annotations

import re

MOST_DEPTH = 1_000
_SPACE = re.compile(r"[ \t\r\n\f\v\u00a0]+")


class BadMarkupError(ValueError):
    """Markup that cannot be read; the message quotes nothing of it."""


class Lines:
    """Text in lines. White space in a line is one space each; blank lines are left out."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []

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

    def text(self) -> str:
        """All lines."""
        self.end_line()
        return "\n".join(self._lines)
