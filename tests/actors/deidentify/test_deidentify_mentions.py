"""Other forms of found names, whatever their case and order, and words that only look like them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.config.deidentify import Deidentify
from actors.deidentify import Deidentifier
from actors.deidentify.dictionaries import common_words, faker_list
from actors.deidentify.name_mentions import Mentions
from actors.spans import Annotations


def found(text: str, *names: str) -> list[str]:
    return [text[one.start : one.end] for one in Mentions(names).find(text)]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("John Smith", "SMITH, J."),
        ("John Smith", "J. Smith"),
        ("John Smith", "J Smith"),
        ("John Smith", "Smith J"),
        ("John Smith", "smith"),
        ("John Smith", "J.S."),
        ("Smith, John Martin", "J. M. S."),
        ("John Martins", "Martins"),
        ("Sean O'Connor", "OCONNOR"),
        ("Sean O'Connor", "O’Connor"),
        ("Ana García-López", "LOPEZ"),
        ("Anna van der Berg", "A. van der Berg"),
        ("Anna van der Berg", "VAN DER BERG, A."),
        ("María de la Cruz", "De la Cruz"),
        ("Jürgen Groß", "GROSS"),
        ("Jürgen Müller", "Müllers"),
        ("Mei Li", "Li"),
        ("Mei Li", "LI, M."),
    ],
)
def test_forms_of_a_name(name: str, form: str) -> None:
    assert found(f"then {form} came back", name) == [form]


def test_an_ending_is_no_part_of_the_name_that_owns() -> None:
    assert found("Dr Smith's note", "John Smith") == ["Smith"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Mary Long", "it will take long"),
        ("Mary Long", "A long time ago. Long lasting pain."),
        ("Will Brown", "Will follow up. He will call. brown sputum"),
        ("John Smith", "smithy and Smit"),
        ("John Smith", "given P.O. and at 8 A.M."),
        ("Paul Osman", "given P.O. twice"),
        ("Anna Berg", "the Bergamot, van der Tuin"),
        ("Anna van der Berg", "he ran de novo, la vie"),
        ("Mei Li", "Li 0.8 mmol/l"),
        ("Wei An", "An aspirin"),
    ],
)
def test_words_that_only_look_like_a_name(name: str, text: str) -> None:
    assert found(text, name) == []


def test_a_given_name_that_is_a_title_too() -> None:
    text = "Smith, Don came. BEN said: Don't. I don't know Dr Benning, don Pedro."
    assert found(text, "Don Smith") == ["Smith", "Don"]
    assert found(text, "Ben Smith") == ["Smith", "BEN"]


def test_a_word_at_the_beginning_of_a_sentence_with_evidence_of_a_name() -> None:
    text = "How long? Long came back. LONG, M. was well. Long history."
    assert found(text, "Mary Long") == ["Long", "LONG, M."]


_GIVEN = st.sampled_from(faker_list("person", "en_US", "first_names_male")[:150])
_SURNAME = st.sampled_from(faker_list("person", "en_US", "last_names")[:300])
_SURNAMES = st.one_of(
    _SURNAME,
    st.tuples(_SURNAME, _SURNAME).map("-".join),
    st.tuples(st.sampled_from(["van der", "de la", "von"]), _SURNAME).map(" ".join),
)
_FORMS = st.sampled_from(
    [
        "{given} {surname}", "{surname}, {given}", "{surname}, {initial}.", "{initial}. {surname}",
        "{initial} {surname}", "{surname} {initial}", "{SURNAME}, {INITIAL}.", "Dr {surname}'s",
        "{SURNAME}", "{surname}", "{GIVEN}", "{given}",
    ]
)  # fmt: skip
_DEIDENTIFIER = Deidentifier(Deidentify(preset="strict"))


@given(_GIVEN, _SURNAMES, st.lists(_FORMS, min_size=1, max_size=3))
@settings(max_examples=80, deadline=None)
def test_no_form_of_a_found_name_is_left(given: str, surname: str, forms: list[str]) -> None:
    words = {
        "given": given, "surname": surname, "initial": given[0],
        "GIVEN": given.upper(), "SURNAME": surname.upper(), "INITIAL": given[0],
    }  # fmt: skip
    lines = "".join(f"It was {form.format(**words)} who came.\n" for form in forms)
    done = _DEIDENTIFIER.apply(f"Patient: {given} {surname}\n{lines}", Annotations(), "p")
    assert done.text is not None
    left = done.text.replace("[NAME]", "").replace("'s", "")
    for line in left.splitlines()[1:]:
        rest = line.removeprefix("It was").removesuffix("who came.")
        assert not any(c.isalpha() for c in rest.replace("Dr ", "")), line


@given(_GIVEN, _SURNAME, st.lists(st.sampled_from(sorted(common_words())), max_size=12))
@settings(max_examples=60, deadline=None)
def test_common_words_in_lower_case_stay(given: str, surname: str, words: list[str]) -> None:
    text = " ".join(words)
    assert found(text, f"{given} {surname}") == []
