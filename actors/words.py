"""Word segmentation: the one definition that grammars and grounding share.

A text is split into chunks. A run of letters is one chunk, and so is a number with its separators
("80.5mg" is two chunks: a strength may end where its unit begins, but never inside a number). Any
other character is its own chunk, and so is every character of a script written without spaces
(Chinese, Japanese, Thai). No chunk boundary ever splits a grapheme cluster (``actors.graphemes``):
an accented letter, a syllable, a flag.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from actors.graphemes import inner_places

# Kana, CJK ideographs with their extensions, Thai, Lao, Myanmar, Khmer.
_NO_SPACES = "ก-๙ກ-ໝက-႟ក-៹぀-ヿㄅ-ㆿㇰ-ㇿ㐀-䶿一-鿿豈-﫿ｦ-ﾟ\U00020000-\U0003fffd"
_NUMBER = r"\d+(?:[.,]\d+)*"


def words(text: str) -> list[str]:
    """Split a text into chunks; joined, they are the text again."""
    return _whole(_pattern().findall(text), text)


def clusters(text: str) -> list[str]:
    """Split a text into the finest chunks: grapheme clusters and whole numbers."""
    return _whole(_clusters().findall(text), text)


def boundaries(text: str) -> bytearray:
    """Return 1 at every position of ``[0, len(text)]`` where a chunk begins or ends, else 0."""
    flags = bytearray(len(text) + 1)
    flags[0] = 1
    for match in _pattern().finditer(text):
        flags[match.end()] = 1
    for place in _inner_places(text):
        flags[place] = 0
    return flags


def _whole(chunks: list[str], text: str) -> list[str]:
    """Join chunks whose common edge would split a cluster."""
    inner = set(_inner_places(text))
    if not inner:
        return chunks
    found, at = [""], 0
    for chunk in chunks:
        if at in inner:
            found[-1] += chunk
        else:
            found.append(chunk)
        at += len(chunk)
    return found[1:]


def _inner_places(text: str) -> list[int]:
    # The only ASCII cluster is CR LF, which no word contains.
    return [] if text.isascii() else inner_places(text)


def is_mark(character: str) -> bool:
    """Return True for a combining mark."""
    return unicodedata.category(character)[0] == "M"


def is_unspaced(character: str) -> bool:
    """Return True if the character belongs to a script written without spaces."""
    return _unspaced().match(character) is not None


@cache
def marks() -> str:
    """Return every combining mark, as the inside of a regex character class."""
    ranges: list[str] = []
    start: int | None = None
    # Beyond plane 1 the only marks are the variation selectors of plane 14.
    for code in range(0x20001):
        mark = is_mark(chr(code))
        if mark and start is None:
            start = code
        elif not mark and start is not None:
            ranges.append(f"{chr(start)}-{chr(code - 1)}")
            start = None
    return "".join(ranges) + "\U000e0100-\U000e01ef"


@cache
def _pattern() -> re.Pattern[str]:
    mark = f"[{marks()}]*"
    letter = rf"[^\W\d_{_NO_SPACES}]"
    return re.compile(rf"{_NUMBER}{mark}|(?:{letter}{mark})+|.{mark}", re.DOTALL)


@cache
def _unspaced() -> re.Pattern[str]:
    return re.compile(f"[{_NO_SPACES}]")


@cache
def _clusters() -> re.Pattern[str]:
    return re.compile(rf"{_NUMBER}[{marks()}]*|.[{marks()}]*", re.DOTALL)
