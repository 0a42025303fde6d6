"""Ages by the words beside them, in digits and in words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from actors.config.deidentify import Category
from actors.deidentify.accent_folding import fold
from actors.deidentify.findings import Finding, Strength
from actors.deidentify.numerals import number_after, number_before

OLDEST = 89
"""Ages above say who somebody is."""
_N = r"(?:1[0-2]\d|\d{1,2})"
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?<![\w.,/]){_N}[ -]{{0,2}}(?:years?|yrs?|y|months?|mos?|weeks?|days?)[ -]?"
        r"(?:old|/o|o|of age)\b",
        rf"(?<![\w.,/]){_N} ?(?:y/?o|y\. ?o\.?|yof|yom|yr old)(?!\w)",
        rf"(?<![\w.,/]){_N}(?= ?(?:f|m)\b,)",
        rf"(?<![\w.,/]){_N}(?=(?:f|m) (?:with|w/|who|presents|presenting|admitted|c/o|s/p|h/o)\b)",
        rf"(?:\b(?:aged?|edad|alter|age de|tuoi)\b:?\s{{0,3}}(?:is |of |de )?)(?P<age>{_N}"
        r"(?:\s{1,2}(?:anos?|mes(?:es)?|dias?|semanas?|a\b|jahre|ans|tuoi|years))?)"
        r"(?!\w|[.,/]\d)",
        rf"(?:\bi'?m |\bhe is |\bshe is )(?P<age>{_N})\b(?! ?(?:mg|kg|cm|%))",
        rf"\b(?:turn|turned|turning) (?P<age>{_N})(?! ?(?:%|degrees|times|mg|ml)|[\w/]|[.,]\d)",
        rf"(?<![\w.,/]){_N}\s{{1,2}}(?:anos|meses)(?= de edad|\b)",
        rf"(?<![\w.,/]){_N}[ -]?(?:jahr(?:e|ige[nrs]?)|jahrigen?|j\.|-?jahr\w*)(?!\w)",
        rf"(?<![\w.,/]){_N} (?:ans|tuoi)\b",
    )
)
# What follows an age in words. Durations have the same words: "for two years", "desde hace dos
# años" are none.
_AFTER = re.compile(
    r"[ -]{1,2}(?:years?|yrs?|months?|weeks?|days?)[ -]{1,2}(?:old|of age)(?!\w)"
    r"| (?:anos|mes(?:es)?|semanas|dias)(?: y medio)? de (?:edad|vida)(?!\w)"
    r"| jahre alt(?!\w)|jahrige?[nrs]?(?!\w)"
)
# What stands before one, and what may follow it there.
_BEFORE = re.compile(
    r"(?<!\w)(?:(?:agee? de|aged?|age of|turned|turning|edad(?: de)?|alter(?: von)?)[: ]{1,2}"
    r"|(?:mujer|varon|hombre|nin[oa]|paciente|lactante|adolescente|senora?|homme|femme|patiente?"
    r"|garcon|fille|enfant)(?: (?:femenin[oa]|masculin[oa]|varon|mujer))? de )"
)
_UNIT = re.compile(r" (?:anos|mes(?:es)?|semanas|dias|ans|mois|jahren?|years?)(?!\w)")
_WORD = re.compile(r"[^\W\d_]+")


def find_ages(text: str) -> Iterator[Finding]:
    """Numbers with the unit that makes them ages; durations of digits in the same words are taken
    too."""
    folded = fold(text)
    for pattern in _PATTERNS:
        for match in pattern.finditer(folded):
            group = "age" if "age" in pattern.groupindex else 0
            yield Finding(*match.span(group), Category.AGE, "age", Strength.SHAPE)
    for match in _AFTER.finditer(folded):
        before = number_before(folded, match.start())
        if before is not None:
            yield Finding(before[0], match.end(), Category.AGE, "age", Strength.SHAPE)
    for match in _BEFORE.finditer(folded):
        after = number_after(folded, match.end())
        unit = None if after is None else _UNIT.match(folded, after[0])
        needs_unit = match[0].endswith(" de ")
        if after is not None and (unit is not None or not needs_unit):
            end = after[0] if unit is None else unit.end()
            yield Finding(match.end(), end, Category.AGE, "age", Strength.SHAPE)


def generalised_age(value: str) -> str | None:
    """The same with 90+ for a number above 89, in digits or words; None where it has none."""
    if re.search(r"\d", value):
        return re.sub(r"\d+", lambda m: "90+" if int(m[0]) > OLDEST else m[0], value)
    folded = fold(value)
    glued = _AFTER.search(folded)
    if glued is not None and (before := number_before(folded, glued.start())) is not None:
        return _written(value, before[0], glued.start(), before[1])
    for word in _WORD.finditer(folded):
        after = number_after(folded, word.start())
        if after is not None:
            return _written(value, word.start(), *after)
    return None


def _written(value: str, start: int, end: int, number: int) -> str:
    return f"{value[:start]}90+{value[end:]}" if number > OLDEST else value
