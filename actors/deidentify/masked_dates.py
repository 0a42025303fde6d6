"""Dates that are found and never read: days in words, days of the week, seasons, slips of the pen.

They are masked; a part of one that was shifted would tell the shift.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from actors.deidentify.calendar import Month
from actors.deidentify.numerals import number_after, number_before, ordinal_after, ordinal_before

_Place = tuple[int, int]
_Rule = Callable[[str, int, int], _Place | None]
"""Takes a folded text and the place of a word in it; returns the place of a date, or None."""

_WORD = re.compile(r"[^\W\d_]+")
_YEAR = r"(?:18|19|20)\d\d"
_DAYS_EN = "monday tuesday wednesday thursday friday saturday sunday"
_DAYS_ES = "lunes martes miercoles jueves viernes sabado domingo"
_DAYS_DE = "montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag"
_DAYS_FR = "lundi mardi mercredi jeudi vendredi samedi dimanche"
_DAYS_SHORT = (
    "mon tue tues wed thu thur thurs fri sat sun lun mie jue vie sab dom mo di mi do fr sa so"
)
_ANY_DAY = "(?:" + "|".join(f"{_DAYS_EN} {_DAYS_ES} {_DAYS_DE} {_DAYS_FR}".split()) + ")"
# What says that a day of the week comes again and again: it is a schedule and no date.
_AGAIN = re.compile(
    r"(?:\b(?:every|each|per|any|alternate|weekly on|cada|los|jede[nmrs]?|immer|chaque|tous les)"
    rf"\s{{1,2}}|\bdays?\s{{1,2}}|{_ANY_DAY}(?:[/,&]|,? and|,? und|,? y|,? et)\s{{0,2}})$"
)
_ALONG = re.compile(
    rf"\s{{0,2}}(?:[/&,]|,? (?:and|und|y|et) )\s{{0,2}}{_ANY_DAY}|[\w-]| (?:morning|night)s\b"
)
_WHICH = re.compile(
    r"(?<!\w)(?:(?:last|next|this|this past|letzte[nr]?|nachste[nr]?|vorige[nr]?) )$"
)
_WHICH_ES = re.compile(r"\bel (?:pasado |proximo )?$")
_WHICH_ES_AFTER = re.compile(r"(?: pasado| proximo)?(?!\w)")
_WHICH_FR = re.compile(r" (?:dernier|prochain|passe|matin|soir)(?!\w)")
_DATE_NEXT = re.compile(r"[.,]{0,2} ?(?:den |the )?\d{1,2}([./-])\d{1,2}\1")
_SEASONS = """spring summer fall autumn winter primavera verano otono invierno fruhjahr fruhling
sommer herbst printemps automne hiver christmas thanksgiving easter halloween navidad nochebuena
nochevieja weihnachten weihnacht heiligabend ostern pfingsten silvester neujahr noel paques"""
_FEASTS = "thanksgiving nochebuena nochevieja heiligabend silvester"
_OF_YEAR = re.compile(
    rf"(?: (?:day|eve|sunday|monday))?(?:,| of| de| del| en| des jahres)? {_YEAR}(?!\d)"
)
_CHRISTMAS_DAY = re.compile(r" (?:day|eve)(?!\w)")
_WEEK_OF = re.compile(rf" \d{{1,2}}(?:/| | of | de )(?:{_YEAR}|(?<=/)\d\d)(?!\d)")
# A day that is told by another one, where somebody was admitted, seen or let go.
_RELATIVE = re.compile(
    r"(?:(?:last|past|next|earlier this|this past) (?:week|month|year|weekend|night|spring|summer"
    r"|fall|autumn|winter)|yesterday|ayer|anteayer|(?:la semana|el (?:mes|ano))"
    r" (?:pasad[oa]|proxim[oa])|gestern|vorgestern|(?:letzte|vorige|nachste)[nrs]?"
    r" (?:woche|monat|jahr)|hier|(?:la semaine|le mois|l'annee) (?:derniere?|prochaine?))(?!\w)"
)
_RELATIVE_HEADS = """last past next earlier this yesterday ayer anteayer la el gestern vorgestern
letzte letzten letzter vorige vorigen voriger nachste nachsten nachster hier le l"""
_ENCOUNTER = re.compile(
    r"(?<!\w)(?:seen|admi(?:tted|ssion)|discharged?|present(?:ed|ing)|visit(?:ed)?|treated"
    r"|transferred|hospitali[sz]ed|consulted|evaluated|operated|surgery|appointment|vist[oa]"
    r"|ingres(?:o|a|ada|ado)|alta|acud(?:e|io)|atendid[oa]|intervenid[oa]|operad[oa]|consulta|cita"
    r"|aufgenommen|entlassen|vorgestellt|operiert|verlegt|behandelt|vorstellung|aufnahme"
    r"|entlassung|vue?|admise?|hospitalisee?|sortie?|operee?|consultee?)(?!\w)"
)
_NEAR = 80  # characters, within a sentence
_CLAUSE = re.compile(r"(?<=\w\w\w)[.;!?]\s|\n")
_AFTER_MONTH = re.compile(rf",? (?:de[l]? |of )?{_YEAR}(?!\d)")
_TO_MONTH = r" ?(?:bis|to|through|until|und|and|a|y|et|au|-|–) ?(?:{})\.? (?:de[l]? )?{}"
_NUMERIC = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?<!\w)q[1-4](?: |/|-)?{_YEAR}(?!\d)",
        rf"(?<!\w){_YEAR}(?:-w| w)\d\d(?!\d)",
        rf"(?<!\w)\d{{1,2}}\. kw(?: {_YEAR})?(?!\d)",
        r"(?<!\w)(?:19|20)\d{6}t\d{4,6}z?(?!\w)",
        r"\bon the (?:\d{1,2}(?:st|nd|rd|th))(?= of the month|[.,;)\n]|$)",
        # Slips of the pen, and months in Roman numerals.
        r"(?<![\w/.,-])\d{1,3}([-/.])\d{1,3}\1(?:19|20)\d\d(?!\d)",
        r"(?<![\w/.,-])\d{1,2}([-/. ])(?:i{1,3}|iv|vi{0,3}|ix|xi{0,2})\1(?:19|20)\d\d(?!\d)",
        # "20/11//2014", "26 09.2033", "3/20009"
        r"(?<![\w/.,-])(?:0?[1-9]|[12]\d|3[01])[-/. ]{1,2}(?:0[1-9]|1[0-2])[-/. ]{1,2}"
        r"(?:19|20)\d\d(?!\d)",
        r"(?<![\w/.,-])(?:0?[1-9]|1[0-2])/(?:19|20)\d{3}(?!\d)",
    )
)


class MaskedDates:
    """Finds these dates in folded texts; ``months``: the names of months, folded."""

    def __init__(self, months: Mapping[str, Month]) -> None:
        self._months = months
        names = "|".join(map(re.escape, months))
        self._to_month = re.compile(_TO_MONTH.format(names, _YEAR)) if months else None
        rules: list[tuple[str, _Rule]] = [
            (f"{_DAYS_EN} {_DAYS_DE}", _weekday),
            (_DAYS_ES, _weekday_es),
            (_DAYS_FR, _weekday_fr),
            (_DAYS_SHORT, _weekday_short),
            (_SEASONS, _season),
            (_RELATIVE_HEADS, _relative),
            ("week kw semana semaine", lambda text, start, end: _whole(_WEEK_OF, text, start, end)),
            ("nineteen two twenty", _year_in_words),
        ]
        self._rules: dict[str, list[_Rule]] = {}
        for words, rule in rules:
            for word in words.split():
                self._rules.setdefault(word, []).append(rule)

    def find(self, folded: str) -> Iterator[_Place]:
        """The places of such dates, overlapping ones included."""
        for pattern in _NUMERIC:
            for match in pattern.finditer(folded):
                yield match.span()
        for word in _WORD.finditer(folded):
            for rule in self._rules.get(word[0], ()):
                place = rule(folded, *word.span())
                if place is not None:
                    yield place
            if word[0] in self._months:
                yield from self._around_month(folded, word[0], *word.span())

    def _around_month(self, folded: str, name: str, start: int, end: int) -> Iterator[_Place]:
        """A month with its day in words, or the first of a range."""
        year = _AFTER_MONTH.match(folded, end)
        last = end if year is None else year.end()
        for joint in (" of ", " de ", " "):
            if not folded.endswith(joint, 0, start):
                continue
            at = start - len(joint)
            day = ordinal_before(folded, at)
            # "one may", "two march on" are no dates
            if day is None and (joint == " de " or self._months[name].language == "fr"):
                number = number_before(folded, at)
                day = None if number is None or number[1] > 31 else number[0]
            if day is not None:
                yield day, last
        the = " the " if folded.startswith(" the ", end) else " "
        after = ordinal_after(folded, end + len(the)) if folded.startswith(the, end) else None
        if after is not None:
            year = _AFTER_MONTH.match(folded, after)
            if name != "may" or the == " the " or year is not None:
                yield start, after if year is None else year.end()
        if self._to_month is not None and self._to_month.match(folded, end):
            yield start, end


def _weekday(folded: str, start: int, end: int) -> _Place | None:
    before = folded[max(0, start - 24) : start]
    if _AGAIN.search(before) or _ALONG.match(folded, end) or before.endswith("-"):
        return None
    which = _WHICH.search(before)
    return start - (0 if which is None else len(which[0])), end


def _weekday_es(folded: str, start: int, end: int) -> _Place | None:
    named = _WHICH_ES.search(folded, max(0, start - 14), start)
    if named is None or _ALONG.match(folded, end):
        return None
    return _whole(_WHICH_ES_AFTER, folded, start, end)


def _weekday_fr(folded: str, start: int, end: int) -> _Place | None:
    return _whole(_WHICH_FR, folded, start, end)


def _weekday_short(folded: str, start: int, end: int) -> _Place | None:
    return None if _DATE_NEXT.match(folded, end) is None else (start, end)


def _season(folded: str, start: int, end: int) -> _Place | None:
    place = _whole(_OF_YEAR, folded, start, end)
    if place is None and folded[start:end] in _FEASTS.split():
        return start, end
    if place is None and folded[start:end] == "christmas":
        return _whole(_CHRISTMAS_DAY, folded, start, end)
    return place


def _relative(folded: str, start: int, end: int) -> _Place | None:
    match = _RELATIVE.match(folded, start)
    if match is None:
        return None
    before = _CLAUSE.split(folded[max(0, start - _NEAR) : start])[-1]
    after = _CLAUSE.split(folded[match.end() : match.end() + _NEAR])[0]
    near = _ENCOUNTER.search(before) or _ENCOUNTER.search(after)
    return match.span() if near else None


_CENTURY = re.compile(r"nineteen(?: hundred)?[ -]|two thousand(?: and)? |(?<=in )twenty[ -]")


def _year_in_words(folded: str, start: int, end: int) -> _Place | None:
    century = _CENTURY.match(folded, start)
    after = None if century is None else number_after(folded, century.end())
    if after is None or not 1 <= after[1] <= 99 or (folded[start] == "n" and after[1] < 10):
        return None
    return start, after[0]


def _whole(pattern: re.Pattern[str], folded: str, start: int, end: int) -> _Place | None:
    """The word and what the pattern finds after it."""
    match = pattern.match(folded, end)
    return None if match is None else (start, match.end())
