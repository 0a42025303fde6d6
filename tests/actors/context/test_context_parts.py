from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.config.context import Context, CueRule, LexiconLanguage
from actors.context.language import LanguageChoice
from actors.context.lexicon import compile_lexicon, cue_phrases, lexicon_file, spelled_phrases
from actors.context.phrases import MOST_FORMS, lowered, spellings, written_out
from actors.context.scan import CueScanner, Rule, literal_start
from actors.context.standards import i2b2_class, omop_modifiers
from actors.spans import Assertion, Experiencer

RULE = Rule("r", "negated", True, False, None, None)


@pytest.mark.parametrize(
    ("phrase", "forms"),
    [
        ("no evidence of", ["no evidence of"]),
        ("No (sign|signs) of", ["no sign of", "no signs of"]),
        ("was [not] seen", ["was seen", "was not seen"]),
        ("a [(b|c) d]", ["a", "a b d", "a c d"]),
    ],
)
def test_choices_are_written_out(phrase: str, forms: list[str]) -> None:
    assert written_out(phrase) == forms


@pytest.mark.parametrize("phrase", ["(a", "a)", "[a", "(a]", "[a]", "(|a)", "(a|b)" * 20])
def test_phrases_that_cannot_be_written_out(phrase: str) -> None:
    with pytest.raises(ValueError, match=re.escape(phrase[:5])):
        written_out(phrase)
    assert MOST_FORMS < 2**20


def test_spellings_leave_short_words_their_accents() -> None:
    assert "evidencia clinica" in spellings("evidencia clínica", True)
    assert spellings("sí", True) == {"sí", "si\u0301"}
    assert "n\u2019a pas" in spellings("n'a pas", False)


@given(st.text(max_size=40))
def test_lower_case_keeps_the_length(text: str) -> None:
    assert len(lowered(text)) == len(text)


PIECES = st.lists(st.sampled_from(["no", "no signs", " ", "  ", "\n", "x", ".", "é", "\u0301"]))


@given(PIECES.map("".join))
def test_the_scanner_finds_what_a_pattern_finds(text: str) -> None:
    scanner = CueScanner({"no": (RULE,), "no signs": (RULE,)}, [])
    word = r"[^\W]|[\u0300-\u036f]"
    pattern = re.compile(rf"(?<!\w)(?<![\u0300-\u036f])no(?:\s+signs)?(?!{word})")
    expected = [match.span() for match in pattern.finditer(text)]
    assert [(mark.start, mark.end) for mark in scanner(text)] == expected


def test_of_overlapping_marks_the_leftmost_longest_stays() -> None:
    other = Rule("p", "pseudo", True, False, None, None)
    scanner = CueScanner({"no": (RULE,), "no change in": (other,), "change": (RULE,)}, [])
    assert [mark.rules for mark in scanner("no change in size")] == [(other,)]


def spans(phrases: Mapping[str, tuple[Rule, ...]], text: str) -> list[tuple[str, str]]:
    """The marks of a text: their words and the id of their first rule."""
    marks = CueScanner(phrases, [])(text)
    return [(text[mark.start : mark.end], mark.rules[0].id) for mark in marks]


def test_a_mark_that_reaches_beyond_the_one_before_it_stays_too() -> None:
    phrases = {"has been negative": (RULE,), "negative for": (RULE,), "been": (RULE,)}
    found = spans(phrases, "it has been negative for x")
    assert [words for words, _ in found] == ["has been negative", "negative for"]
    # Not where it is within a doubt that says the opposite.
    doubt = Rule("d", "uncertain", False, True, None, None)
    phrases = {"cannot be excluded": (doubt,), "excluded on": (RULE,)}
    assert spans(phrases, "cannot be excluded on x") == [("cannot be excluded", "d")]


def test_a_stop_hides_no_cue_in_it() -> None:
    stop = Rule("s", "stop", True, False, None, None)
    doubt = Rule("d", "uncertain", True, False, None, None)
    phrases = {"which suggests": (stop,), "suggests": (doubt,), "which": (stop,)}
    assert spans(phrases, "x which suggests y") == [("which suggests", "s"), ("suggests", "d")]


def test_a_longer_stop_ends_what_the_shorter_ones_in_it_end() -> None:
    config = Context(languages=("en",))
    file = lexicon_file("en").model_copy(
        update={
            "rules": (
                CueRule(id="a", effect="stop", ends=("negated",), cues=("presents with",)),
                CueRule(id="b", effect="stop", ends=("historical",), cues=("presents",)),
            )
        }
    )
    (mark,) = compile_lexicon(file, config).scanner("pt presents with x")
    assert {effect for rule in mark.rules for effect in rule.ends or ()} == {
        "negated",
        "historical",
    }


def test_the_language_with_the_most_function_words_is_chosen() -> None:
    languages = ("en", "vi", "es", "fr", "de")
    choose = LanguageChoice({one: lexicon_file(one).function_words for one in languages})
    assert choose("The patient was seen in the clinic and denies fever.") == "en"
    assert choose("El paciente no presenta fiebre y se encuentra estable con su familia.") == "es"
    assert choose("Le patient est admis pour une dyspnée avec des douleurs.") == "fr"
    assert choose("Der Patient wurde mit einer Pneumonie aufgenommen und ist stabil.") == "de"
    assert choose("Bệnh nhân được đưa vào viện và không có sốt.") == "vi"
    assert choose("Gout.") == "en"


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("en", ["64 y/o, h/o gout", "Gout", "HIV non-reactive", "non-smoker", "rule out sepsis",
                "non-tender abdomen", "mother had breast cancer", "no vomiting", "afebrile"]),
        ("es", ["VIH no reactivo", "insuficiencia renal aguda", "tos crónica", "gota",
                "hipertensión arterial", "abdomen no doloroso", "neumonia aguda"]),
        ("fr", ["Suspicion de fracture.", "Absence d\u2019embolie.", "toux chronique", "dyspnée",
                "hypertension artérielle", "diarrhée depuis 3 jours", "VIH non réactif"]),
        ("de", ["V.a. Thrombose, fraglich.", "chronischer Husten", "akutes Nierenversagen", "Gicht",
                "CT Schädel unauffällig", "Schmerzen linkes Knie", "HIV nicht reaktiv"]),
        ("vi", ["khó thở", "ung thư vú", "suy thận cấp", "HIV âm tính", "đau gối trái"]),
    ],
)  # fmt: skip
def test_short_texts_are_recognised_by_spelling(language: str, texts: list[str]) -> None:
    languages: tuple[LexiconLanguage, ...] = ("en", "vi", "es", "fr", "de")
    choose = LanguageChoice(
        {one: lexicon_file(one).function_words for one in languages},
        {one: cue_phrases(one) for one in languages},
        {one: spelled_phrases(one) for one in languages},
    )
    assert {text: choose(text) for text in texts} == dict.fromkeys(texts, language)


@pytest.mark.parametrize(
    ("assertion", "expected"),
    [
        (Assertion(), "present"),
        (Assertion(negated=True), "absent"),
        (Assertion(uncertain=True, negated=True), "possible"),
        (Assertion(conditional=True), "conditional"),
        (Assertion(hypothetical=True, uncertain=True), "hypothetical"),
        (Assertion(historical=True), "present"),
        (
            Assertion(negated=True, experiencer=Experiencer.FAMILY),
            "associated_with_someone_else",
        ),
    ],
)
def test_i2b2_class(assertion: Assertion, expected: str) -> None:
    assert i2b2_class(assertion) == expected


def test_omop_modifiers() -> None:
    past = omop_modifiers(Assertion(historical=True))
    assert (past.term_exists, past.term_temporal) == ("Y", "Past")
    mother = omop_modifiers(Assertion(experiencer=Experiencer.FAMILY))
    assert (mother.term_exists, mother.term_temporal) == ("N", "Present")
    assert mother.term_modifiers == (
        "negated=false,subject=family,uncertain=false,hypothetical=false,conditional=false,"
        "historical=false"
    )
    for attribute in ("negated", "uncertain", "hypothetical", "conditional"):
        said = omop_modifiers(replace(Assertion(), **{attribute: True}))  # type: ignore[arg-type]
        assert said.term_exists == "N"
        assert f"{attribute}=true" in said.term_modifiers


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        (r"ruled out(?= by)", "ruled out"),
        (r"\(-\)x?", "(-)"),
        (r"ab?c", "a"),
        (r"ab+c", "a"),
        (r"ab{0}", "a"),
        (r"no |not", ""),
        (r"x(?:a|b)", "x"),
        (r"[|(]no", ""),
        (r"a\d", "a"),
        (r"(?i)no", ""),
    ],
)
def test_literal_start(pattern: str, literal: str) -> None:
    assert literal_start(pattern) == literal
