"""Other mentions of names that were found, whatever their case, accents or form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from actors.config.deidentify import Category
from actors.deidentify.findings import Finding, Strength
from actors.deidentify.folding import fold, key_of, spelled
from actors.deidentify.names import name_words

# Names that are words too: in lower case they are taken for the word.
_WORDS_WORDS = """
may will mark long brown white black green gray grey young rose grace hope faith joy bill art
hand head back chin short rich strong best small little day price wood stone field hill king
bell ball bean cook baker cross dean frank gene grant guy jack lance miles pat penny ray rob
sharp summer august june april pain weeks case cruz blanco rubio leon prieto delgado moreno rojo
calvo sano bueno dolores rosa luz reyes santos campos rios klein gross braun kurz lang stark
schwarz weiss herz kopf leber fuss lung petit grand blanc roux legros
"""
_WORDS = frozenset(_WORDS_WORDS.split())
_SHORTEST = 3
_INITIALS = re.compile(r"(?:,? ?(?P<initial>[^\W\d_])\.?(?!\w))+")
_INITIALS_BEFORE = re.compile(r"(?<!\w)(?:[^\W\d_]\. ?){1,3}$")


class Mentions:
    """Finds the words of some names in a text.

    ``names``: whole names, as they were found; their particles and titles are not looked for.
    """

    def __init__(self, names: Iterable[str]) -> None:
        words = {
            key_of(name[start:end])
            for name in names
            for start, end in name_words(name)
            if end - start >= _SHORTEST
        }
        self._initials = {word[0] for word in words}
        self._pattern = _any_of(words)

    def find(self, text: str) -> Iterator[Finding]:
        """Each mention, with the initials beside it: "SMITH, J.", "J. Smith"."""
        if self._pattern is None:
            return
        folded = fold(text)
        for match in self._pattern.finditer(folded):
            start, end = match.span()
            if text[start:end].islower() and key_of(match[0]) in _WORDS:
                continue
            before = _INITIALS_BEFORE.search(folded, max(0, start - 12), start)
            if before is not None and self._are_ours(before[0]):
                start = before.start()
            after = _INITIALS.match(folded, end)
            if (
                after is not None
                and self._are_ours(after[0])
                and all(c.isupper() for c in text[end : after.end()] if c.isalpha())
            ):
                end = after.end()
            yield Finding(start, end, Category.NAME, "mention", Strength.SHAPE)

    def _are_ours(self, initials: str) -> bool:
        return all(c in self._initials for c in initials if c.isalpha())


class Terms:
    """Finds the values of a user's lists in a text."""

    def __init__(self, lists: dict[Category, tuple[str, ...]]) -> None:
        self._patterns = [
            (category, pattern)
            for category, values in lists.items()
            if (pattern := _any_of({key_of(value) for value in values})) is not None
        ]

    def find(self, text: str) -> Iterator[Finding]:
        """Each place where a value stands, whatever its case and accents."""
        folded = fold(text)
        for category, pattern in self._patterns:
            for match in pattern.finditer(folded):
                yield Finding(*match.span(), category, "list", Strength.NAMED)


def _any_of(words: set[str]) -> re.Pattern[str] | None:
    if not words:
        return None
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    return re.compile(r"(?<!\w)(?:" + "|".join(map(spelled, longest_first)) + r")(?!\w)")
