"""Amounts as they are written, and what they say."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.claims.forms import find_amounts, read_amount


def found(text: str) -> list[tuple[str, str]]:
    return sorted((label, text[start:end]) for label, start, end in find_amounts(text))


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("Amlodipine5mg OD", [("DOSE", "5mg"), ("FREQUENCY", "OD")]),
        ("½ tablet 1-0-1", [("DOSE", "½ tablet"), ("FREQUENCY", "1-0-1")]),
        ("LDL 130 mg/dl, BP 120 mmHg", [("QUANTITY", "120 mmHg"), ("QUANTITY", "130 mg/dl")]),
        ("2 mg/kg q8h", [("DOSE", "2 mg/kg"), ("FREQUENCY", "q8h")]),
        ("seen on 12/03/2024 and 3 May 2023", [("DATE", "12/03/2024"), ("DATE", "3 May 2023")]),
        ("3 fois par jour, 3 jours", [("DURATION", "3 jours"), ("FREQUENCY", "3 fois par jour")]),
        ("vitamin B12, HbA1c, 3x4", []),
    ],
)
def test_amounts_are_found(text: str, amounts: list[tuple[str, str]]) -> None:
    assert found(text) == amounts


@pytest.mark.parametrize(
    ("label", "one", "other"),
    [
        ("DOSE", "0.5 mg", "500 mcg"),
        ("DOSE", "1 g", "1000 mg"),
        ("DOSE", "0,5 mg", "0.50mg"),
        ("DOSE", "two tablets", "2 tabs"),
        ("DOSE", "5-10 mg", "5 to 10 mg"),
        ("DURATION", "two weeks", "14 days"),
        ("DURATION", "1 year", "12 months"),
        ("FREQUENCY", "BID", "twice a day"),
        ("FREQUENCY", "q12h", "b.i.d."),
    ],
)
def test_two_spellings_of_one_amount_are_equal(label: str, one: str, other: str) -> None:
    assert read_amount(label, one) == read_amount(label, other)


@pytest.mark.parametrize(
    ("label", "one", "other"),
    [
        ("DOSE", "5 mg", "5 mg/kg"),
        ("DOSE", "5 mg", "5 ml"),
        ("DOSE", "10 mg", "5-10 mg"),
        ("DOSE", "2 tablets", "2 capsules"),
        ("DURATION", "1 month", "30 days"),
        ("FREQUENCY", "at night", "every morning"),
        ("DOSE", "1,000 mg", "1 mg"),
    ],
)
def test_different_amounts_are_not_equal(label: str, one: str, other: str) -> None:
    assert not read_amount(label, one).supports(read_amount(label, other))
    assert not read_amount(label, other).supports(read_amount(label, one))


def test_a_time_of_day_is_more_than_a_frequency() -> None:
    daily, night = read_amount("FREQUENCY", "once daily"), read_amount("FREQUENCY", "at bedtime")
    assert night.supports(daily)
    assert not daily.supports(night)


@given(st.decimals(min_value="0.01", max_value=999, places=2))
def test_a_mass_is_the_same_in_every_unit(mass: Decimal) -> None:
    milligrams = read_amount("DOSE", f"{mass.normalize():f} mg")
    assert milligrams.numbers == (mass,)
    assert read_amount("DOSE", f"{mass * 1000:.0f} mcg") == milligrams


@given(st.text(max_size=60))
def test_any_words_can_be_read(text: str) -> None:
    places = list(find_amounts(text))
    assert all(0 <= start < end <= len(text) for _, start, end in places)
    for label, start, end in places:
        amount = read_amount(label, text[start:end])
        assert amount.supports(amount)
