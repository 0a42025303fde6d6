import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.linking import term_keys


def folded(text: str) -> int:
    return term_keys.folded_key(term_keys.stems(term_keys.words(text)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Tumours", "tumor"),
        ("Haemorrhage", "hemorrhage"),
        ("oesophageal varices", "esophageal varices"),
        ("metastases", "metastasis"),
        ("biopsies", "biopsy"),
        ("Carcinomata", "carcinoma"),
        ("diabetes mellitus, type II", "Type 2 Diabetes Mellitus"),
        ("Parkinson's disease", "Parkinson disease"),
        ("cancer of the breast", "breast cancer"),
        ("Sjögren", "sjogren"),
        ("β-thalassaemia", "beta thalassemia"),
        ("paralyses", "paralysis"),
        ("500mg tablet", "tablets 500 mg"),
        ("deficiency of the third component", "component 3 deficiency"),
        ("glaucoma type XI", "glaucoma 11 type"),
        ("Kidney failure, included", "kidney failure"),
        ("non-polyposis cancer", "cancer, nonpolyposis"),
        ("post traumatic stress", "posttraumatic stress"),
    ],
)
def test_spellings_of_one_name_fold_alike(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("diabetes without complications", "diabetes with complications"),
        ("type 1 diabetes", "type 2 diabetes"),
        ("hypertension", "hypotension"),
        ("Hodgkin lymphoma", "non-Hodgkin lymphoma"),
        ("polyposis without cancer", "non-polyposis cancer"),
    ],
)
def test_different_diseases_do_not_fold_alike(one: str, other: str) -> None:
    assert folded(one) != folded(other)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("non-small cell", ["nonsmall", "cell"]),
        ("pre and post operative", ["pre", "and", "postoperative"]),
        ("pre- or postnatal", ["pre", "or", "postnatal"]),
        ("non", ["non"]),
        ("hyper 5", ["hyper", "5"]),
    ],
)
def test_a_prefix_is_part_of_the_word_after_it(text: str, words: list[str]) -> None:
    assert term_keys.words(text) == words


def test_the_joined_key_ignores_where_the_spaces_are() -> None:
    def joined(text: str) -> int:
        return term_keys.joined_key(term_keys.words(text))

    assert joined("A-T") == joined("AT")
    assert joined("hereditary non-polyposis cancer") == joined("hereditary nonpolyposis cancer")


def test_salts_and_forms_go_unless_they_are_all() -> None:
    def bare(text: str) -> list[str]:
        return term_keys.bare_stems(term_keys.stems(term_keys.words(text)))

    assert bare("metformin hydrochloride tablets") == term_keys.stems(["metformin"])
    assert bare("sodium chloride") == []


def test_keys_are_those_of_every_process() -> None:
    # Written down on purpose: indexes hold keys, and another value would find nothing in them.
    assert term_keys.key("f metformin") == 18413032038565177533


@given(st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=12), min_size=1, max_size=6))
def test_word_order_and_case_do_not_matter(words: list[str]) -> None:
    assert folded(" ".join(words)) == folded(" ".join(reversed(words)).title())


@given(st.text(max_size=60))
def test_any_text_folds(text: str) -> None:
    stems = term_keys.stems(term_keys.words(text))
    assert all(stems)
    term_keys.folded_key(stems)
