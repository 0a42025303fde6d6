"""Render a text with marked spans as HTML, losslessly: stripping the tags restores the text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from pipelines.markup.layers import Piece, pieces
from pipelines.markup.status_words import status_looks

_DEEPEST = 5  # nesting levels in reader.css; deeper ones share the last

# HTML cannot represent these: parsers replace or drop them, so each is shown as a symbol.
UNWRITABLE = {0: 0x2400, **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD)}
_CARRIAGE_RETURN = re.compile("\r(\n?)")


@dataclass(frozen=True, slots=True)
class Mark:
    """A span to mark. ``key`` selects its colour (class k<key>), ``item`` its index in the page's
    data; ``tag`` is shown after it instead of the key's name. ``status``: the words of its status,
    which change how it is drawn and are read aloud."""

    start: int
    end: int
    key: int
    item: int
    tag: str = ""
    status: Sequence[str] = ()


def highlight(text: str, marks: Sequence[Mark]) -> Markup:
    """The text as HTML. Each mark becomes one or more <mark> elements, nested where marks overlap.
    Offsets are code points; the text is split here, never in UTF-16."""
    drawn = pieces(len(text), [(mark.start, mark.end) for mark in marks])
    return Markup("").join(_draw(text, piece, marks) for piece in drawn)


def depth(text: str, marks: Sequence[Mark]) -> int:
    """The maximum number of stacked underlines."""
    drawn = pieces(len(text), [(mark.start, mark.end) for mark in marks])
    return min(max((max(piece.levels, default=-1) for piece in drawn), default=-1) + 1, _DEEPEST)


def _draw(text: str, piece: Piece, marks: Sequence[Mark]) -> Markup:
    html = _escape(text, piece.start, piece.end)
    for i, level in zip(reversed(piece.spans), reversed(piece.levels), strict=True):
        mark = marks[i]
        begins, ends = mark.start == piece.start, mark.end == piece.end
        classes = f"k{mark.key}"
        if level:
            classes += f" l{min(level, _DEEPEST - 1)}"
        if not begins:
            classes += " i"  # continues from the previous piece
        if not ends:
            classes += " o"  # continues into the next piece
        classes = " ".join([classes, *status_looks(mark.status)])
        tag = Markup(' data-t="{}"').format(mark.tag) if mark.tag and ends else Markup("")
        if mark.status and ends:
            tag += Markup(' data-s=", {}"').format(", ".join(mark.status))
        html = Markup('<mark class="{}" data-e="{}"{}>{}</mark>').format(
            classes, mark.item, tag, html
        )
    return html


def _escape(text: str, start: int, end: int) -> Markup:
    # An HTML parser turns a raw carriage return into a newline, so it is written as a character
    # reference. Before a newline it renders as a space; a lone one ends a line, hence the <br>.
    html = str(escape(text[start:end].translate(UNWRITABLE)))
    if html.endswith("\r") and text[end : end + 1] == "\n":
        html = html[:-1] + "&#13;"
    return Markup(_CARRIAGE_RETURN.sub(lambda m: "&#13;" + (m[1] or "<br>"), html))
