"""Fold a text for comparison, with a mapping back to the original code points.

Folding ignores letter case, Unicode form (NFC, NFD, and the order of marks), compatibility forms
(full-width letters and digits, ligatures, one-character units such as "㎎"), the kind and amount of
whitespace, typographic quotes and dashes, and invisible characters (soft hyphens, zero-width
spaces, direction marks). It never changes a number: superscripts, fractions and circled digits stay
as they are. The text itself is never changed: every folded character maps to its origin.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from enum import Enum, auto
from functools import cache, cached_property

import numpy as np

from actors.words import boundaries, marks

_SAME = {
    **dict.fromkeys("‘’‚‛′`´ʼʹ＇", "'"),
    **dict.fromkeys("“”„‟″«»＂", '"'),
    **dict.fromkeys("‐‑‒–—―−﹣－⁃", "-"),
    "…": "...",
    "⁄": "/",
    "∕": "/",
}


_BROKEN = re.compile(r"(?<=[^\W\d_])([-‐\u00ad])[^\S\r\n]*(?:\r\n|\r|\n)\s*(?=[^\W\d_])")


class Breaks(Enum):
    """Treatment of a hyphen between letters at a line end."""

    KEPT = auto()
    """Keep both: "metfor-\\nmin" is two words."""
    JOINED = auto()
    """Drop the hyphen and the whitespace: "metformin"."""
    HYPHENATED = auto()
    """Drop the whitespace: "placebo-controlled"."""


def is_broken(text: str) -> bool:
    """Return True if a hyphen breaks a word at a line end."""
    return _BROKEN.search(text) is not None


class Folded:
    """``text`` folded for comparison; ``find`` returns offsets of the original text."""

    def __init__(self, text: str, breaks: Breaks = Breaks.KEPT) -> None:
        parts = [_TABLE[character] for character in text]
        if breaks is not Breaks.KEPT:
            for match in _BROKEN.finditer(text):
                start = match.start() if breaks is Breaks.JOINED else match.end(1)
                parts[start : match.end()] = [""] * (match.end() - start)
        folded = "".join(parts)
        if len(folded) == len(text):
            origin = np.arange(len(text), dtype=np.int32)
        else:
            origin = np.repeat(
                np.arange(len(text), dtype=np.int32),
                np.fromiter(map(len, parts), dtype=np.int32, count=len(parts)),
            )
        if not folded.isascii():
            # Sorting only moves marks within their cluster, so ``origin`` remains valid.
            folded = _several_marks().sub(_in_canonical_order, folded)
        # surrogatepass: a lone surrogate is bad input from the source, not a reason to fail here.
        codes = np.frombuffer(folded.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        space = codes == ord(" ")
        if len(codes) > 1 and bool((space[1:] & space[:-1]).any()):
            keep = np.concatenate(([True], ~(space[1:] & space[:-1])))
            origin = origin[keep]
            folded = codes[keep].tobytes().decode("utf-32-le", "surrogatepass")
        self.text = folded
        self._origin = origin

    @cached_property
    def _boundaries(self) -> bytearray:
        return boundaries(self.text)

    def find(self, folded: str) -> Iterator[tuple[int, int]]:
        """Yield every place of an already folded string, as offsets of the original text.

        Places start and end at word boundaries of the folded text: "５" is not in "１．５".
        """
        at = self.text.find(folded)
        while at >= 0:
            end = at + len(folded)
            whole = self._boundaries[at] and self._boundaries[end]
            span = self.stored(at, end) if whole else None
            if span is not None:
                yield span
            at = self.text.find(folded, at + 1)

    def stored(self, start: int, end: int) -> tuple[int, int] | None:
        """Map a folded span to the original text; None if it splits an original character."""
        origin = self._origin
        if start > 0 and origin[start - 1] == origin[start]:
            return None
        if end < len(origin) and origin[end] == origin[end - 1]:
            return None
        return int(origin[start]), int(origin[end - 1]) + 1


def fold(text: str) -> str:
    """Fold ``text`` and strip whitespace at its ends."""
    return Folded(text).text.strip(" ")


class _Table(dict[str, str]):
    """Maps a character to its folded form; filled on demand."""

    def __missing__(self, character: str) -> str:
        folded = self[character] = _folded(character)
        return folded


_TABLE = _Table()


def _folded(character: str) -> str:
    if character.isspace():
        return " "
    if character in _SAME:
        return _SAME[character]
    if unicodedata.category(character) == "Cf" or character == "\ufe0f":
        return ""
    folded = unicodedata.normalize("NFD", _expand(character)).casefold()
    return unicodedata.normalize("NFD", folded)


def _expand(character: str) -> str:
    """Expand a compatibility character, unless that would create or change a number."""
    tag, *codes = unicodedata.decomposition(character).split() or [""]
    if not tag.startswith("<"):
        return character
    spelt = "".join(_expand(chr(int(code, 16))) for code in codes)
    if character.isdecimal():  # "５" is the digit 5
        return spelt
    numeric = unicodedata.category(character) == "No"
    return character if numeric or any(c.isdecimal() for c in spelt) else spelt


@cache
def _several_marks() -> re.Pattern[str]:
    return re.compile(f"[{marks()}]{{2,}}")


def _in_canonical_order(run: re.Match[str]) -> str:
    return unicodedata.normalize("NFD", run.group())
