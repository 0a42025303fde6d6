"""Dates in their usual forms: found, moved by days, cut to the year; written as they were."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, date, timedelta

from actors.config.deidentify import Category, DeidentifyLanguage
from actors.deidentify.accent_folding import fold
from actors.deidentify.calendar import Month, month_names
from actors.deidentify.findings import Finding, Strength
from actors.deidentify.masked_dates import MaskedDates

_LEAP = 2000  # the year of dates that name none: every day exists in it
_PIVOT = 70  # two digits: 1970 to 2069
_YEAR = r"(?P<y>(?:18|19|20)\d\d)"
_SHORT = r"(?P<y>(?:18|19|20)\d\d|'?\d\d)"
_D = r"(?P<d>0?[1-9]|[12]\d|3[01])"
_M = r"(?P<m>0?[1-9]|1[0-2])"
_ANY = r"(?P<{}>0?[1-9]|[12]\d|3[01])"
_FREE = r"(?<![\w/.,-])"  # not inside a number or a word
_END = r"(?![\w/]|[.,-]\d)"
# The same where another date may be beside it: "5/6/20-5/8/20", "3./4. Mai".
_START = r"(?:(?<![\w/.,-])|(?<=[/.]\d\d-)|(?<=[/.]\d{4}-)|(?<=\d\./)|(?<= \d-)|(?<= \d\d-))"
_STOP = r"(?![\w/]|[.,]\d|-\d(?!\d?[/.]\d))"
# Before a date that alone could be something else: a ratio, a score, a number.
_BEFORE = (
    r"(?:\b(?:on|in|between|since|from|until|till|to|by|of|during|before|after|dated?|year|dob|born"
    r"|en|desde|hasta|el|del|ano|ano de|durante|mes de|fecha"
    r"|am|im|vom|bis|seit|zum|ab|jahr|geb|ed|um"
    r"|le|du|au|depuis|en|an|annee|jusqu'au"
    r"|nam|ngay|thang|tu|den"
    r"|admitted|discharged|seen|dos|ingreso|alta|aufnahme|entlassung|op|early|late|mid"
    r"|(?:mediados|finales|fines|principios|comienzos|inicios) de|anfang|mitte|ende)[.:]?"
    r"\s+(?:the\s+|dem\s+|der\s+)?|[*†(]\s?)"
)
# What stands before the second date of a range, or the last of a list: "13. - 24.10.2024".
_RANGE = re.compile(
    r"(?<![\w.,/])(\d{1,2}(?:[./]\d{1,2})?(?:[./]|st|nd|rd|th)?)\s{0,2}"
    r"(?:-|–|/|und|u\.|bis|bis zum|y|al|a|e|et|au|to|and)\s{0,2}$"
)
# The same after the first date of a range.
_RANGE_END = re.compile(
    r"\s{0,2}(?:-|–|und|u\.|bis|bis zum|y|al|a|e|et|au|to|and|through|until)\s{0,2}"
    r"(\d{1,2}[./]\d{1,2})\.?(?![\w/]|[.,-]\d)"
)
# "May 5-8, 2020"
_LAST_DAY = re.compile(r"\s?(?:-|–|to|and|&)\s?(\d{1,2})(?:st|nd|rd|th)?(?=,? (?:19|20)\d\d)")
# "5/6 to 5/8", but not "4/5 to 5/5"
_TWO = re.compile(
    rf"{_FREE}(?:0?[1-9]|[12]\d|3[01])/(?P<one>0?[1-9]|[12]\d|3[01])\s?"
    r"(?:to|-|–|al|bis|through|until)\s?"
    rf"(?:0?[1-9]|[12]\d|3[01])/(?!(?P=one))(?:0?[1-9]|[12]\d|3[01]){_END}"
)
# "9/20", "6-9/19" and "01/18-06/19" in the lists of German letters; a score or a count goes on
# otherwise.
_MONTHS = re.compile(
    rf"{_FREE}(?:(?:0?[1-9]|1[0-2])-)?(?:0?[1-9]|1[0-2])/[012]\d(?:-(?:0?[1-9]|1[0-2])/[012]\d)?"
    r"(?=\s*(?:\n|$|[,;(]|=>))"
)
_TIME = re.compile(r"[T ,]*\d\d?:\d\d(?::\d\d(?:\.\d+)?)?\s*(?:[aApP]\.?[mM]\.?|h|Uhr|Z)?")


@dataclass(frozen=True, slots=True)
class WrittenDate:
    """A date and how it is written. ``day``, ``month`` or ``year`` are None where it has none."""

    text: str
    day: int | None
    month: int | None
    year: int | None
    parts: tuple[tuple[str, int, int], ...]
    named: Month | None

    def shifted(self, days: int) -> str | None:
        """The date moved by days, in the same form; None where the calendar ends.

        Without a day the middle of the month is moved, without a month the middle of the year.
        """
        try:
            old = date(self.year or _LEAP, self.month or 7, self.day or (15 if self.month else 1))
            new = old + timedelta(days=days)
        except (ValueError, OverflowError):
            return None
        if new.year >= MAXYEAR:
            return None
        values = {"d": new.day, "m": new.month, "y": new.year}
        written, at = [], 0
        for name, start, end in self.parts:
            written += [self.text[at:start], self._written(name, self.text[start:end], values)]
            at = end
        return "".join([*written, self.text[at:]])

    def _written(self, name: str, old: str, values: dict[str, int]) -> str:
        if name == "b" and self.named is not None:
            return self.named.written(values["m"], old)
        if name == "o":
            ordinal = _ordinal(values["d"], old.lower())
            return ordinal.upper() if old.isupper() else ordinal
        value = values[name]
        if name == "y" and len(old) <= 3:
            return f"{old[:-2]}{value % 100:02}"
        if self.named is not None and not old.startswith("0"):
            return str(value)
        return f"{value:0{len(old)}}"


class Dates:
    """Finds and reads dates in texts of some languages, the likeliest first."""

    def __init__(self, languages: tuple[DeidentifyLanguage, ...]) -> None:
        self._months = month_names(languages)
        self._month_first = languages[0] == "en"
        name = "(?P<b>" + "|".join(sorted(map(re.escape, self._months), key=len)[::-1]) + ")"
        self._forms = [re.compile(form) for form in _forms(name if self._months else None)]
        self._masked = MaskedDates(self._months)
        self._loose = [_TWO]
        self._loose += [_MONTHS] if languages[0] == "de" else []
        # "junio de 2.010", "junio del mismo año"
        self._loose += [
            re.compile(
                rf"(?<!\w){name}(?: del?)? "
                r"(?:(?:1\.9|2\.0)\d\d(?!\d)|(?:mismo|presente|pasado|este|ese) ano\b)"
            )
        ]
        self._bare = [re.compile(form) for form in _bare_forms(name if self._months else None)]
        self._alone = [re.compile(form) for form in _forms_alone(name if self._months else None)]

    def find(self, text: str) -> Iterator[Finding]:
        """The dates of a text, overlapping ones included; the full forms are the surest."""
        folded = fold(text)
        for form in self._forms:
            for match in form.finditer(folded):
                if self._valid(match):
                    yield _finding(match, Strength.CHECKED)
                    begin = _RANGE.search(folded, max(0, match.start() - 20), match.start("date"))
                    if begin is not None:
                        yield Finding(*begin.span(1), Category.DATE, "range", Strength.CHECKED)
                    last = _LAST_DAY.match(folded, match.end("date"))
                    if last is not None:
                        yield Finding(*last.span(1), Category.DATE, "range", Strength.CHECKED)
        for form in self._bare:
            for match in form.finditer(folded):
                if self._valid(match):
                    yield _finding(match, Strength.SHAPE)
                    end = _RANGE_END.match(folded, match.end("date"))
                    if end is not None:
                        yield Finding(*end.span(1), Category.DATE, "range", Strength.SHAPE)
        for form in self._loose:
            for match in form.finditer(folded):
                yield Finding(*match.span(), Category.DATE, "date", Strength.SHAPE)
        for place in self._masked.find(folded):
            yield Finding(*place, Category.DATE, "date", Strength.SHAPE)

    def shifted(self, text: str, days: int) -> str | None:
        """The date moved by days, in the same form; None where it cannot be read, or where words
        beside it say more of the day, such as the day of the week."""
        written = self.read(text)
        if written is None:
            return None
        first, last = written.parts[0][1], written.parts[-1][2]
        more = any(start < first or end > last for start, end in self._masked.find(fold(text)))
        return None if more else written.shifted(days)

    def read(self, text: str) -> WrittenDate | None:
        """The date that a text is, or that it holds beside other words; None where there is none,
        or more than one."""
        folded = fold(text)
        best: re.Match[str] | None = None
        for form in (*self._forms, *self._bare, *self._alone):
            for match in form.finditer(folded):
                if self._valid(match) and (best is None or _size(match) > _size(best)):
                    best = match
        if best is None:
            return None
        start, end = best.span("date")
        if any(c.isdigit() for c in text[:start] + text[end:]) and not _is_time(text[end:]):
            return None
        return self._written(text, best)

    def year(self, text: str) -> str | None:
        """The year of a date, as it is written; None where it has none."""
        read = self.read(text)
        if read is None or read.year is None:
            return None
        return str(read.year)

    def _written(self, text: str, match: re.Match[str]) -> WrittenDate | None:
        groups = match.groupdict()
        named = self._months.get(groups.get("b") or "")
        day, month = self._day_month(match)
        year = groups.get("y")
        names = {"d": "d", "m": "m", "p": "d", "q": "m", "b": "b", "o": "o", "y": "y"}
        if groups.get("p") and self._swapped(match):
            names |= {"p": "m", "q": "d"}
        parts = sorted(
            (match.start(group), match.end(group), name)
            for group, name in names.items()
            if groups.get(group)
        )
        return WrittenDate(
            text,
            day,
            month,
            _full_year(year) if year else None,
            tuple((name, start, end) for start, end, name in parts),
            named,
        )

    def _day_month(self, match: re.Match[str]) -> tuple[int | None, int | None]:
        groups = match.groupdict()
        if groups.get("p"):
            first, second = int(groups["p"]), int(groups["q"])
            return (second, first) if self._swapped(match) else (first, second)
        day = int(groups["d"]) if groups.get("d") else None
        if groups.get("b"):
            return day, self._months[groups["b"]].number
        return day, int(groups["m"]) if groups.get("m") else None

    def _swapped(self, match: re.Match[str]) -> bool:
        """True if the month stands before the day; with points it never does."""
        first, second = int(match["p"]), int(match["q"])
        if first > 12 or second > 12:
            return second > 12
        return self._month_first and match["s"] != "."

    def _valid(self, match: re.Match[str]) -> bool:
        groups = match.groupdict()
        if groups.get("p"):
            first, second = int(groups["p"]), int(groups["q"])
            if first > 12 and second > 12:
                return False
            if second > 12 and not self._month_first and not groups.get("y"):
                return False  # "05/18" is a month and a year
        day, month = self._day_month(match)
        try:
            year = _full_year(groups["y"]) if groups.get("y") else _LEAP
            date(year, month or 1, day or 1)
        except ValueError:
            return False
        return True


def _forms(name: str | None) -> list[str]:
    """Forms that hardly anything else has, over folded text; ``name`` matches a month's name."""
    clock = r"\d\d:?\d\d(?::?\d\d(?:\.\d{1,9})?)?"
    time = rf"(?:t{clock}(?:z|[+-]\d\d:?\d\d)?(?!\w)|[t ]\d\d:\d\d(?::\d\d)?)?"
    after = r"(?<![\w/.,])"  # a range has no space after its hyphen: "29.07.2023-01.08.2023"
    first, second = _ANY.format("p"), _ANY.format("q")
    numeric = [
        rf"{after}(?P<date>{_YEAR}(?P<s>[-/.]){_M}(?P=s){_D}{time})(?!\d)",
        # A slip of the pen may put white space beside a separator: "12/04 /2011".
        rf"{after}(?P<date>{first} ?(?P<s>[-/.]) ?{second} ?(?P=s) ?{_YEAR})(?!\d)",
        rf"{_START}(?P<date>{first}(?P<s>[-/.]){second}(?P=s){_SHORT}){_STOP}",
        rf"{_START}(?P<date>{first}(?P<s>\.) {second}\. {_SHORT}){_STOP}",
        rf"\b(?P<date>ngay {_D} thang {_M} nam {_YEAR})",
        rf"\b(?P<date>ngay {_D} thang {_M})(?!\d)",
        rf"\b(?P<date>thang {_M}(?: nam |/){_YEAR})",
        rf"{after}(?P<date>{_M}[/-]{_YEAR}){_END}",
        rf"{after}(?P<date>(?P<m>0[1-9]|1[0-2])\.{_YEAR}){_END}",
    ]
    if name is None:
        return numeric
    of = r"(?:\.? ?,? ?(?:de[l]? |of |ano )*|[-/ ]{1,2})"
    ordinal = r"(?:(?P<o>st|nd|rd|th|er)|[oaº.])?"  # "1º" is "1o" in folded text
    return [
        *numeric,
        rf"{_START}(?P<date>{_D}{ordinal}{of}{name}\.?{of}{_SHORT})(?!\w)",
        rf"{_START}(?P<date>{_D}{ordinal}{of}{name})(?!\w)",
        rf"(?<!\w)(?P<date>{name}\.? {_D}{ordinal},? {_SHORT})(?!\w|[.,]\d)",
        rf"(?<!\w)(?P<date>{name}\.? {_D}{ordinal})(?!\w|[.,]\d)",
        rf"(?<!\w)(?P<date>{name}\.?"
        rf"(?:[ \n]|-|/|, ?| del? (?:ano )?|, (?:del? )?| of ){_YEAR})(?!\w)",
        rf"(?<!\w)(?P<date>{name}\.?(?: (?:del? )?|[-/]){_SHORT})(?!\w|[.,]\d)",
    ]


def _bare_forms(name: str | None) -> list[str]:
    """Forms that are dates only after certain words, or by their looks."""
    first, second = _ANY.format("p"), _ANY.format("q")
    bare = [
        rf"{_FREE}(?P<date>{_D}\.{_M}\.)(?!\d)",
        rf"{_BEFORE}(?P<date>{first}(?P<s>[/.-]){second}){_END}",
        rf"\((?:[^()\d]{{0,20}})(?P<date>{_M}/(?P<y>\d\d)){_END}",
        rf"{_BEFORE}(?P<date>{_M}/(?P<y>\d\d)){_END}",
        rf"(?:^|\n)(?P<date>{_M}/(?P<y>\d\d))(?= )",
        rf"{_BEFORE}(?P<date>'(?P<y>\d\d))(?!\w)",
        rf"{_FREE}(?P<date>{_YEAR})(?![\w/]|[.,-]\d| ?(?:(?:mg|ml|g|kcal|u|ui|iu)\b|/))",
    ]
    if name is None:
        return bare
    return [*bare, rf"{_BEFORE}(?P<date>{name})(?!\w)"]


def _forms_alone(name: str | None) -> list[str]:
    """Forms of what is known to be a date."""
    first, second = _ANY.format("p"), _ANY.format("q")
    alone = [
        rf"{_FREE}(?P<date>{first}(?P<s>[/.-]){second}){_END}",
        rf"{_FREE}(?P<date>{_M}/(?P<y>\d\d)){_END}",
    ]
    return alone if name is None else [*alone, rf"(?<!\w)(?P<date>{name})(?!\w)"]


def _finding(match: re.Match[str], strength: Strength) -> Finding:
    start, end = match.span("date")
    return Finding(start, end, Category.DATE, "date", strength)


def _size(match: re.Match[str]) -> int:
    return match.end("date") - match.start("date")


def _full_year(year: str) -> int:
    digits = year.lstrip("'")
    if len(digits) == 4:
        return int(digits)
    return int(digits) + (1900 if int(digits) >= _PIVOT else 2000)


def _ordinal(day: int, like: str) -> str:
    if like == "er":
        return "er" if day == 1 else ""
    if 11 <= day <= 13:
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def _is_time(text: str) -> bool:
    return _TIME.fullmatch(text) is not None
