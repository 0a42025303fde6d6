"""Strengths of drugs in the unit that vocabularies use: RxNorm states masses in milligrams."""

from __future__ import annotations

import re
from decimal import Decimal

_MASS = re.compile(
    r"(\d+(?:\.\d+)?)\s*(mcg|\N{MICRO SIGN}g|\N{GREEK SMALL LETTER MU}g|ug|g)\b", re.I
)
_MILLIGRAMS = {"g": Decimal(1000)}
_PER_MICROGRAM = Decimal("0.001")


def in_milligrams(strength: str) -> str:
    """A strength with its masses in milligrams: "500 mcg" gives "0.5 mg", "1 g" gives "1000 mg".

    What is in milligrams, or is no mass, stays.
    """
    return _MASS.sub(_converted, strength)


def _converted(match: re.Match[str]) -> str:
    milligrams = Decimal(match[1]) * _MILLIGRAMS.get(match[2].casefold(), _PER_MICROGRAM)
    return f"{milligrams.normalize():f} mg"
