"""The claims of an answer: statements that can be looked up in its document."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from actors.claims.drugs import CAPITAL, DrugNames, without_titles
from actors.claims.forms import DOSE, find_amounts

DRUG, NAME, SCRIPT = "DRUG", "NAME", "SCRIPT"

_NAME = re.compile(rf"(?<![\w-]){CAPITAL}(?: {CAPITAL})*")
_SENTENCE = re.compile(r"(?:^|[.!?:|]\s+|\n)[\s>*#|_-]*(?:\d+[.)]\s*)?[*_]*$")
_HEADING = re.compile(r"\s*(?:#+\s|\d+[.)]\s+(?:[A-Z&(][\w()&-]*\s*)+:?\s*$)|.*\|\s*:?-{2,}")


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of a text, at ``[start, end)``."""

    label: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """The code point after the claim."""
        return self.start + len(self.text)


def find_statements(text: str, drugs: DrugNames, names: Iterable[str] = ()) -> list[Claim]:
    """Return the drugs and amounts of a text, in order and without overlap.

    What is a drug in one place, or one of the ``names`` that another text has, is one everywhere.
    """
    found = [Claim(label, text[start:end], start) for label, start, end in find_amounts(text)]
    found.sort(key=lambda claim: claim.start)
    doses = [(claim.start, claim.end) for claim in found if claim.label == DOSE]
    taken = _taken(text, found)
    named = [Claim(DRUG, text[start:end], start) for start, end in drugs.find(text, doses)]
    known = dict.fromkeys((*(one.text.casefold() for one in named), *map(str.casefold, names)))
    for name in sorted(known, key=len, reverse=True):
        words = r"\s+".join(map(re.escape, name.split()))
        pattern = re.compile(rf"(?<!\w){words}(?![^\W\d_])", re.I)
        named += [Claim(DRUG, match[0], match.start()) for match in pattern.finditer(text)]
    for claim in sorted(named, key=lambda one: (one.start, -len(one.text))):
        if not any(taken[claim.start : claim.end]):
            taken[claim.start : claim.end] = b"\1" * len(claim.text)
            found.append(claim)
    return sorted(found, key=lambda claim: claim.start)


def find_claims(answer: str, document: str, drugs: DrugNames) -> list[Claim]:
    """Return the claims of an answer, in order and without overlap."""
    found = find_statements(answer, drugs)
    taken = _taken(answer, found)
    for label, places in ((SCRIPT, _foreign(answer, scripts(document))), (NAME, _names(answer))):
        for start, end in places:
            if not any(taken[start:end]):
                taken[start:end] = b"\1" * (end - start)
                found.append(Claim(label, answer[start:end], start))
    return sorted(found, key=lambda claim: claim.start)


def _taken(text: str, claims: list[Claim]) -> bytearray:
    taken = bytearray(len(text))
    for claim in claims:
        taken[claim.start : claim.end] = b"\1" * len(claim.text)
    return taken


def _names(answer: str) -> Iterator[tuple[int, int]]:
    """Yield runs of capitalised words, headings and single words that begin a sentence aside."""
    at = 0
    for line, following in pairwise([*answer.splitlines(keepends=True), ""]):
        if not _HEADING.match(line) and not _HEADING.match(following):
            for match in _NAME.finditer(line):
                start, end = without_titles(answer, at + match.start(), at + match.end())
                alone = " " not in answer[start:end] and not answer[start:end].isupper()
                begins = _SENTENCE.search(answer, max(0, start - 80), start) is not None
                if end - start > 1 and not (alone and begins):
                    yield start, end
        at += len(line)


def scripts(text: str) -> frozenset[str]:
    """Return the scripts of a text's letters, by Unicode character names: LATIN, CJK..."""
    letters = {character for character in text if character.isalpha()}
    return frozenset({"LATIN", "GREEK", "MICRO"}) | {
        unicodedata.name(letter, "?").partition(" ")[0] for letter in letters
    }


def _foreign(answer: str, known: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Yield runs of letters in scripts that are not ``known``."""
    start: int | None = None
    for at, character in enumerate(f"{answer} "):
        foreign = character.isalpha() and not scripts(character) <= known
        if foreign and start is None:
            start = at
        elif not foreign and start is not None:
            yield start, at
            start = None
