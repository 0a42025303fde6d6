"""Terms to look up for an entity besides its own words: its abbreviations, written out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property

from actors.linking.term_keys import words
from actors.linking.wordlists import FUNCTION_WORDS
from actors.spans import Annotations, Entity

_WORD = re.compile(r"[^\W_]+(?:[-./][^\W_]+)*")
_SHORT_FORM = re.compile(r"(?=.*[A-Z].*[A-Z])[^\W_][\w./-]{1,9}")
_DEPTH = 2
"""Rounds of expansion: a long form may itself contain a short form."""


class LookupTerms:
    """The entities of one document, as they are looked up."""

    def __init__(self, text: str, annotations: Annotations) -> None:
        self._text = text
        self._annotations = annotations
        self._asides: dict[tuple[str, str], str] | None = None
        self._written_out: dict[str, str | None] = {}

    def written_out(self, entity: Entity) -> str | None:
        """The text of an entity with the short forms that the document defines replaced."""
        known = self._written_out
        if entity.text not in known:
            known[entity.text] = written_out(entity.text, self._annotations.abbreviations)
        return known[entity.text]

    def aside(self, entity: Entity) -> str | None:
        """The entity of the same label that a short form, which is not defined, seems to stand for.

        It stands right before the short form's brackets; or its words have the short form's letters
        as initials; or it has these letters in their order and begins with the first (GC for
        glucocorticoid). Of several the first.
        """
        if _SHORT_FORM.fullmatch(entity.text) is None:
            return None
        if self._asides is None:
            self._asides = self._find_asides()
        letters = _letters(entity.text)
        for form in (entity.text, letters):
            if (entity.label, form) in self._asides:
                return self._asides[entity.label, form]
        longer = self._by_first_letter.get((entity.label, letters[0]), {})
        return next((long for long in longer if _in_order(letters, long)), None)

    @cached_property
    def _by_first_letter(self) -> dict[tuple[str, str], dict[str, None]]:
        """The texts of entities that are no short forms, by label and first letter."""
        found: dict[tuple[str, str], dict[str, None]] = {}
        for entity in self._annotations.entities:
            if _SHORT_FORM.fullmatch(entity.text) is None:
                first = entity.text[:1].casefold()
                found.setdefault((entity.label, first), {})[entity.text] = None
        return found

    def _find_asides(self) -> dict[tuple[str, str], str]:
        found: dict[tuple[str, str], str] = {}
        before: dict[str, Entity] = {}
        for entity in self._annotations.entities:
            initials = _initials(entity.text)
            if len(initials) > 1:
                found.setdefault((entity.label, initials), entity.text)
        placed = (one for one in self._annotations.entities if one.start is not None)
        for entity in sorted(placed, key=lambda one: (one.start, one.end)):
            long = before.get(entity.label)
            if _SHORT_FORM.fullmatch(entity.text) is None:
                before[entity.label] = entity
            elif long is not None and self._in_brackets_after(long, entity):
                found[entity.label, entity.text] = found.get((entity.label, entity.text), long.text)
        return found

    def _in_brackets_after(self, long: Entity, short: Entity) -> bool:
        """True if only an opening bracket stands between them."""
        between = self._text[long.end : short.start].strip()
        return between in ("(", "[")


def _letters(short: str) -> str:
    return "".join(character for character in short.casefold() if character.isalnum())


def _in_order(letters: str, long: str) -> bool:
    """True if a longer text has these letters, one after the other."""
    rest = iter(long.casefold())
    return len(long) > len(letters) and all(letter in rest for letter in letters)


def _initials(long: str) -> str:
    return "".join(word[0] for word in words(long) if word not in FUNCTION_WORDS)


def written_out(mention: str, abbreviations: Mapping[str, str]) -> str | None:
    """A mention with the short forms that its document defines replaced; None without any.

    "the CETP deficiency" gives "the cholesteryl ester transfer protein deficiency". Where the
    mention itself has both forms, "transfer protein (CETP) deficiency", the short one goes.
    """
    if not abbreviations:
        return None
    text = mention
    for short, long in abbreviations.items():
        if f"({short})" in text and long.casefold() in text.casefold():
            text = text.replace(f"({short})", " ")
    for _ in range(_DEPTH):
        text = abbreviations.get(text) or _WORD.sub(
            lambda match: _long_form(match.group(), abbreviations), text
        )
    return text if text != mention else None


def _long_form(word: str, abbreviations: Mapping[str, str]) -> str:
    if word in abbreviations:
        return abbreviations[word]
    for one in (word.removesuffix("s"), f"{word}s"):  # "DRM" where the document defines "DRMs"
        if one in abbreviations:
            return abbreviations[one]
    # Parts of a compound, such as APC-associated.
    parts = re.split(r"([-./])", word)
    return "".join(abbreviations.get(part, part) for part in parts)
