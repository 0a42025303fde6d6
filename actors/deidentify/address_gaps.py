"""Parts of an address that no pattern knows, found by what stands on both sides of them.

"Dr. Ruiz. Hospital del Mar. Los Olmos, s/n. 28013 Madrid": between an institution and a ZIP code of
one line there is an address, whatever its words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from actors.config.deidentify import Category
from actors.deidentify.accent_folding import fold
from actors.deidentify.common_words import identifies_nobody
from actors.deidentify.findings import Finding, Strength
from actors.deidentify.names import PARTICLES

_LONGEST = 90  # characters between two parts
_MOST_WORDS = 12
_MOST_PARTS = 6  # of an address on either side of its ZIP code or street
_BETWEEN = re.compile(r"[\w\s.,;:/()ºª°'’´`\"“”«»&#–-]*")
_WORD = re.compile(r"[^\W_]+")
# "ES 28046 Madrid": a country or state, by which the second look knows what stands beside it.
_REGION = re.compile(r"[A-Z]{2,3}")
_DIGITS = "0123456789ºª"
_UNITS = "s n o a km num no nro piso planta bajo izq dcha esc edf pta of the am an im correos"
_INSIDE = frozenset([*PARTICLES, *_UNITS.split()])
_PLACES = frozenset({Category.STREET, Category.ZIP, Category.CITY, Category.STATE})
_BEFORE = _PLACES | {Category.NAME, Category.HOSPITAL, Category.ORGANIZATION, Category.COUNTRY}
_AFTER = _PLACES | {Category.COUNTRY, Category.PHONE, Category.FAX, Category.EMAIL, Category.URL}
_FIRST = frozenset({Category.NAME})
_LAST = _AFTER - _PLACES


def between_parts(text: str, findings: Sequence[Finding]) -> Iterator[Finding]:
    """Yield what stands between the parts of an address around a ZIP code or a street, if it is on
    their line and has the form of names: capitals, numbers, and few other words. An address begins
    with a person, an institution or a street, and ends with a country, a phone number or the like.

    ``findings`` are disjoint and in order.
    """
    seen: set[int] = set()
    for at, finding in enumerate(findings):
        if finding.category in (Category.ZIP, Category.STREET):
            for left in _run(text, findings, at):
                if left not in seen:
                    seen.add(left)
                    yield from _part(text, findings[left].end, findings[left + 1].start)


def _run(text: str, findings: Sequence[Finding], at: int) -> Iterator[int]:
    """Yield the places of the findings at whose ends the gaps of an address begin; ``at``: that of
    its ZIP code or street."""
    for left in range(at - 1, max(-1, at - 1 - _MOST_PARTS), -1):
        category = findings[left].category
        if category not in _BEFORE or not _is_gap(text, findings[left], findings[left + 1]):
            break
        yield left
        if category in _FIRST:
            break
    for left in range(at, min(len(findings) - 1, at + _MOST_PARTS)):
        category = findings[left + 1].category
        if category not in _AFTER or not _is_gap(text, findings[left], findings[left + 1]):
            break
        yield left
        if category in _LAST:
            break


def _is_gap(text: str, left: Finding, right: Finding) -> bool:
    """True if two parts of one address may stand on the two sides of what is between them."""
    start, end = left.end, right.start
    if end - start > _LONGEST or "\n" in text[start:end]:
        return False
    words = [word[0] for word in _WORD.finditer(text, start, end)]
    return (
        _BETWEEN.fullmatch(text, start, end) is not None
        and len(words) <= _MOST_WORDS
        and all(w[0].isupper() or w[0] in _DIGITS or fold(w) in _INSIDE for w in words)
    )


def _part(text: str, start: int, end: int) -> Iterator[Finding]:
    """Yield what a gap has, but for words at its ends that identify nobody."""
    words = [*_WORD.finditer(text, start, end)]
    kept = [word for word in words if not identifies_nobody(word, Category.STREET, doubtful=False)]
    while kept and kept[0][0] in PARTICLES:
        kept = kept[1:]
    while kept and kept[-1][0] in PARTICLES:
        kept = kept[:-1]
    if len(kept) == 1 and _REGION.fullmatch(kept[0][0]):
        return
    if any(map(_is_telling, kept)):
        category = Category.STREET if any(map(_is_number, kept)) else Category.CITY
        yield Finding(kept[0].start(), kept[-1].end(), category, "between", Strength.SHAPE)


def _is_telling(word: re.Match[str]) -> bool:
    unit = fold(word[0]) in _INSIDE and len(word[0]) > 1
    return _is_number(word) or (word[0][0].isupper() and not unit)


def _is_number(word: re.Match[str]) -> bool:
    """True for a number of a house, and for one that has none: "s/n"."""
    return word[0][0] in _DIGITS or word[0] == "SN" or word.string.startswith("s/n", word.start())
