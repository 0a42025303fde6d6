"""Addresses of many countries, in sentences and as lines; numbers that are none."""

from __future__ import annotations

import pytest
from faker import Faker

from actors.config.deidentify import Category
from actors.deidentify.addresses import find_addresses
from actors.deidentify.findings import disjoint

_SENTENCES = ("She lives at {}.", "Address: {}", "{}", "Please send it to {}, thank you.")
# Locales whose addresses the rules are held to, and the share that must be covered whole.
_LOCALES = {
    **dict.fromkeys(("en_US", "en_GB", "en_CA", "de_DE", "de_AT", "de_CH", "fr_FR", "es_ES"), 0.95),
    **dict.fromkeys(("en_AU", "en_IN", "fr_CH", "sv_SE", "da_DK", "nl_NL", "pl_PL", "it_IT"), 0.9),
}


@pytest.mark.parametrize("locale", _LOCALES)
def test_addresses_are_covered_whole(locale: str) -> None:
    faker = Faker(locale)
    faker.seed_instance(11)
    covered = 0
    for i in range(40):
        lines = faker.address()
        address = lines if i % 2 else ", ".join(lines.split("\n"))
        text = _SENTENCES[i // 2 % len(_SENTENCES)].format(address)
        start = text.index(address)
        taken = {at for found in find_addresses(text) for at in range(found.start, found.end)}
        signs = {at for at in range(start, start + len(address)) if text[at].isalnum()}
        covered += signs <= taken
    assert covered >= 40 * _LOCALES[locale]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "743 Rachel Burgs\nNorth Debra, VT 50466",
            {"743 Rachel Burgs": "STREET", "50466": "ZIP", "North Debra": "CITY", "VT": "STATE"},
        ),
        (
            "Flat 0\nFrancesca Plains\nSouth Joyce\nSR08 7UX",
            {"Flat 0\nFrancesca Plains": "STREET", "SR08 7UX": "ZIP", "South Joyce": "CITY"},
        ),
        (
            "wohnt in der Erlerstraße 7/6, 4170 Mureck",
            {"Erlerstraße 7/6": "STREET", "4170": "ZIP", "Mureck": "CITY"},
        ),
        (
            "Viale Goffredo, 19 Piano 2\n13031, Arborio (VC)",
            {"Viale Goffredo, 19 Piano 2": "STREET", "13031": "ZIP", "Arborio (VC)": "CITY"},
        ),
        (
            "39/150\nBal Nagar, Eluru-608377",
            {"39/150\nBal Nagar": "STREET", "608377": "ZIP", "Eluru": "CITY"},
        ),
        (
            "nhà ở 4/68 đường Lê Lợi, Phường An Khê",
            {"4/68 đường Lê Lợi": "STREET", "Phường An Khê": "CITY"},
        ),
        (
            "2613 avenida praia 1 suite 463, mohács, hungary 24743",
            {"mohács": "CITY", "hungary": "CITY", "24743": "ZIP"},
        ),
        (
            "764 Fagradalsbraut 71 Apt. 762\n   Egilsstaðir\n    nan\n    700",
            {
                "764 Fagradalsbraut 71 Apt. 762": "STREET",
                "Egilsstaðir": "CITY",
                "nan": "CITY",
                "700": "ZIP",
            },
        ),
        ("Kept in 12 Rose Cottages Apt. 4 since May", {"12 Rose Cottages Apt. 4": "STREET"}),
        ("She walked to Brixtonlaan 380 today", {"Brixtonlaan 380": "STREET"}),
    ],
)
def test_parts_have_their_categories(text: str, expected: dict[str, str]) -> None:
    found = {text[f.start : f.end]: f.category for f in disjoint(text, find_addresses(text))}
    assert found == {words: Category(name) for words, name in expected.items()}


@pytest.mark.parametrize(
    "text",
    [
        "Sodium 140, 4500 Units of heparin",
        "Platelets 250\nLeukocytes 12000\nFollow up in 2026",
        "Coronary Artery Bypass 3, 2019 Report",
        "Hemoglobin 12, Hematocrit 36, Platelets 250000",
        "Took 12 Tablets, then 5000 Units",
        "Room 12, Ward 4, 10000 Steps daily",
        "John Smith, DOB 3/4/1950, MRN 998877.",
        "Weight 80, BMI 24, NHC 256987",
        "Glucose 98, 70-110 Normal",
        "Glucose 98\n70-110 Normal",
        "METOPROLOL 50, 4500 IU DAILY",
        "Vitamin D 50, B12 1000 Units",
        "Folate 5, B12 5MG DAILY",
        "Seen in Suite 300. The patient takes heparin 5000.",
        "Lives in apt 4, weight: 80",
    ],
)
def test_measurements_are_no_addresses(text: str) -> None:
    assert not list(find_addresses(text))
