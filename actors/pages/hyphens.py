"""Words that a hyphen breaks at the end of a line: which hyphens belong to the word."""

from __future__ import annotations

import re
from collections.abc import Iterable

_BROKEN = re.compile(r"(?:^|.*[^\w])?(?P<left>[^\W\d_]+)[-‐\u00ad]$", re.DOTALL)
_CONTINUED = re.compile(r"(?P<right>[^\W\d_]+|\d+)")
_WORD = re.compile(r"[^\W\d_]+(?:[-‐][^\W\d_]+)*")
_SOFT = "\u00ad"

# Parts that are written with a hyphen more often than not, where the document does not tell.
_FIRST_PARTS = """
    all alpha beta cell cross dose double ex follow gamma half high ill late left long low
    mid non one right self short single small three two well x
"""
_SECOND_PARTS = """
    acting adjusted associated based blind cell control controlled day dependent free hour
    induced induction inflammatory like limiting line mediated month naive negative old
    onset out positive refractory related release resistant risk sensitive specific stage
    term threatening to treated type up week weighted wide year
"""
_FIRST, _SECOND = frozenset(_FIRST_PARTS.split()), frozenset(_SECOND_PARTS.split())


class HyphenatedWords:
    """The words of a document, which tell whether a hyphen at a line's end belongs to its word."""

    def __init__(self, words: Iterable[str]) -> None:
        self._known = {
            found.group().casefold().replace("‐", "-")
            for word in words
            for found in _WORD.finditer(word)
        }

    def joined(self, left: str, right: str) -> str | None:
        """Return what the last word of a line becomes if the first one of the next continues it:
        "metfor-" and "min" give "metfor", "non-" and "small" give "non-". None if it does not.

        A hyphen goes if the document has the whole word elsewhere, stays if it has the compound,
        and otherwise stays between parts that are usually written with one, after a single letter,
        before a capital letter and before a number.
        """
        before, after = _BROKEN.match(left), _CONTINUED.match(right)
        if before is None or after is None:
            return None
        first, second = before["left"], after["right"]
        if left.endswith(_SOFT):
            return left[:-1]
        if len(first) == 1 or second.isdigit() or (second[0].isupper() and not first.isupper()):
            return left
        whole, compound = (first + second).casefold(), f"{first}-{second}".casefold()
        if whole in self._known:
            return left[:-1]
        if compound in self._known or first.casefold() in _FIRST or second.casefold() in _SECOND:
            return left
        return left[:-1]
