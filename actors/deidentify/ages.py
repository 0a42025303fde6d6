"""Ages by the words beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from actors.config.deidentify import Category
from actors.deidentify.accent_folding import fold
from actors.deidentify.findings import Finding, Strength

_N = r"(?:1[0-2]\d|\d{1,2})"
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?<![\w.,/]){_N}[ -]{{0,2}}(?:years?|yrs?|y|months?|mos?|weeks?|days?)[ -]?"
        r"(?:old|/o|o|of age)\b",
        rf"(?<![\w.,/]){_N} ?(?:y/?o|yof|yom|yr old)\b",
        rf"(?<![\w.,/]){_N}(?= ?(?:f|m)\b,)",
        rf"(?:\b(?:aged?|edad|alter|age de|tuoi)\b:?\s{{0,3}}(?:is |of |de )?)(?P<age>{_N}"
        r"(?:\s{1,2}(?:anos?|mes(?:es)?|dias?|semanas?|a\b|jahre|ans|tuoi|years))?)"
        r"(?!\w|[.,/]\d)",
        rf"(?:\bi'?m |\bhe is |\bshe is )(?P<age>{_N})\b(?! ?(?:mg|kg|cm|%))",
        rf"(?<![\w.,/]){_N}\s{{1,2}}(?:anos|meses)(?= de edad|\b)",
        rf"(?<![\w.,/]){_N}[ -]?(?:jahr(?:e|ige[nrs]?)|jahrigen?|j\.|-?jahr\w*)(?!\w)",
        rf"(?<![\w.,/]){_N} (?:ans|tuoi)\b",
    )
)


def find_ages(text: str) -> Iterator[Finding]:
    """Numbers with the unit that makes them ages; durations in the same words are taken too."""
    folded = fold(text)
    for pattern in _PATTERNS:
        for match in pattern.finditer(folded):
            group = "age" if "age" in pattern.groupindex else 0
            yield Finding(*match.span(group), Category.AGE, "age", Strength.SHAPE)
