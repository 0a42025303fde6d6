"""The written forms of doses, frequencies, durations, quantities and dates, and what they say.

``find_amounts`` finds them in a text, without a model. ``read_amount`` says what one means, so
that two spellings of one amount compare equal: "0.5 mg" and "500 mcg", "bid" and "twice a day",
"two weeks" and "14 days".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache

from actors.relations.quantities import (
    read_per_day,
    ucum_unit,
    written_frequencies,
    written_units,
)

DOSE, FREQUENCY, DURATION = "DOSE", "FREQUENCY", "DURATION"
QUANTITY, DATE = "QUANTITY", "DATE"

_NUMBER_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
_FRACTIONS = {"half": Decimal("0.5"), "½": Decimal("0.5"), "1/2": Decimal("0.5")}
_DIGITS = r"\d+(?:[.,]\d+)*"
_NUMBER = rf"(?:1/2|½|{_DIGITS}|{'|'.join(_NUMBER_WORDS[1:])}|half)"
_RANGE = rf"{_NUMBER}(?:\s?(?:[-–]|to)\s?{_DIGITS})?"
_COUNTED = {
    "tablet": "tablets? tabs?",
    "capsule": "capsules? caps?",
    "pill": "pills?",
    "puff": "puffs?",
    "drop": "drops?",
    "spray": "sprays?",
    "sachet": "sachets?",
    "patch": "patch(?:es)?",
    "ampoule": "amp(?:oule|ule)s?",
    "vial": "vials?",
    "unit": "units?",
}
_COUNTED_FORMS = {unit: re.compile("|".join(forms.split(" "))) for unit, forms in _COUNTED.items()}
_PER = r"(?:/(?:ml|kg|day|d|h|hr|hour|min|m2|m²|puff|tablet|dose))?"
_MASS = {"ng": Decimal("0.000001"), "ug": Decimal("0.001"), "mg": Decimal(1), "g": Decimal(1000)}
_VOLUME = {"mL": Decimal(1), "L": Decimal(1000)}
_TIME = {"min": 1, "h": 60, "d": 24 * 60, "wk": 7 * 24 * 60}
_MONTHS = {"mo": 1, "a": 12}
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_TIMES_OF_DAY = {
    "morning": re.compile(r"morning|qam|mañana|matin|morgens|sáng"),
    "evening": re.compile(r"evening|qpm|soir|abends|tối"),
    "night": re.compile(r"night|bedtime|qhs|q\.h\.s|noche|coucher|nacht"),
}


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount as read: its numbers (two for a range), their unit, and the time of day."""

    numbers: tuple[Decimal | Fraction | str, ...]
    unit: str
    time_of_day: str = ""

    def supports(self, claim: Amount) -> bool:
        """Return True if this amount implies ``claim``.

        "Once daily in the morning" supports "once daily", but not the other way round.
        """
        same = (self.numbers, self.unit) == (claim.numbers, claim.unit)
        return same and claim.time_of_day in ("", self.time_of_day)


def find_amounts(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the label, start and end of each amount; none overlaps one that was found before."""
    taken = bytearray(len(text))
    for label, pattern in _patterns():
        for match in pattern.finditer(text):
            start, end = match.span()
            if not any(taken[start:end]):
                taken[start:end] = b"\1" * (end - start)
                yield label, start, end


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """The patterns in the order in which they take characters."""
    concentration = r"(?:m|µ|μ|n|p|mc|u)?(?:g|mol|eq)/d?l|[iu]{1,2}/m?l|mmol(?:/mol)?|mmhg|bpm"
    other = r"kg(?:/m2|/m²)?|cm|mm|°\s?[cf]|lbs?|pounds?|%"
    dose = _any((*written_units(*_MASS, *_VOLUME, "[iU]", "meq"), "iu"))
    counted = "|".join(_COUNTED.values()).replace(" ", "|")
    time = _any(written_units(*_TIME, *_MONTHS))
    frequency = _any(written_frequencies())
    hours = _any(written_units("h"))
    forms = (
        (FREQUENCY, rf"(?:{frequency}|(?:q|every)\s?\d{{1,2}}\s?(?:{hours}))(?!\w)"),
        (FREQUENCY, r"[0-4](?:\s?[-+]\s?[0-4]){2,3}(?![\d/.-])"),
        (FREQUENCY, r"\d{1,2}\s?(?:x|times)\s?(?:a|per)?\s?(?:day|daily)\b"),
        (DATE, r"\d{1,4}[/.-]\d{1,2}[/.-]\d{1,4}(?!\w)"),
        (DATE, rf"\d{{1,2}} {_MONTH} \d{{2,4}}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}"),
        (QUANTITY, rf"{_DIGITS}\s?(?:{concentration}|{other})(?![\w/])"),
        (DURATION, rf"{_RANGE}[ -]?(?:{time})(?!\w)"),
        (DOSE, rf"{_RANGE}[ -]?(?:{dose}){_PER}(?!\w)|{_RANGE} ?(?:{counted}){_PER}(?!\w)"),
    )
    return tuple((label, re.compile(_before(label) + f"(?:{form})", re.I)) for label, form in forms)


def _before(label: str) -> str:
    """A lookbehind for what cannot precede an amount. A dose can follow a letter: OCR joins it to
    its drug, as in Amlodipine5mg."""
    return r"(?<!\d)(?<!\d[.,/–-])" + ("" if label == DOSE else r"(?<!\w)")


def _any(forms: Iterable[str]) -> str:
    """A pattern for any of the forms, the longest first, whatever the spaces are."""
    ordered = sorted(forms, key=lambda form: (-len(form), form))
    return "|".join(r"\s+".join(map(re.escape, form.split())) for form in ordered)


def read_amount(label: str, words: str) -> Amount:
    """Parse an amount; if that fails, return its words in lower case."""
    folded = " ".join(words.casefold().split())
    if label == FREQUENCY:
        return _frequency(folded)
    match = re.match(rf"({_NUMBER})(?:\s?(?:[-–]|to)\s?({_DIGITS}))?[ -]?(.*)\Z", folded)
    numbers = [number(part) for part in match.groups()[:2] if part] if match else []
    if match is None or None in numbers or label == DATE:
        return Amount((folded,), "")
    unit, scale = _unit(match[3])
    return Amount(tuple(one * scale for one in numbers if one is not None), unit)


def number(words: str) -> Decimal | None:
    """Return a number written in digits or as a word up to twelve; None if it is ambiguous.

    1,000 is a thousand in one language and one in another.
    """
    if words in _NUMBER_WORDS:
        return Decimal(_NUMBER_WORDS.index(words))
    if words in _FRACTIONS:
        return _FRACTIONS[words]
    if not re.fullmatch(r"\d+(?:[.,]\d+)?", words) or re.fullmatch(r"[1-9]\d{0,2}[.,]\d{3}", words):
        return None
    return Decimal(words.replace(",", "."))


def _unit(words: str) -> tuple[str, Decimal]:
    """The unit that stands for all of its kind, and how many of it one of these is."""
    one, slash, per = words.strip().partition("/")
    code = ucum_unit(words.strip()) or ucum_unit(one.strip()) or ""
    suffix = slash + per
    for base, kind in (("mg", _MASS), ("mL", _VOLUME)):
        if code in kind:
            return base + suffix, kind[code]
    if code in _TIME:
        return "min", Decimal(_TIME[code])
    if code in _MONTHS:
        return "mo", Decimal(_MONTHS[code])
    for unit, forms in _COUNTED_FORMS.items():
        if forms.fullmatch(one):
            return unit + suffix, Decimal(1)
    return (code or one) + (suffix if code == ucum_unit(one) else ""), Decimal(1)


def _frequency(folded: str) -> Amount:
    bare = folded.rstrip(".")
    per_day: str | None
    if re.fullmatch(r"[\d\s+-]+", bare):  # 1-0-1: morning, noon and night
        pattern = re.sub(r"\D", "", bare)
        return Amount((Decimal(len(pattern.replace("0", ""))),), "/d", pattern)
    per_day = read_per_day(folded) or read_per_day(bare)
    if per_day is None:
        return Amount((bare,), "")
    part = next((name for name, form in _TIMES_OF_DAY.items() if form.search(bare)), "")
    return Amount((Decimal(per_day),), "/d", part if per_day == "1" else "")
