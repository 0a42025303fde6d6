"""Numbers and addresses of the net: patterns, with check digits where the kind has them."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from types import ModuleType

import phonenumbers
from stdnum import bitcoin, imei, luhn
from stdnum.exceptions import ValidationError
from stdnum.iban import validate as validate_iban

from actors.config.deidentify import Category
from actors.deidentify.findings import Finding, Strength

_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.+'-]{1,64} ?@ ?(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?!\w)"
    r"|(?<![\w.+-])[^\W\d_][\w.+'-]{1,63}@[^\W\d_][\w-]{1,62}(?!\w)"  # of a network of its own
    r"|(?<![\w.+-])[\w.+'-]{1,64} ?[\[({] ?(?:at|AT) ?[\])}] ?[\w-]{1,63}"
    r"(?:(?:\.| ?[\[({] ?(?:dot|DOT|punkt) ?[\])}] ?)[\w-]{1,63}){1,4}(?!\w)"
)
# What may follow a phone number.
_EXTENSION = re.compile(
    r",?\s?(?:ext(?:ension|n)?|x|dw|durchwahl|poste)[.:]?\s?\d{1,6}(?!\w)", re.IGNORECASE
)
_URL = re.compile(
    r"(?:\bhttps?://|\bftp://|(?<![\w@])www\.)[^\s<>\"'()\[\]{}]{1,2000}?(?=[.,;:!?]*(?:[\s<>\"'()\[\]{}]|$))"
    r"|(?<![\w@.])(?:[a-z0-9-]{1,63}\.){1,4}(?:com|org|net|edu|gov|mil|int|biz|es|de|fr|vn|uk|at|ch|eu"
    r"|info|io|app|dev|nl|dk|pl|ie|au|nz|jp|br|mx|berlin|museum)(?:/[^\s<>\"'()]*)?(?![\w@-]|\.\w)"
    # These are words, too ("pain.site"), or end one after a point that lacks its space.
    r"|(?<![\w@.])(?:(?:[a-z0-9-]{1,63}\.){2,4}(?:TLD)"
    r"|[a-z0-9]{1,40}-[a-z0-9-]{1,40}\.(?:TLD)|[a-z0-9-]{1,63}\.(?:TLD)(?=/[a-z]))"
    r"(?:/[^\s<>\"'()]*)?(?![\w@-]|\.\w)".replace(
        "TLD",
        "health|hospital|clinic|care|online|site|cloud|center|cat|ai|us|ca|it|be|no|se|fi|pt|me|co|tv"
        "|world|page|link|live|med|doctor|dental",
    ),
    re.IGNORECASE,
)
# What a word before it names.
_NAMED = (
    (
        re.compile(
            r"\b(?i:twitter|instagram|tiktok|snapchat|telegram|facebook|mastodon|handle)\W{1,3}"
            r"(?P<value>@[A-Za-z_]\w{2,30}|(?<!@)[A-Za-z_]\w{1,30}\d\w{0,10})(?!\w)"
        ),
        Category.ID,
        "handle",
    ),
    (
        re.compile(
            r"\b(?:SWIFT|BIC)(?:[ /-]?(?:SWIFT|BIC|[Cc]ode))?\W{1,3}"
            r"(?P<value>[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?)(?!\w)"
        ),
        Category.ACCOUNT,
        "bic",
    ),
)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)")
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])", re.IGNORECASE)
_MAC = re.compile(r"(?<![\w:-])(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![\w:-])", re.IGNORECASE)
_GPS = re.compile(
    r"(?<![\w.])[-+]?\d{1,3}\.\d{4,},\s?[-+]?\d{1,3}\.\d{4,}(?!\w)"
    r"|\d{1,3}\s?°\s?\d{1,2}\s?['′]\s?(?:\d{1,2}(?:\.\d+)?\s?[\"″])?\s?[NS][,;]?\s*"
    r"\d{1,3}\s?°\s?\d{1,2}\s?['′]\s?(?:\d{1,2}(?:\.\d+)?\s?[\"″])?\s?[EWOL]\b"
    r"|\d{1,3}\.\d{2,}\s?°?\s?[NS][,;]?\s{0,2}\d{1,3}\.\d{2,}\s?°?\s?[EWOL]\b"
    r"|(?i:\blat(?:itude)?\W{1,3}\d{1,3}\.\d{2,}\W{1,3}(?:long?|lng|longitude)\W{1,3}\d{1,3}\.\d{2,})"
)
_SSN = re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){3,8}\b")
_CARD = re.compile(r"(?<![\w-])\d(?:[ -]?\d){11,18}(?![\w-])")
# National insurance of the United Kingdom.
_NINO = re.compile(r"(?<![\w-])[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?(?:\d\d ?){3}[A-D](?![\w-])")
_BITCOIN = re.compile(r"\b(?:bc1[a-z0-9]{25,60}|[13][1-9A-HJ-NP-Za-km-z]{25,34})\b")
_DOCKET = re.compile(r"(?<![\w:])\d:\d\d-[a-z]{2}-\d{3,6}(?!\w)")
# German pension insurance: area, birth date, letter, serial number.
_PENSION = re.compile(r"(?<![\w-])\d\d ?[0-3]\d[01]\d{3} ?[A-Z] ?\d{3}(?!\w)")
_VIN = re.compile(r"\b(?=\w*\d)(?=\d*[A-Z])[A-HJ-NPR-Z0-9]{17}\b")
_UDI = re.compile(r"\(01\)\d{14}(?:\(\d{2}\)[\w/-]{1,20})*")
# What a national id can look like: letters and digits with separators, mostly digits.
_NATIONAL = re.compile(r"(?<![\w-])(?:[A-Z]{1,6}-?)?\d(?:[ ./-]?[0-9A-Z]){6,17}(?![\w-])")
# Digits with the separators of phone numbers; the area code may be in brackets.
_PHONE = re.compile(r"(?<![\w.,/-])(?:\+|00)?\(?\d(?:[ ()./-]{0,3}\d){6,14}(?![\w/]|[.,]\d|-\d)")
_INTERNATIONAL = re.compile(r"(?<![\w.,/-])\+[1-9]\d{0,2}(?:[ ()./-]{0,3}\d){7,13}(?![\w/]|[.,]\d)")
_NORTH_AMERICAN = re.compile(
    r"(?<![\w-])(?:\+?1[ .-]?)?(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4}(?!-|(?!x\d)\w)"
)
# Letters for digits: 1-800-FLOWERS
_VANITY = re.compile(
    r"(?<![\w-])1[ .-]8\d\d[ .-](?=[A-Z\d -]{0,8}[A-Z])[A-Z\d]{3}-?[A-Z\d]{4,6}(?!\w)"
)
_LONG = re.compile(
    r"(?<![\w.,/-])#?(?=[\w/-]*\d{4})[A-Z]{0,4}-?\d{3,}(?:[-/]?\d+)*(?:-?[A-Z]{1,4})?(?![\w/]|[.,]\d)"
)
_GROUPS = re.compile(r"(?<![\w.,/-])\d{2,}(?: \d{2,}){1,4}(?![\w/]|[.,]\d)")
_UNIT = re.compile(
    r"\s?(?:/|x\s?10|mg|mcg|µg|ug|g\b|kg|ml|u\b|ui\b|iu\b|i\.?e\.?\b|cells|c[eé]l|copies|copias|"
    r"platelets|plaquetas|leuco|mm|mcl|µl|ul\b|l\b|kcal|cfu|ufc)",
    re.IGNORECASE,
)
_SHORTEST = 7  # digits that alone make a number an identifier
_GROUPED = 9  # the same of numbers with white space between them

_NATIONAL_IDS: dict[str, str] = {
    "AT": "vnr tin",
    "AU": "tfn",
    "BE": "nn",
    "BR": "cpf",
    "CA": "sin",
    "CH": "ssn",
    "DE": "idnr",
    "DK": "cpr",
    "ES": "dni nie",
    "FI": "hetu",
    "FR": "nir nif",
    "GB": "nhs",
    "IE": "pps",
    "IN": "aadhaar pan",
    "IT": "codicefiscale",
    "MX": "curp",
    "NL": "bsn",
    "NO": "fodselsnummer",
    "PL": "pesel",
    "PT": "cc nif",
    "SE": "personnummer",
    "US": "ssn itin",
    "VN": "mst",
}
"""The national ids of python-stdnum that are looked for, by country."""


class Identifiers:
    """Finds identifiers by their form. Raises ValueError for an unknown country."""

    def __init__(self, countries: tuple[str, ...]) -> None:
        unknown = [c for c in countries if c not in phonenumbers.SUPPORTED_REGIONS]
        if unknown:
            raise ValueError(f"countries: {unknown[0]} is not a known country")
        self._countries = countries
        self._national = [
            _stdnum(country, name)
            for country in countries
            for name in _NATIONAL_IDS.get(country, "").split()
        ]

    def find(self, text: str) -> Iterator[Finding]:
        """All that looks like an identifier, overlapping findings included."""
        for pattern, category, by in (
            (_EMAIL, Category.EMAIL, "email"),
            (_URL, Category.URL, "url"),
            (_MAC, Category.DEVICE, "mac"),
            (_GPS, Category.GPS, "gps"),
            (_UDI, Category.DEVICE, "udi"),
            (_SSN, Category.NATIONAL_ID, "ssn"),
            (_PENSION, Category.NATIONAL_ID, "pension"),
            (_NINO, Category.NATIONAL_ID, "nino"),
            (_VANITY, Category.PHONE, "vanity"),
            (_DOCKET, Category.ID, "docket"),
        ):
            yield from _all(text, pattern, category, by)
        for pattern, category, by, holds in (
            (_IPV4, Category.IP, "ip", _is_ip),
            (_IPV6, Category.IP, "ip", _is_ip),
            (_IBAN, Category.ACCOUNT, "iban", _is_iban),
            (_CARD, Category.ACCOUNT, "card", _is_card),
            (_CARD, Category.DEVICE, "imei", _is_imei),
            (_VIN, Category.VEHICLE, "vin", _is_vin),
            (_BITCOIN, Category.ACCOUNT, "bitcoin", bitcoin.is_valid),
            (_NATIONAL, Category.NATIONAL_ID, "national_id", self._is_national),
        ):
            yield from _all(text, pattern, category, by, holds)
        for pattern, category, by in _NAMED:
            for match in pattern.finditer(text):
                yield Finding(*match.span("value"), category, by, Strength.NAMED)
        for match in _NORTH_AMERICAN.finditer(text):
            yield _phone(text, match, "north_american", Strength.PATTERN)
        for match in _INTERNATIONAL.finditer(text):
            yield _phone(text, match, "international", Strength.SHAPE)
        for match in _PHONE.finditer(text):
            if self._is_phone(match[0]):
                strength = Strength.PATTERN if match[0][0] in "+(" else Strength.SHAPE
                yield _phone(text, match, "phone", strength)
        for match in _LONG.finditer(text):
            digits = sum(c.isdigit() for c in match[0])
            alone = match[0].isdigit()
            if digits >= (_SHORTEST if alone else 4) and not (
                alone and _UNIT.match(text, match.end())
            ):
                yield Finding(*match.span(), Category.ID, "long_number", Strength.SHAPE)

        for match in _GROUPS.finditer(text):
            if sum(c.isdigit() for c in match[0]) >= _GROUPED:
                yield Finding(*match.span(), Category.ID, "long_number", Strength.SHAPE)

    def _is_phone(self, value: str) -> bool:
        for country in self._countries:
            try:
                number = phonenumbers.parse(value, country)
            except phonenumbers.NumberParseException:
                continue
            if phonenumbers.is_valid_number(number):
                return True
        return False

    def _is_national(self, value: str) -> bool:
        return sum(c.isdigit() for c in value) >= 6 and any(
            module.is_valid(value) for module in self._national
        )


def _stdnum(country: str, name: str) -> ModuleType:
    package = "in_" if country == "IN" else country.lower()
    return importlib.import_module(f"stdnum.{package}.{name}")


def _all(
    text: str,
    pattern: re.Pattern[str],
    category: Category,
    by: str,
    holds: Callable[[str], bool] | None = None,
) -> Iterator[Finding]:
    strength = Strength.PATTERN if holds is None else Strength.CHECKED
    for match in pattern.finditer(text):
        if holds is None or holds(match[0]):
            yield Finding(*match.span(), category, by, strength)


def _phone(text: str, match: re.Match[str], by: str, strength: Strength) -> Finding:
    extension = _EXTENSION.match(text, match.end())
    end = match.end() if extension is None else extension.end()
    return Finding(match.start(), end, Category.PHONE, by, strength)


def _is_ip(value: str) -> bool:
    try:
        address = ip_address(value)
    except ValueError:
        return False
    return address.version == 4 or sum(c.isalnum() for c in value) > 3


def _is_iban(value: str) -> bool:
    try:
        validate_iban(value, check_country=False)
    except ValidationError:
        return False
    return True


def _is_card(value: str) -> bool:
    digits = re.sub(r"\D", "", value)
    return digits[0] in "23456" and luhn.is_valid(digits)


def _is_imei(value: str) -> bool:
    digits = re.sub(r"\D", "", value)
    return len(digits) == 15 and bool(imei.is_valid(digits))


_VIN_VALUES = dict(
    zip(
        "0123456789ABCDEFGHJKLMNPRSTUVWXYZ",
        [*range(10), *range(1, 9), 1, 2, 3, 4, 5, 7, 9, *range(2, 10)],
        strict=True,
    )
)
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def _is_vin(value: str) -> bool:
    """True if the check digit of a vehicle's number holds (ISO 3779, as North America uses it)."""
    total = sum(_VIN_VALUES[c] * w for c, w in zip(value, _VIN_WEIGHTS, strict=True))
    return value[8] == "0123456789X"[total % 11]
