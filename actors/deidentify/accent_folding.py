"""Text without case and accents, code point by code point: offsets stay what they were."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_BARE = {"đ": "d", "ð": "d", "ł": "l", "ø": "o", "ı": "i", "ß": "ß", "æ": "æ", "œ": "œ"}
MARKS = "[̀-ͯ]*"
"""Marks that may stand on a letter of a folded text."""


def fold(text: str) -> str:
    """As many code points as ``text`` has, in lower case and without accents."""
    if text.isascii():
        return text.lower()
    return "".join(map(_folded, text))


@lru_cache(maxsize=4096)
def _folded(character: str) -> str:
    lower = character.lower()[0]
    if lower in _BARE:
        return _BARE[lower]
    bare = unicodedata.normalize("NFKD", lower)[0]
    return bare if bare.isalnum() else lower


def key_of(text: str) -> str:
    """Return a key that ignores case, accents, white space and the spelling of ß."""
    composed = unicodedata.normalize("NFC", text)
    return " ".join(fold(composed).replace("ß", "ss").split())


def spelled(word: str) -> str:
    """A pattern for a folded text that finds a word however its accents, its apostrophes and ß are
    written."""
    letters = key_of(word)
    parts = []
    at = 0
    while at < len(letters):
        if letters.startswith("ss", at):
            parts.append("(?:s" + MARKS + "s|ß)")
            at += 2
        elif letters[at] in "'’":
            parts.append("['’´`]?")
            at += 1
        elif letters[at].isspace():
            parts.append(r"\s+")
            at += 1
        else:
            parts.append(re.escape(letters[at]) + MARKS)
            at += 1
    return "".join(parts)
