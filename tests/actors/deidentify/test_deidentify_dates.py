from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.config.deidentify import DeidentifyLanguage
from actors.deidentify.calendar import MONTHS
from actors.deidentify.dates import Dates

_EN, _ES, _DE, _FR, _VI = (Dates((language,)) for language in ("en", "es", "de", "fr", "vi"))


@pytest.mark.parametrize(
    ("dates", "text", "found", "shifted"),
    [
        (_EN, "on 2023-01-15 12:20", "2023-01-15 12:20", "2023-02-24 12:20"),
        (_EN, "seen January 5, 2023.", "January 5, 2023", "February 14, 2023"),
        (_EN, "seen Jan 15th, 2023", "Jan 15th, 2023", "Feb 24th, 2023"),
        (_EN, "on May 30th, 2022 (ID", "May 30th, 2022", "July 9th, 2022"),
        (_EN, "on 9/14/2020, cons", "9/14/2020", "10/24/2020"),
        (_EN, "on 08/22, with", "08/22", "10/01"),
        (_EN, "in November 2022", "November 2022", "December 2022"),
        (_EN, "15-MAR-2023", "15-MAR-2023", "24-APR-2023"),
        (_EN, "on Nov 11th '23 (", "Nov 11th '23", "Dec 21st '23"),
        (_ES, "nacimiento: 04/7/1952.", "04/7/1952", "13/8/1952"),
        (_ES, "23-octubre-1972.", "23-octubre-1972", "2-diciembre-1972"),
        (_ES, "En Febrero de 1998 fue", "Febrero de 1998", "Marzo de 1998"),
        (_ES, "nacimiento:12/04 /2011.", "12/04 /2011", "22/05 /2011"),
        (_ES, "el mes de Marzo de ese", "Marzo", "Abril"),
        (_DE, "vom 3.5. bis", "3.5.", "12.6."),
        (_DE, "* 4.4.1997)", "4.4.1997", "14.5.1997"),
        (_DE, "Flensburg, 27. März 2025", "27. März 2025", "6. Mai 2025"),
        (_DE, "(05/18)", "05/18", "06/18"),
        (_DE, "am 15.3.95.", "15.3.95", "24.4.95"),
        (_FR, "le 1er mars 2023", "1er mars 2023", "10 avril 2023"),
        (_VI, "ngày 5 tháng 3 năm 2023", "ngày 5 tháng 3 năm 2023", "ngày 14 tháng 4 năm 2023"),
    ],
)
def test_a_date_is_found_and_shifted_as_it_is_written(
    dates: Dates, text: str, found: str, shifted: str
) -> None:
    longest = max(dates.find(text), key=lambda finding: finding.end - finding.start)
    assert text[longest.start : longest.end] == found
    read = dates.read(found)
    assert read is not None
    assert read.shifted(40) == shifted


@pytest.mark.parametrize(
    ("dates", "text", "found"),
    [
        (_EN, "between 3/4 and 3/9, twice", ["3/4", "3/9"]),
        (_EN, "from 3/4-3/9/2021", ["3/4", "3/9/2021"]),
        (_DE, "vom 1. -  21. Juli 2022", ["1.", "21. Juli 2022"]),
        (_DE, "Resektion 9/20\nTherapie 01/18-06/19, dann", ["9/20", "01/18-06/19"]),
        (_ES, "Ingreso: 0/10/2017.", ["0/10/2017"]),
        (_ES, "nacimiento: 23/010/1990.", ["23/010/1990"]),
        (_ES, "el 3-III-2020 vino", ["3-III-2020"]),
        (_EN, "given 5/6/20-5/8/20.", ["5/6/20", "5/8/20"]),
        (_EN, "5/6 to 5/8", ["5/6 to 5/8"]),
        (_EN, "May 5-8, 2020", ["May 5", "8", "2020"]),
        (_EN, "on 5-8 May 2020", ["8 May 2020"]),
        (_EN, "5th and 6th of May", ["5th", "6th of May"]),
        (_EN, "in '98, on the 5th.", ["'98", "5th"]),
        (_EN, "admitted 5/6, discharged 5/8", ["5/6", "5/8"]),
        (_ES, "el 1º de mayo", ["1º de mayo"]),
        (_ES, "3 de junio de 2.010", ["3 de junio", "junio de 2.010"]),
        (_ES, "a mediados de junio", ["junio"]),
        (_ES, "mayo/11 y 10-2009", ["mayo/11", "10-2009"]),
        (_DE, "3./4. Mai 2020", ["3./", "4. Mai 2020"]),
        (_DE, "3. 4. 20 und 01.2020", ["3. 4. 20", "01.2020"]),
    ],
)
def test_ranges_months_and_slips_of_the_pen(dates: Dates, text: str, found: list[str]) -> None:
    spans = {(finding.start, finding.end) for finding in dates.find(text)}
    words = {text[start:end] for start, end in spans}
    assert not [one for one in found if not any(one.strip("-/") in word for word in words)]
    covered = {i for start, end in spans for i in range(start, end)}
    left = "".join(c for i, c in enumerate(text) if i not in covered)
    assert not any(map(str.isdigit, left))


@pytest.mark.parametrize("text", ["0/10/2017", "23/010/1990", "3-III-2020", "01/18-06/19"])
def test_a_date_that_cannot_be_read_is_masked_and_never_moved(text: str) -> None:
    assert _ES.read(text) is None
    assert _DE.read(text) is None


@pytest.mark.parametrize("text", ["BP 120/80", "5/5 strength", "grade 2/6", "10.5 mg", "2000 mg"])
def test_measurements_are_no_dates(text: str) -> None:
    assert not list(_EN.find(text))
    assert not list(_DE.find(text))


def _forms(day: date, language: DeidentifyLanguage) -> list[str]:
    name, short = (line.split()[day.month - 1] for line in MONTHS[language])
    if language == "en":
        return [
            day.isoformat(),
            f"{day.month}/{day.day}/{day.year}",
            f"{name} {day.day}, {day.year}",
            f"{day.day:02}-{short}-{day.year}",
        ]
    return [day.isoformat(), f"{day:%d.%m.%Y}", f"{day.day}. {name} {day.year}"]


@given(
    st.dates(date(1905, 1, 1), date(2090, 1, 1)),
    st.dates(date(1905, 1, 1), date(2090, 1, 1)),
    st.integers(-365, 365),
    st.sampled_from(["en", "de"]),
)
def test_intervals_are_kept_in_every_form(
    first: date, second: date, days: int, language: DeidentifyLanguage
) -> None:
    dates = Dates((language,))
    shifted = []
    for day in (first, second):
        for form in _forms(day, language):
            read = dates.read(form)
            assert read is not None
            written = read.shifted(days)
            assert written is not None
            again = dates.read(written)
            assert again is not None
            assert again.year is not None
            assert again.month is not None
            assert again.day is not None
            moved = date(again.year, again.month, again.day)
            assert moved == day + timedelta(days=days)
        shifted.append(moved)
    assert shifted[1] - shifted[0] == second - first


def test_non_dates_and_ambiguous_dates_are_not_read() -> None:
    assert _EN.read("last week") is None
    assert _EN.read("26708/2017") is None
    assert _EN.read("1/2/2020 - 3/4/2020") is None
    read = _EN.read("12/31/9998")
    assert read is None or read.shifted(400) is None
