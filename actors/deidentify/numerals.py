"""Numbers in words, as ages and days are written: 1 to 119 in English, Spanish, German, French."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from actors.deidentify.accent_folding import fold

_WORDS = {
    "en": """one two three four five six seven eight nine ten eleven twelve thirteen fourteen
fifteen sixteen seventeen eighteen nineteen""",
    "en tens": "twenty thirty forty fifty sixty seventy eighty ninety",
    "en ordinals": """first second third fourth fifth sixth seventh eighth ninth tenth eleventh
twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth""",
    "es": """un dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince
dieciseis diecisiete dieciocho diecinueve veinte veintiun veintidos veintitres veinticuatro
veinticinco veintiseis veintisiete veintiocho veintinueve""",
    "es tens": "treinta cuarenta cincuenta sesenta setenta ochenta noventa",
    "de": """ein zwei drei vier funf sechs sieben acht neun zehn elf zwolf dreizehn vierzehn
funfzehn sechzehn siebzehn achtzehn neunzehn""",
    "de tens": "zwanzig dreissig vierzig funfzig sechzig siebzig achtzig neunzig",
    "de ordinals": "erst zweit dritt viert funft sechst siebt acht neunt",
    "fr": """un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze
seize dix-sept dix-huit dix-neuf""",
}
_EN, _EN_TENS, _EN_ORDINALS, _ES, _ES_TENS, _DE, _DE_TENS, _DE_ORDINALS, _FR = (
    words.split() for words in _WORDS.values()
)
_FR_TENS = {20: "vingt", 30: "trente", 40: "quarante", 50: "cinquante", 60: "soixante"}
_MOST_WORDS = 5  # "one hundred and twenty-one"
_WORD = re.compile(r"[a-zß]+")
_LONGEST = 60  # characters
_GAP = re.compile(r"[ -]{1,2}")


@cache
def numbers() -> dict[str, int]:
    """Number words, folded, words joined by one space, to their value."""
    pairs = [*_english(), *_spanish(), *_german(), *_french()]
    return {fold(" ".join(words.replace("-", " ").split())): value for words, value in pairs}


@cache
def ordinals() -> dict[str, int]:
    """The same of the days of a month: "third", "dritten"; and "primero", "premier"."""
    english = {word: n for n, word in enumerate(_EN_ORDINALS, 1)}
    for tens, name in ((20, "twenty"), (30, "thirty")):
        for unit in range(1, 10 if tens == 20 else 2):
            english[f"{name} {_EN_ORDINALS[unit - 1]}"] = tens + unit
    english["thirtieth"] = 30
    german: dict[str, int] = {}
    below = _german_below_hundred()
    for day in range(1, 32):
        stem = _DE_ORDINALS[day - 1] if day < 10 else below[day] + ("t" if day < 20 else "st")
        german |= {f"{stem}{end}": day for end in ("e", "en", "er")}
    return english | german | {"primero": 1, "premier": 1}


def number_before(folded: str, end: int) -> tuple[int, int] | None:
    """Where the number in words that ends at ``end`` begins, and its value; None without one."""
    return _before(numbers(), folded, end)


def number_after(folded: str, start: int) -> tuple[int, int] | None:
    """Where the number in words that begins at ``start`` ends, and its value; None without one."""
    return _after(numbers(), folded, start)


def ordinal_before(folded: str, end: int) -> int | None:
    """Where the day of a month in words that ends at ``end`` begins; None without one."""
    found = _before(ordinals(), folded, end)
    return None if found is None else found[0]


def ordinal_after(folded: str, start: int) -> int | None:
    """Where the day of a month in words that begins at ``start`` ends; None without one."""
    found = _after(ordinals(), folded, start)
    return None if found is None else found[0]


def _before(values: Mapping[str, int], folded: str, end: int) -> tuple[int, int] | None:
    words = list(_WORD.finditer(folded, max(0, end - _LONGEST), end))[-_MOST_WORDS:]
    for first, word in enumerate(words):
        if words[-1].end() == end and _begins(word):
            value = _value(values, words[first:])
            if value is not None:
                return word.start(), value
    return None


def _after(values: Mapping[str, int], folded: str, start: int) -> tuple[int, int] | None:
    words = list(_WORD.finditer(folded, start, start + _LONGEST))[:_MOST_WORDS]
    for last in range(len(words), 0, -1):
        if words[0].start() == start and _begins(words[0]):
            value = _value(values, words[:last])
            if value is not None:
                return words[last - 1].end(), value
    return None


def _begins(word: re.Match[str]) -> bool:
    return not word.start() or not word.string[word.start() - 1].isalnum()


def _value(values: Mapping[str, int], words: Sequence[re.Match[str]]) -> int | None:
    if not all(map(_joined, words, words[1:])):
        return None
    return values.get(" ".join(one[0] for one in words).replace("ß", "ss"))


def _joined(one: re.Match[str], other: re.Match[str]) -> bool:
    return _GAP.fullmatch(one.string, one.end(), other.start()) is not None


def _english() -> Iterator[tuple[str, int]]:
    small = _below_hundred(_EN, _EN_TENS, "{tens} {unit}")
    for value, words in small.items():
        yield words, value
    yield from (("one hundred", 100), ("a hundred", 100))
    for value in range(1, 20):
        for joint in (" ", " and "):
            yield f"one hundred{joint}{small[value]}", 100 + value


def _below_hundred(units: Sequence[str], tens: Sequence[str], joined: str) -> dict[int, str]:
    """The names of 1 to 99 by value; ``units`` are those of 1 to 19, ``tens`` those from 20 on."""
    names = dict(enumerate(units, 1))
    for number, ten in enumerate(tens, 2):
        names[10 * number] = ten
        for unit in range(1, 10):
            names[10 * number + unit] = joined.format(tens=ten, unit=units[unit - 1])
    return names


def _spanish() -> Iterator[tuple[str, int]]:
    for value, words in enumerate(_ES, 1):
        yield words, value
    yield "uno", 1
    for number, tens in enumerate(_ES_TENS, 3):
        yield tens, 10 * number
        for unit in range(1, 10):
            yield f"{tens} y {_ES[unit - 1]}", 10 * number + unit
    yield "cien", 100
    for value in range(1, 20):
        yield f"ciento {_ES[value - 1]}", 100 + value


def _german_below_hundred() -> dict[int, str]:
    return _below_hundred(_DE, _DE_TENS, "{unit}und{tens}")


def _german() -> Iterator[tuple[str, int]]:
    below = _german_below_hundred()
    for value, word in below.items():
        yield word, value
    for prefix in ("hundert", "einhundert"):
        yield prefix, 100
        for value in range(1, 20):
            yield f"{prefix}{below[value]}", 100 + value


def _french() -> Iterator[tuple[str, int]]:
    for value, words in enumerate(_FR, 1):
        yield words, value
    for value, tens in _FR_TENS.items():
        yield tens, value
        for unit in range(1, 20 if value == 60 else 10):
            joint = " et " if unit in (1, 11) else " "
            yield f"{tens}{joint}{_FR[unit - 1]}", value + unit
    yield "quatre vingts", 80
    for unit in range(1, 20):
        yield f"quatre vingt {_FR[unit - 1]}", 80 + unit
    yield "cent", 100
    for value in range(1, 20):
        yield f"cent {_FR[value - 1]}", 100 + value
