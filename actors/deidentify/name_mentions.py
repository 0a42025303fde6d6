"""Other mentions of names that were found, whatever their case, accents or form."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from itertools import permutations, zip_longest

from actors.config.deidentify import Category
from actors.deidentify.accent_folding import fold, key_of, spelled
from actors.deidentify.dictionaries import common_words
from actors.deidentify.findings import Finding, Strength
from actors.deidentify.names import NAME_WORD, PARTICLES, TITLES, name_words

_SHORTEST = 3
_LONG = 5  # letters of a name that may have an ending: "the Martins", "Müllers"
_INITIALS = re.compile(r"(?:,? ?(?P<initial>[^\W\d_])\.?(?!\w))+")
_INITIALS_BEFORE = re.compile(r"(?<!\w)(?:[^\W\d_]\. ?|[^\W\d_] ){1,3}$")
_DOTTED = re.compile(r"(?<![\w.])[^\W\d_]\.(?:[ -]?[^\W\d_]\.){1,3}(?!\w)")
# What letters with points are, if not somebody.
_ABBREVIATION_WORDS = "am pm iv im sc po pr us uk md do rn ba ma bs dr ie eg bid tid"
_ABBREVIATIONS = frozenset(_ABBREVIATION_WORDS.split())
_SENTENCE = re.compile(r"(?:^|[.!?:;\n•*-])[\s\"'(*•-]{0,4}$")
_NUMBER_AFTER = re.compile(r"[ :=]{0,2}[\d<>]")
_BESIDE = re.compile(r"[-‐‑, ]{1,2}$|$")
_VERB_AFTER = re.compile(r" (?:is|was|has|had|did|came|went|said|got|took|felt|[a-z]+(?:ed|s))\b")
_CONJUNCTIONS = frozenset(["and", "op", "in", "y", "e", "i", "und"])


class Mentions:
    """Finds the words of some names in a text, in any case and order, and the names' initials.

    ``names``: whole names, as they were found. Titles are not looked for, and particles only before
    a word of a name.

    A name that is a word, too ("Long", "May"), is that word in lower case, and at the beginning of
    a sentence of a text that also has it in lower case, unless initials, another name or a verb
    are beside it.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._short: set[str] = set()
        self._signs: set[str] = set()
        words, particles = set[str](), set[str]()
        for name in names:
            parts = [name[start:end] for start, end in name_words(name)]
            words.update(key_of(part) for part in parts if len(part) >= _SHORTEST)
            self._short.update(p for p in parts if len(p) < _SHORTEST and p[0].isupper())
            all_parts = [key_of(part) for part in NAME_WORD.findall(name)]
            particles.update(PARTICLES.intersection(all_parts) - _CONJUNCTIONS)
            named = [part[0] for part in all_parts if part not in PARTICLES | TITLES]
            self._signs.update(map("".join, permutations(named[:4], 2)))
            # "Smith, John Martin" signs as J. M. S.
            self._signs.update("".join([*named[at:], *named[:at]]) for at in range(len(named)))
        short = set(map(key_of, self._short))
        self._initials = {word[0] for word in words | short}
        self._pattern = _any_of(words | short, "(?P<ending>s)?")
        inside = "|".join(sorted(particles))
        self._particles = re.compile(rf"(?<!\w)(?:(?:{inside})\s){{1,3}}$") if inside else None

    def find(self, text: str) -> Iterator[Finding]:
        """Each mention, with initials and particles beside it: "SMITH, J.", "J. van der Berg"."""
        if self._pattern is None:
            return
        folded = fold(text)
        matches = list(self._pattern.finditer(folded))
        common = common_words()
        also_words = {
            key for m in matches if _form(text, m).islower() and (key := key_of(m[0])) in common
        }
        end_before = -1
        for match, after in zip_longest(matches, matches[1:]):
            start, end = match.span()
            grown = self._grown(text, folded, start, end)
            beside = grown != (start, end) or any(
                a >= 0 and _BESIDE.match(folded, a, b)
                for a, b in ((end_before, start), (end, after.start() if after else -1))
            )
            end_before = end
            if self._is_meant(text, match, beside, also_words):
                yield Finding(*grown, Category.NAME, "mention", Strength.SHAPE)
        for match in _DOTTED.finditer(folded):
            letters = "".join(filter(str.isalpha, match[0]))
            shown = "".join(filter(str.isalpha, _form(text, match)))
            if letters in self._signs - _ABBREVIATIONS and shown.isupper():
                yield Finding(*match.span(), Category.NAME, "initials", Strength.SHAPE)

    def _is_meant(
        self, text: str, match: re.Match[str], beside: bool, also_words: Collection[str]
    ) -> bool:
        form, key = _form(text, match), key_of(match[0])
        common = key in common_words()
        if match["ending"] and (common or len(form) <= _LONG or form.islower()):
            return False
        if common and form.islower():
            return False
        if len(form) < _SHORTEST:
            number = _NUMBER_AFTER.match(text, match.end())
            if not beside and (form not in self._short or number):
                return False
            also_words = common_words()  # two letters are not enough
        begins = _SENTENCE.search(text, max(0, match.start() - 6), match.start())
        if beside or begins is None or key not in also_words:
            return True
        return _VERB_AFTER.match(text, match.end()) is not None

    def _grown(self, text: str, folded: str, start: int, end: int) -> tuple[int, int]:
        """A mention with the particles and initials beside it."""
        particles = self._particles and self._particles.search(folded, max(0, start - 20), start)
        if particles is not None:
            start = particles.start()
        before = _INITIALS_BEFORE.search(folded, max(0, start - 12), start)
        if before is not None and self._are_ours(text, before):
            start = before.start()
        after = _INITIALS.match(folded, end)
        if after is not None and self._are_ours(text, after):
            end = after.end()
        return start, end

    def _are_ours(self, text: str, initials: re.Match[str]) -> bool:
        return all(c in self._initials for c in initials[0] if c.isalpha()) and all(
            c.isupper() for c in _form(text, initials) if c.isalpha()
        )


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


def _any_of(words: set[str], ending: str = "") -> re.Pattern[str] | None:
    if not words:
        return None
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    # "Don" is not in "don't".
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(spelled, longest_first))}){ending}(?!\w|['’]t\b)")


def _form(text: str, match: re.Match[str]) -> str:
    """A match in a folded text as the text has it."""
    return text[match.start() : match.end()]
