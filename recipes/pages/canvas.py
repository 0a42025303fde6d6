"""Paper: text is laid on it word by word, so that the place of every word and entity is known.

Text is marked up as in recipes/samples: ``[[Label|surface]]``. What is written first is read
first: the gold text follows the order of the calls.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

FONTS = {
    # Debian packages fonts-dejavu-core (Bitstream Vera licence), fonts-liberation (OFL 1.1),
    # fonts-dkg-handwriting (OFL 1.1) and fonts-breip (OFL 1.0). Only pictures of text ship.
    "sans": "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "sans-bold": "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf",
    "serif": "/usr/share/fonts/truetype/liberation/LiberationSerif-Regular.ttf",
    "serif-bold": "/usr/share/fonts/truetype/liberation/LiberationSerif-Bold.ttf",
    "mono": "/usr/share/fonts/truetype/liberation/LiberationMono-Regular.ttf",
    "hand": "/usr/share/fonts/truetype/fifthhorseman/dkg.ttf",
    "hand-two": "/usr/share/fonts/truetype/breip/Breip.ttf",
}
_MARK = re.compile(r"\[\[([A-Za-z]+)\|(.+?)\]\]", re.DOTALL)
Corners = NDArray[np.float64]


@dataclass
class Word:
    """A word of the gold text and the corners of its place, as they are after all effects."""

    start: int
    end: int
    corners: Corners
    line: int
    baseline: float = 0.0


@dataclass
class Entity:
    """A gold entity: offsets into the gold text."""

    start: int
    end: int
    label: str


@dataclass
class Paper:
    """A page that is written on."""

    width: int = 1000
    height: int = 1414
    text: str = ""
    words: list[Word] = field(default_factory=list)
    entities: list[Entity] = field(default_factory=list)
    lines: int = 0

    def __post_init__(self) -> None:
        self.image = Image.new("RGB", (self.width, self.height), "white")
        self.draw = ImageDraw.Draw(self.image)

    def block(
        self,
        x: float,
        y: float,
        markup: str,
        font: str = "serif",
        size: int = 22,
        width: float | None = None,
        leading: float = 1.35,
        joined: bool = False,
        ink: str = "#202020",
    ) -> float:
        """Write a paragraph, wrapped to a width; where its last line ends below. ``joined``: it
        goes on with the paragraph before, without a blank line between them."""
        face = ImageFont.truetype(FONTS[font], size)
        plain, labels = _plain(markup)
        self._separate("\n" if joined else "\n\n")
        base = len(self.text)
        for number, line in enumerate(_wrapped(plain, face, width)):
            if number:
                self.text += "\n"
            self._line(x, y, plain[line[0] : line[1]], face, ink)
            y += size * leading
        self._mark(base, labels)
        return y

    def row(
        self,
        y: float,
        cells: Sequence[tuple[float, str]],
        font: str | Sequence[str] = "sans",
        size: int = 20,
        joined: bool = True,
        ink: str = "#202020",
    ) -> None:
        """Write cells that stand level, each from its x on."""
        self._separate("\n" if joined else "\n\n")
        line = self.lines
        for number, (x, markup) in enumerate(cells):
            if number:
                self.text += "\t"
            plain, labels = _plain(markup)
            base = len(self.text)
            name = font if isinstance(font, str) else font[number]
            self._line(x, y, plain, ImageFont.truetype(FONTS[name], size), ink)
            self._mark(base, labels)
        for word in self.words:
            word.line = min(word.line, line)

    def rule(self, x0: float, y0: float, x1: float, y1: float, weight: int = 2) -> None:
        """Draw a line."""
        self.draw.line((x0, y0, x1, y1), fill="#303030", width=weight)

    def _separate(self, by: str) -> None:
        if self.text:
            self.text += by

    def _line(self, x: float, y: float, text: str, face: ImageFont.FreeTypeFont, ink: str) -> None:
        ascent = face.getmetrics()[0]
        for match in re.finditer(r"\S+", text):
            left = x + face.getlength(text[: match.start()])
            self.draw.text((left, y), match[0], font=face, fill=ink)
            x0, y0, x1, y1 = face.getbbox(match[0])
            corners = np.array(
                [[left + a, y + b] for a, b in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
            )
            start = len(self.text) + match.start()
            self.words.append(Word(start, start + len(match[0]), corners, self.lines, y + ascent))
        self.text += text
        self.lines += 1

    def _mark(self, base: int, labels: list[tuple[int, int, str]]) -> None:
        self.entities += [Entity(base + a, base + b, label) for a, b, label in labels]


def _plain(markup: str) -> tuple[str, list[tuple[int, int, str]]]:
    text, labels, done = "", [], 0
    for match in _MARK.finditer(markup):
        text += markup[done : match.start()]
        labels.append((len(text), len(text) + len(match[2]), match[1]))
        text += match[2]
        done = match.end()
    return text + markup[done:], labels


def _wrapped(text: str, face: ImageFont.FreeTypeFont, width: float | None) -> list[tuple[int, int]]:
    """Spans of the lines. A space at which a line is broken becomes its newline, so that offsets
    stay what they were."""
    lines: list[tuple[int, int]] = []
    start = 0
    for paragraph in text.split("\n"):
        end = start + len(paragraph)
        at = start
        while at < end:
            stop = end
            while width is not None and face.getlength(text[at:stop]) > width:
                space = text.rfind(" ", at, stop - 1)
                if space <= at:
                    break
                stop = space
            lines.append((at, stop))
            at = stop + 1
        start = end + 1
    return lines
