"""Identifiers in words, and forms without a digit: days, seasons, ages, addresses of the net."""

from __future__ import annotations

import re
from functools import cache

import pytest
from support.deidentify import SECRET, everything

from actors.config.deidentify import Category, Deidentify, DeidentifyLanguage
from actors.deidentify import Deidentifier
from actors.deidentify.ages import generalised_age
from actors.deidentify.dates import Dates
from actors.deidentify.detector import Detector
from actors.deidentify.numerals import numbers, ordinals
from actors.spans import Annotations


@cache
def detector(language: DeidentifyLanguage) -> Detector:
    return Detector(everything(language))


def taken(language: DeidentifyLanguage, text: str) -> set[int]:
    """The places of a text that rules take."""
    return {i for f in detector(language).find(text) for i in range(f.start, f.end)}


# What is to be taken is in brackets.
WHOLE: list[tuple[DeidentifyLanguage, str]] = [
    ("en", "He was seen on [March the third, 2020]."),
    ("en", "Seen on the [third of March]."),
    ("en", "Appointment on [March third, 2021]."),
    ("en", "A visit on the [twenty-first of January 2020]."),
    ("en", "Admitted [Monday], [March 3]."),
    ("en", "We meet [Monday] at noon."),
    ("en", "He came on [friday] morning."),
    ("en", "Seen [last Friday]."),
    ("en", "[Fri] [3/5/2021] was the visit."),
    ("en", "Born in [nineteen sixty-one]."),
    ("en", "In the [spring of 2019] it began."),
    ("en", "On [Christmas Day 2019] he fell; on [Thanksgiving] again."),
    ("en", "Due in [Q3 2021], [week 32/2021] or [2021-W32]."),
    ("en", "Stamp [20210305T101500] there."),
    ("en", "The date [20/11//2014] is a slip, [26 09.2033] and [3/20009], too."),
    ("en", "She was discharged from the ward [yesterday]."),
    ("en", "Was admitted [last week] with pain."),
    ("en", "She is a [sixty-seven-year-old] woman."),
    ("en", "A [ninety-two year old] man, aged [ninety-two]."),
    ("en", "A [six-month-old] infant."),
    ("en", "A [67 y.o.] man, [67]F with cough."),
    ("en", "See [clinic-portal.health] and [patients.hospital.io]."),
    ("en", "At [mychart.example.app/login] and [example.dev]."),
    ("en", "Twitter [@jdoe1975] posts."),
    ("en", "Sort code [12-34-56], BIC: [DEUTDEFFXXX], SWIFT [DEUTDEFF500]."),
    ("en", "Sent to [1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa]."),
    ("en", "Case no. [2:19-cv-01234] is open."),
    ("en", "At [37.7749° N, 122.4194° W], or [lat 37.77, long -122.41]."),
    ("en", "Username: [jdoe75]"),
    ("en", "Flat in\n  12 Elm Street Apt. 762\n  Springfield\n  [06230]\n"),
    ("en", "Reg Inc\n  5 Suite 838\n  Old Town\n  NS\n  [B0J 2H0]"),
    ("en", "Sent to 12 Elm Street Apt. 4, Old Town, NS [06230]."),
    ("en", "She lives in [Germany] [20095]; write to [20095], [Germany]."),
    ("en", "He has moved to Boston, [02115]; the clinic is in Boston, Massachusetts [02116]."),
    ("en", "Flat 3, 12 High Street, London [SW1A1AA]"),
    ("en", "PIN code [560001]; Singapore [048616]."),
    ("en", "Storgata 4\n[0155] Oslo"),
    ("en", "He lives at ul. Rynek 12, [31-042] Krakow or Damrak 1, [1012 LG] Amsterdam."),
    ("en", "Box 12, [S-111 22] Stockholm; Vodickova 2, [110 00] Praha"),
    ("en", "A 70-year-old [African American] male, [Jewish], [married], of [Italian] descent."),
    ("en", "Race: [White]. Religion: [none]. A [Black] woman."),
    ("es", "Varón de 49 años, [peruano], de [raza blanca], [casado]; origen [boliviano]."),
    ("es", "Un paciente [homosexual] de nacionalidad [búlgara]."),
    ("es", "Mujer [caucásica], [viuda], testigo: [testigo de Jehová]."),
    ("de", "Pat. ist [verwitwet], [türkischer] Herkunft. Konfession: [evangelisch]."),
    ("fr", "Femme [mariée], d'origine [italienne]."),
    ("en", "Signature: [Jn Dxemann]"),
    ("es", "Firma: [Jn Dxemann]. Firmado por [Jn Dxemann]."),
    ("de", "Unterschrift: [Jn Dxemann]"),
    ("es", "El [tres de marzo de 2020] y el [dos de mayo]."),
    ("es", "Mujer de [sesenta y siete años], niña de [ocho años] de edad."),
    ("es", "En la [primavera de 2019]; visto el [lunes pasado]."),
    ("es", "Acudió a consulta [la semana pasada]."),
    ("es", "Matrícula [1234 BCD] del coche."),
    ("de", "Am [dritten März 2020] und am [Montag]."),
    ("de", "Wurde [letzte Woche] entlassen, [12. KW 2020]."),
    ("de", "Im [Frühjahr 2019] eine [siebenundsechzigjährige] Frau."),
    ("de", "Von [Juni] bis [November 2019] Therapie, FOLFOX [6-9/19]"),
    ("de", "Personalausweis [L01X00T471], VNR [12 150378 A 123]."),
    ("fr", "Le [trois mars 2020] et [lundi dernier]."),
    ("fr", "Patiente âgée de [soixante-sept ans], un homme de [quatre-vingt-douze ans]."),
    ("fr", "Immatriculation [AB-123-CD] du camion."),
]


@pytest.mark.parametrize(("language", "marked"), WHOLE)
def test_what_is_in_brackets_is_taken_whole(language: DeidentifyLanguage, marked: str) -> None:
    text, places = "", []
    for part in re.split(r"(\[[^\]]*\])", marked):
        if part.startswith("["):
            places.append((len(text), len(text) + len(part) - 2))
            part = part[1:-1]
        text += part
    found = taken(language, text)
    for start, end in places:
        assert {i for i in range(start, end) if text[i].isalnum()} <= found, text[start:end]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Methotrexate every Monday."),
        ("en", "Dialysis on Monday, Wednesday and Friday"),
        ("en", "Open Monday-Friday."),
        ("en", "One may argue that two may be enough."),
        ("en", "It may first be tried."),
        ("en", "Pain since last week, worse yesterday."),
        ("en", "He did so. 3 days later it was better, sat. 98 % then."),
        ("en", "For two years he had pain."),
        ("en", "Fall risk, spring water, in summer."),
        ("en", "Pain.site of it is the hip."),
        ("en", "He cannot handle stress."),
        ("en", "A swift recovery."),
        ("en", "Plaques in Old Town, 4500 cases."),
        ("en", "Stage two disease, grade three."),
        ("de", "Die Firma Siemens."),
        ("en", "Fever of unknown origin; a white blood count, black stool, a single lesion."),
        ("en", "Platelets 250000, aortic valve of native origin."),
        ("es", "De origen desconocido; gripe española, fiebre de origen central. Marie."),
        ("es", "Paciente polimedicado de origen indirecto o policlonal, indicado."),
        ("es", "Desde hace dos años con dolor."),
        ("es", "Diálisis los lunes y los miércoles."),
        ("es", "El dolor empezó la semana pasada."),
        ("de", "Methotrexat jeden Montag."),
        ("fr", "Le lundi, il va bien depuis deux ans."),
    ],
)
def test_what_identifies_nobody_is_left(language: DeidentifyLanguage, text: str) -> None:
    assert not taken(language, text)


@pytest.mark.parametrize(
    ("value", "general"),
    [
        ("sixty-seven-year-old", "sixty-seven-year-old"),
        ("ninety-two year old", "90+ year old"),
        ("one hundred and two years old", "90+ years old"),
        ("noventa y dos años", "90+ años"),
        ("siebenundneunzigjährige", "90+jährige"),
        ("quatre-vingt-douze ans", "90+ ans"),
        ("soixante-sept ans", "soixante-sept ans"),
        ("92-year-old", "90+-year-old"),
        ("elderly", None),
    ],
)
def test_ages_in_words_are_generalised(value: str, general: str | None) -> None:
    assert generalised_age(value) == general


def test_a_date_with_more_beside_it_is_masked_and_not_shifted() -> None:
    dates = Dates(("en", "de"))
    for date, next_day in (
        ("March 3, 2020", "March 4, 2020"),
        ("3/4/2021", "3/5/2021"),
        ("2024-03-05", "2024-03-06"),
        ("15.01.2024", "15.02.2024"),
        ("25/01/2024", "26/01/2024"),
        ("Jan 15th, 2023", "Jan 16th, 2023"),
    ):
        assert dates.shifted(date, 31 if "15.01" in date else 1) == next_day
    for more in ("Monday, March 3, 2020", "third of March 2020", "spring of 2019", "KW 12/2020"):
        assert dates.shifted(more, 1) is None, more
    config = Deidentify.model_validate({"policies": {"DATE": "shift"}})
    done = Deidentifier(config, SECRET).apply("Seen Monday, March 3, 2020.", Annotations(), "p")
    assert done.text is not None
    assert done.text.startswith("Seen [DATE], ")
    assert [edit.category for edit in done.map.edits] == [Category.DATE] * 2


def test_numerals_are_those_of_four_languages() -> None:
    for words, value in {
        "seventy one": 71,
        "veintitres": 23,
        "ochenta y nueve": 89,
        "einundzwanzig": 21,
        "hundertneunzehn": 119,
        "soixante et onze": 71,
        "quatre vingt dix neuf": 99,
    }.items():
        assert numbers()[words] == value
    assert ordinals()["thirty first"] == ordinals()["einunddreissigsten"] == 31
    assert ordinals()["dritten"] == 3


def test_a_surname_that_is_a_status_stays_a_name() -> None:
    config = Deidentify.model_validate({"languages": ["es"]})
    done = Deidentifier(config).apply("Vista por la Dra. Ana Casado.", Annotations(), "p")
    assert done.text == "Vista por la Dra. [NAME]."


def test_demographics_are_taken_by_strict_alone() -> None:
    text = "A Hispanic woman, married."
    for preset, new in (
        ("strict", "A [DEMOGRAPHIC] woman, [DEMOGRAPHIC]."),
        ("safe_harbour", text),
        ("limited", text),
    ):
        config = Deidentify.model_validate({"preset": preset})
        assert Deidentifier(config).apply(text, Annotations(), "p").text == new
