"""A small SVG drawing that stands alone: no script, no font and no style from elsewhere."""

from __future__ import annotations

import re
from xml.sax import saxutils

from pipelines.markup.colours import BLUE, SLATE, VERMILION

# Names of classes in the style below.
INK, QUIET, BEFORE, AFTER = "ink", "quiet", "before", "after"

_STYLE = f"""
  svg {{ background: #fff; font: 13px system-ui, sans-serif; }}
  text {{ fill: #1b2430; }}
  .head {{ font-weight: 600; }}
  .quiet {{ fill: #5a6778; stroke: none; }}
  line {{ stroke: #b4bfcc; stroke-width: 1; }}
  .before {{ fill: #fff; stroke: {SLATE.light}; stroke-width: 2; }}
  .after {{ fill: {VERMILION.light}; stroke: {VERMILION.light}; stroke-width: 2; }}
  .bar {{ fill: {BLUE.light}; fill-opacity: .3; stroke: none; }}
  polyline {{ fill: none; stroke: {VERMILION.light}; stroke-width: 2; }}
  @media (prefers-color-scheme: dark) {{
    svg {{ background: #10151d; }}
    text {{ fill: #e5ebf3; }}
    .quiet {{ fill: #9fb0c3; }}
    line {{ stroke: #47566a; }}
    .before {{ fill: #10151d; stroke: {SLATE.dark}; }}
    .after {{ fill: {VERMILION.dark}; stroke: {VERMILION.dark}; }}
    .bar {{ fill: {BLUE.dark}; }}
    polyline {{ stroke: {VERMILION.dark}; }}
  }}
"""


# Characters that XML 1.0 cannot hold, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Svg:
    """Elements of a drawing, in pixels from the upper left corner."""

    def __init__(self, width: int, title: str, description: str) -> None:
        self.width = width
        self._about = title, description
        self._elements: list[str] = []

    def text(
        self, x: float, y: float, words: str, *, anchor: str = "start", kind: str = INK
    ) -> None:
        """Add words; ``anchor``: the part of their baseline that is at (x, y)."""
        self._add("text", _escaped(words), x=x, y=y, text_anchor=anchor, class_=kind)

    def line(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """A thin line, such as an axis."""
        self._add("line", x1=x1, y1=y1, x2=x2, y2=y2)

    def dot(self, x: float, y: float, kind: str) -> None:
        """A point of a plot."""
        self._add("circle", cx=x, cy=y, r=5, class_=kind)

    def bar(self, x: float, y: float, width: float, height: float) -> None:
        """A bar; ``y`` is its upper edge."""
        self._add("rect", x=x, y=y, width=width, height=height, class_="bar")

    def path(self, points: list[tuple[float, float]]) -> None:
        """A line through points."""
        self._add("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points))

    def _add(self, name: str, content: str = "", **attributes: float | str) -> None:
        given = " ".join(
            f"{key.rstrip('_').replace('_', '-')}="
            f"{saxutils.quoteattr(f'{value:.1f}' if isinstance(value, float) else str(value))}"
            for key, value in attributes.items()
        )
        self._elements.append(f"<{name} {given}>{content}</{name}>")

    def render(self, height: int) -> str:
        """The SVG document."""
        title, description = map(_escaped, self._about)
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{self.width}" '
                f'height="{height}" viewBox="0 0 {self.width} {height}" '
                'aria-labelledby="title about">',
                f'<title id="title">{title}</title>',
                f'<desc id="about">{description}</desc>',
                f"<style>{_STYLE}</style>",
                *self._elements,
                "</svg>\n",
            ]
        )


def _escaped(words: str) -> str:
    return saxutils.escape(_NOT_XML.sub("\ufffd", words))
