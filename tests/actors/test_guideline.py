from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from support.prompts import shipped

from actors.guideline import (
    Array,
    Enum,
    Guideline,
    MultiLabel,
    Object,
    Scalar,
    read_type,
    write_type,
)

WORDS = Scalar("verbatim-string")


def made(**content: Any) -> Guideline:
    return Guideline.model_validate({"name": "g", "labels": {"DRUG": None}} | content)


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("verbatim-string", WORDS),
        (["verbatim-string"], Array(WORDS)),
        (["yes", "no"], Enum(("yes", "no"))),
        (["yes"], Enum(("yes",))),
        (["string", "other"], Enum(("string", "other"))),
        ([["A", "B"]], MultiLabel(("A", "B"))),
        ([["A"]], MultiLabel(("A",))),
        ([["integer"]], Array(Array(Scalar("integer")))),
        ([{"a": "number"}], Array(Object((("a", Scalar("number")),)))),
    ],
)
def test_the_type_language_is_nuextracts(written: Any, kind: object) -> None:
    assert read_type(written) == kind
    assert write_type(read_type(written)) == written


@pytest.mark.parametrize("written", ["verbatim", [], [1, 2], ["a", "a"], 5, {"": "string"}, [True]])
def test_invalid_type_is_rejected(written: Any) -> None:
    with pytest.raises(ValueError, match=r"type|enum|keys"):
        read_type(written)


def test_labels_have_short_forms_and_a_default_type() -> None:
    asked = made(labels={"A": None, "B": "A thing.", "C": {"type": "integer"}})
    assert [label.definition for label in asked.labels.values()] == ["", "A thing.", ""]
    assert dict(asked.types) == {"A": Array(WORDS), "B": Array(WORDS), "C": Scalar("integer")}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"lables": {}}, "lables"),
        ({"labels": {}}, "at least 1"),
        ({"labels": {"A": {"kind": "x"}}}, "kind"),
        ({"labels": {"A": {"type": "text"}}}, "unknown type 'text'"),
        ({"labels": {"A": {"synonyms": ["b"]}, "B": None}}, "used for two labels"),
        ({"labels": {"a\nb": None}}, "printable"),
    ],
)
def test_errors_name_the_place_of_a_mistake(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        made(**content)


EVERYTHING = {
    "DRUG": None,
    "n": {"type": "integer"},
    "x": {"type": "number"},
    "e": {"type": ["yes", "no"]},
    "m": {"type": [["A", "B"]]},
    "o": {"type": [{"k": "verbatim-string"}]},
    "d": {"type": "date-time"},
}


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ({"DRUG": ["secret"]}, r"examples\[0\].output.DRUG\[0\]: does not occur"),
        ({"DRUG": "Aspirin"}, "DRUG: must be a list"),
        ({"OTHER": []}, "OTHER: unknown label"),
        ({"n": 1.5}, "n: must be an integer"),
        ({"x": "1"}, "x: must be a number"),
        ({"e": "maybe"}, "e: must be one of yes, no"),
        ({"m": ["C"]}, "m: must be a list of words from A, B"),
        ({"o": [{"k": "secret"}]}, r"o\[0\].k: does not occur"),
        ({"o": [{"j": "x"}]}, "o.0..j: unknown key"),
        ({"d": 2024}, "d: must be a string"),
    ],
)
def test_examples_are_checked_and_never_quoted(output: dict[str, Any], problem: str) -> None:
    text = "Aspirin   was\ngiven."
    with pytest.raises(ValidationError, match=problem) as error:
        made(labels=EVERYTHING, examples=[{"text": text, "output": output}])
    said = [item["msg"] for item in error.value.errors(include_input=False)]
    assert not any("secret" in message or "Aspirin" in message for message in said)


def test_good_examples_hold_and_white_space_may_differ() -> None:
    output = {"DRUG": ["Aspirin was given."], "n": None, "m": ["A"], "e": "no", "x": 1.5}
    asked = made(labels=EVERYTHING, examples=[{"text": "Aspirin   was\ngiven.", "output": output}])
    assert asked.filled(asked.examples[0]) == {**output, "o": [], "d": None}


def test_the_shipped_guidelines_have_their_cards_labels() -> None:
    note = shipped("clinical-note")
    assert len(note.labels) == 20
    assert list(note.labels)[:3] == ["AGE", "CITY", "COUNTRY"]
    assert len(shipped("clinical-trial").labels) == 21
    assert all(label.definition for label in shipped("clinical-trial").labels.values())
    card, further = shipped("vietnamese-medical"), shipped("vietnamese-medical-further")
    assert list(card.labels) == ["SYMPTOM_AND_DISEASE", "MEDICAL_PROCEDURE", "DRUG", "DEMOGRAPHICS"]
    assert card.labels.items() <= further.labels.items()
    assert further.names["anatomy"] == "BODY_PART"
