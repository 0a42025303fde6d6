"""Parse doses, durations and frequencies into a value, a UCUM unit and times a day.

Only what is certain is read: a range, "as needed", "1,000" (a thousand here, one there) or a bare
"units" give nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, TypeAdapter

from actors.config import ConfigSection, read_yaml
from actors.config.load import validate

_FILE = Path(__file__).parent / "readings.yaml"
_QUANTITY = re.compile(
    r"([<>]=?\s*)?(\d{1,6})(?:([.,])(\d{1,4}))?\s*-?\s*(\D[^\d]*(?:m2|m\u00b2)?)?\Z"
)
_EVERY = re.compile(
    r"(?:q|every|cada|toutes les|alle)\s*(\d{1,2})\s*(?:h|hrs?|hours?|horas?|heures?|stunden)\Z"
)
_TIMES = re.compile(
    r"(\d{1,2})\s*(?:x|times|veces|fois|mal)\s*(?:a|per|al|par|pro)?\s*(?:day|daily|d\u00eda|dia|jour|tag|t\u00e4glich)\Z"
)
_FOLLOWING = re.compile(r"\s?(%|[^\W\d_\u4e00-\u9fff][^\s,;()]{0,11}|/min\b)")


class _ReadingsFile(ConfigSection):
    units: dict[str, tuple[str, ...]]
    per_day: dict[Annotated[str, StringConstraints(pattern=r"^\d+(/\d+)?$")], tuple[str, ...]] = (
        Field(min_length=1)
    )


@cache
def _forms() -> tuple[Mapping[str, str], Mapping[str, Fraction]]:
    """Folded forms of units to UCUM, and of frequencies to times a day."""
    file = validate(TypeAdapter(_ReadingsFile), read_yaml(_FILE), _FILE)
    units = {_folded(form): ucum for ucum, forms in file.units.items() for form in forms}
    times = {_folded(f): Fraction(n) for n, forms in file.per_day.items() for f in forms}
    return units, times


def written_units(*codes: str) -> tuple[str, ...]:
    """Return the lower-case spellings of UCUM codes: "mg", "milligrams", ..."""
    return tuple(form for form, code in _forms()[0].items() if code in codes)


def written_frequencies() -> tuple[str, ...]:
    """Return the lower-case spellings of frequencies: "twice daily", "b.i.d.", ..."""
    return tuple(_forms()[1])


def ucum_unit(words: str) -> str | None:
    """The UCUM code of a unit as it is written; None where it is unknown or ambiguous."""
    return _forms()[0].get(_folded(words))


def read_quantity(words: str) -> dict[str, str]:
    """``value`` and ``unit`` of "500 mg", "26-week" or "8.4"; empty where that is not certain.

    A number without a unit has a value alone; one whose unit is unknown has nothing.
    """
    match = _QUANTITY.match(words.strip())
    if match is None or match.group(1):
        return {}
    _, whole, mark, part, unit = match.groups()
    if mark and (mark == "," or len(whole) <= 3) and len(part) == 3 and whole != "0":
        return {}  # 1,000 or 1.000: thousands in one language, a fraction in another
    value = f"{int(whole)}.{part}" if part else str(int(whole))
    if unit is None:
        return {"value": value}
    code = ucum_unit(unit)
    return {} if code is None else {"value": value, "unit": code}


def read_per_day(words: str) -> str | None:
    """Parse times a day: "2" for "twice daily", "0.1429" for "once weekly"; None if uncertain."""
    folded = _folded(words)
    times = _forms()[1].get(folded)
    if times is None and (every := _EVERY.match(folded)) is not None and int(every.group(1)) > 0:
        times = Fraction(24, int(every.group(1)))
    if times is None and (count := _TIMES.match(folded)) is not None:
        times = Fraction(int(count.group(1)))
    if not times:
        return None
    return str(times) if times.denominator == 1 else f"{float(times):.4g}"


def read_tail(text: str, start: int, end: int, stop: int | None = None) -> dict[str, str]:
    """Parse the words [start, end) of a text as a frequency or a quantity.

    A unit that follows a bare number before ``stop`` is read with it, as where a model marks them
    apart.
    """
    words = text[start:end]
    per_day = read_per_day(words)
    if per_day is not None:
        return {"per_day": per_day}
    found = read_quantity(words)
    if "value" in found and "unit" not in found:
        following = _FOLLOWING.match(text, end, len(text) if stop is None else stop)
        if following is not None:
            code = ucum_unit(following.group(1).rstrip("."))
            if code is not None:
                return {**found, "unit": code}
    return found


def _folded(words: str) -> str:
    return " ".join(words.lower().split())
