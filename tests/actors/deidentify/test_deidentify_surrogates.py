from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ROOT
from support.deidentify import SECRET

from actors.config.deidentify import Category
from actors.deidentify.accent_folding import key_of
from actors.deidentify.keys import SecretKey
from actors.deidentify.surrogates import NoneLeft, Surrogates

_KEY = SecretKey(SECRET)
_VALUES = [
    (Category.NAME, "John Smith"),
    (Category.NAME, "Clara Bennett"),
    (Category.MRN, "ST-998877"),
    (Category.PHONE, "(702) 555-1234"),
    (Category.CITY, "Chicago"),
    (Category.EMAIL, "j.smith@mail.com"),
    (Category.HOSPITAL, "Elm Clinic"),
    (Category.STREET, "12 Main Street"),
]
_Value = tuple[Category, str]


def of(patient: str, category: Category, value: str, taken: frozenset[str] = frozenset()) -> str:
    return Surrogates(_KEY, patient, ("en",), taken).of(category, value)


@given(st.text(), st.permutations(_VALUES))
@settings(max_examples=30)
def test_the_order_of_values_does_not_matter(patient: str, order: list[_Value]) -> None:
    one = Surrogates(_KEY, patient, ("en",), frozenset())
    assert {v: one.of(*v) for v in order} == {v: of(patient, *v) for v in _VALUES}


def test_another_process_gives_the_same() -> None:
    script = (
        f"import sys; sys.path[:0] = {[str(ROOT / 'tests'), str(Path(__file__).parent)]!r}\n"
        "import test_deidentify_surrogates as t\n"
        "print([t.of('p', *v) for v in t._VALUES])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str([of("p", *value) for value in _VALUES])


@given(st.lists(st.text(), min_size=2, max_size=2, unique=True))
@settings(max_examples=30)
def test_two_patients_differ(patients: list[str]) -> None:
    first, second = ([of(patient, *value) for value in _VALUES] for patient in patients)
    assert first != second


def test_mentions_of_one_person_stay_one_person() -> None:
    given_name, surname = of("p", Category.NAME, "John Smith").split()
    assert of("p", Category.NAME, "SMITH, JOHN") == f"{surname}, {given_name}".upper()
    assert of("p", Category.NAME, "Smith, J.") == f"{surname}, {given_name[0]}."
    assert of("p", Category.NAME, "Dr. von Smith") == f"Dr. von {surname}"


def test_gender_and_language_are_kept() -> None:
    from actors.deidentify.surrogates import _FEMALE, _MALE, _folded_names

    for patient in map(str, range(20)):
        spanish = Surrogates(_KEY, patient, ("es",), frozenset())
        assert key_of(spanish.of(Category.NAME, "Lucía")) in _folded_names(_FEMALE)
        assert key_of(of(patient, Category.NAME, "Robert")) in _folded_names(_MALE)


@given(st.from_regex(r"\A[A-Z]{0,3}-?[0-9]{4,9}\Z"), st.text(max_size=5))
def test_a_number_keeps_its_shape(value: str, patient: str) -> None:
    def shape(text: str) -> str:
        return "".join("9" if c.isdigit() else "A" if c.isalpha() else c for c in text)

    made = of(patient, Category.MRN, value)
    assert shape(made) == shape(value)
    assert made != value


@given(st.text(max_size=5), st.sampled_from(_VALUES), st.integers(1, 8))
@settings(max_examples=30)
def test_a_real_value_is_passed_over(patient: str, value: _Value, times: int) -> None:
    taken: set[str] = set()
    for _ in range(times):
        made = of(patient, *value, frozenset(taken))
        words = {key_of(word) for word in made.split()} | {key_of(made)}
        if value[0] is Category.NAME:
            assert not words & taken
            taken |= words
        else:
            assert key_of(made) not in taken
            taken.add(key_of(made))


def test_no_surrogate_if_every_candidate_occurs_in_the_text() -> None:
    with pytest.raises(NoneLeft):
        of("p", Category.ID, "7", frozenset("0123456789"))


def test_a_decomposed_name_is_replaced_with_its_accents() -> None:
    assert "́" not in of("p", Category.NAME, "Jose\u0301 Pe\u0301rez")


def test_a_key_is_long_and_never_shown() -> None:
    with pytest.raises(ValueError, match="5 bytes"):
        SecretKey(b"short")
    assert "secret" not in repr(_KEY)


@given(st.text(), st.integers(1, 400))
def test_a_shift_is_never_nothing(patient: str, most: int) -> None:
    days = _KEY.days(patient, most)
    assert 1 <= abs(days) <= most
    assert days == SecretKey(SECRET).days(patient, most)
