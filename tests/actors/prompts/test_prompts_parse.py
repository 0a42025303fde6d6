from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import FIXTURES
from support.prompts import guideline, made, shipped

from actors.grounding import ground
from actors.prompts import ParsedAnswer
from actors.prompts.json_reader import split_reasoning
from actors.spans import Grounding

TWO = guideline("DRUG", "TEST")
NESTED = guideline(
    "DRUG",
    dose=[{"amount": "number", "unit": ["mg", "ml"], "words": "verbatim-string"}],
    when="date-time",
    count="integer",
    given=["yes", "no"],
    kinds=[["A", "B"]],
)


def parsed(completion: str, form: str = "template", asked: Any = TWO) -> ParsedAnswer:
    return made(form, asked).parse(completion)


def words(result: ParsedAnswer) -> list[tuple[str, str]]:
    return [(placed.mention.label, placed.mention.text) for placed in result.mentions]


BOTH = [("DRUG", "aspirin"), ("TEST", "CT")]


@pytest.mark.parametrize(
    ("completion", "problem"),
    [
        ('{"entities": [{"DRUG": ["aspirin"], "TEST": ["CT"]}]}', None),
        ('{"entities": {"DRUG": ["aspirin"], "TEST": ["CT"]}}', None),
        ('{"DRUG": ["aspirin"], "TEST": ["CT"]}', None),
        ('[{"DRUG": ["aspirin"]}, {"TEST": ["CT"]}]', None),
        ('{"drug": ["aspirin"], "Test": ["CT"]}', None),
        ('```json\n{"DRUG": ["aspirin"], "TEST": ["CT"]}\n```', "code fence"),
        ('{{"DRUG": ["aspirin"], "TEST": ["CT"]}}', "doubled braces"),
        ('{{"entities": [{{"DRUG": ["aspirin"], "TEST": ["CT"]}}]}}', "doubled braces"),
        ('  "DRUG": ["aspirin"],\n  "TEST": ["CT"],\n', "trailing comma"),
        ('  "DRUG": ["aspirin"],\n  "TEST": ["CT"]', "fragment: the braces around the keys"),
        ('{"DRUG": ["aspirin",], "TEST": ["CT"],}', "trailing comma"),
        ('Here it is: {"DRUG": ["aspirin"], "TEST": ["CT"]}', "text before the JSON"),
        ('{"DRUG": ["aspirin"], "TEST": ["CT"]} Done.', "text after the JSON"),
        ('{"DRUG": ["aspirin"]}\n{"TEST": ["CT"]}', "several JSON values"),
        ('{"DRUG": "aspirin", "TEST": ["CT"]}', "DRUG: a single value instead of a list"),
        ('{"DRUG": ["aspirin"], "TEST": ["CT"], "X": ["y"]}', "unexpected label"),
        ('{"DRUG": ["aspirin"], "TEST": ["CT"', "truncated: the JSON ends early"),
        ('{"DRUG": ["aspirin"], "TEST": ["CT", "MR', "truncated: the JSON ends early"),
        ('{"DRUG": ["aspirin"], "TEST": ["CT", nu', "truncated: the JSON ends early"),
        ('{"DRUG": ["aspirin"], "TEST": ["CT"], "DRU', "truncated: the JSON ends early"),
        ('{"DRUG": ["aspirin"], "TEST": ["CT", oops]}', "not JSON from character 37 on"),
    ],
)
def test_model_output_is_parsed(completion: str, problem: str | None) -> None:
    result = parsed(completion)
    assert words(result) == BOTH
    if problem is None:
        assert result.problems == ()
    else:
        assert any(found.startswith(problem) for found in result.problems)
    for placed in result.mentions:
        assert completion[slice(*placed.span)] == placed.mention.text


def test_the_printed_result_of_the_card_is_placed_but_for_the_country() -> None:
    prompt = (FIXTURES / "card_prompt.txt").read_text(encoding="utf-8")
    note = prompt.split("#### Clinical Note:\n")[1].split("\n#### Instructions:")[0]
    result = parsed(
        (FIXTURES / "card_result.txt").read_text(encoding="utf-8"),
        asked=shipped("clinical-note"),
    )
    assert len(result.mentions) == 20
    entities = ground([placed.mention for placed in result.mentions], note)
    lost = [(e.label, e.text) for e in entities if e.grounding is Grounding.UNGROUNDED]
    assert lost == [("COUNTRY", "United States")]
    assert {e.grounding for e in entities if e.start is not None} == {Grounding.EXACT}
    assert all(e.start is None or note[e.start : e.end] == e.text for e in entities)


def test_the_structure_has_every_label_in_order() -> None:
    assert parsed('{"TEST": ["CT"]}').structured == '{"DRUG": [], "TEST": ["CT"]}'
    assert parsed("nothing").structured is None
    assert parsed("nothing").problems == ("no JSON in the output",)


def test_a_label_printed_twice_goes_on() -> None:
    assert parsed('{"DRUG": ["a"], "DRUG": ["b"]}').structured == '{"DRUG": ["a", "b"], "TEST": []}'


def test_the_whole_type_language() -> None:
    completion = (
        '{"DRUG": ["aspirin"], "dose": [{"amount": 5, "unit": "mg", "words": "5 mg"}, {"amount": '
        '"x", "unit": "kg", "words": null}], "when": "2024-03-15", "count": 2, "given": "yes", '
        '"kinds": ["B", "C", "B"]}'
    )
    result = parsed(completion, "nuextract", NESTED)
    assert json.loads(result.structured or "") == {
        "DRUG": ["aspirin"],
        "dose": [
            {"amount": 5, "unit": "mg", "words": "5 mg"},
            {"amount": None, "unit": None, "words": None},
        ],
        "when": "2024-03-15",
        "count": 2,
        "given": "yes",
        "kinds": ["B"],
    }
    assert words(result) == [("DRUG", "aspirin"), ("dose.words", "5 mg")]
    assert [dict(placed.mention.attributes) for placed in result.mentions] == [
        {},
        {"unit": "mg", "path": "dose[0].words"},
    ]
    assert result.problems == (
        "dose.amount: not a number",
        "a word outside the guideline's enum",
    )


def test_a_number_in_place_of_words_stands_for_what_was_printed() -> None:
    result = parsed('{"DRUG": [58.0, null, "", true], "TEST": null}')
    assert words(result) == [("DRUG", "58.0"), ("DRUG", "true")]


def test_escapes_are_read_and_bad_ones_reported() -> None:
    completion = '{"DRUG": ["5\\u00a0mg \\"x\\"", "a\\d", "b\\ud800"], "TEST": ["a\nb"]}'
    result = parsed(completion)
    assert [text for _, text in words(result)] == ['5\u00a0mg "x"', "a\\d", "b\\ud800", "a\nb"]
    assert result.problems == ("a string with an invalid escape, kept as is",)


def test_channels_are_thinking_and_answer() -> None:
    thought = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
    more = "<|channel|>commentary<|message|>Well.<|end|><|start|>assistant"
    whole = split_reasoning(thought + more + "<|channel|>final<|message|>Yes.")
    assert whole.reasoning == "Hm.\n\nWell."
    assert (thought + more + "<|channel|>final<|message|>Yes.")[whole.start :] == "Yes."
    assert not split_reasoning(thought).closed
    assert split_reasoning("<|channel|>final<|message|>Yes.").reasoning is None


def test_reasoning_is_kept_apart() -> None:
    answer = '{"DRUG": ["aspirin"], "TEST": ["CT"]}'
    for opening in ("<think>\n", ""):
        completion = f'{opening}Is {{"DRUG"}} right?\n</think>\n\n{answer}'
        result = parsed(completion)
        assert (result.reasoning, result.answer) == ('Is {"DRUG"} right?', answer)
        assert words(result) == BOTH
        assert completion[slice(*result.mentions[0].span)] == "aspirin"
    cut = parsed("<think>Hm")
    assert (cut.reasoning, cut.problems) == ("Hm", ("truncated: the reasoning never ends",))


def test_an_entity_list_keeps_only_the_types_asked_for() -> None:
    asked = shipped("vietnamese-medical-further")
    completion = (
        '[{"entity": "đau bụng", "type": "symptom_and_disease"}, {"entity": "dạ dày", "type": '
        '"ANATOMY"}, {"entity": "x", "type": "VIRUS"}, {"type": "DRUG"}, {"entity": "45 tuổi", '
        '"type": "DEMOGRAPHICS"}, {"entity": "si'
    )
    result = parsed(completion, "entity-list", asked)
    assert words(result) == [
        ("SYMPTOM_AND_DISEASE", "đau bụng"),
        ("BODY_PART", "dạ dày"),
        ("DEMOGRAPHICS", "45 tuổi"),
    ]
    assert result.structured is None
    assert result.problems == (
        "truncated: the JSON ends early",
        "unexpected type",
        "an item without entity and type",
    )
    wrapped = parsed('{"entities": [{"entity": "a", "type": "DRUG"}]}', "entity-list", asked)
    assert words(wrapped) == [("DRUG", "a")]


def test_prose_is_an_answer_and_nothing_else() -> None:
    result = made("prose", None, instruction="Why?").parse("<think>a</think> Because.\n")
    assert result == ParsedAnswer(reasoning="a", answer="Because.")


def test_depth_and_size_do_no_harm() -> None:
    assert "nested too deeply" in parsed("[" * 5000).problems
    assert parsed('{"DRUG": ' + "9" * 5000 + "}").problems != ()


values = st.dictionaries(
    st.sampled_from(["DRUG", "TEST"]), st.lists(st.text(min_size=1).filter(str.strip), max_size=3)
)


@given(values, st.data())
def test_every_cut_keeps_the_complete_items(
    value: dict[str, list[str]], data: st.DataObject
) -> None:
    completion = json.dumps({"entities": [value]}, ensure_ascii=data.draw(st.booleans()))
    whole = words(parsed(completion))
    assert sorted(whole) == sorted((label, text) for label in value for text in value[label])
    cut = parsed(completion[: data.draw(st.integers(0, len(completion) - 1))])
    assert set(words(cut)) <= set(whole)
    assert cut.problems != ()


@given(st.text(st.sampled_from('{}[]",:\\ \nabDRUG`<>/think0.-e'), max_size=40))
def test_no_output_breaks_the_parser(completion: str) -> None:
    for form in ("template", "nuextract", "entity-list"):
        result = parsed(completion, form)
        for placed in result.mentions:
            start, end = placed.span
            assert 0 <= start <= end <= len(completion)


@pytest.mark.parametrize("form", ["template", "nuextract"])
def test_a_list_that_ends_at_its_bound_may_have_had_more(form: str) -> None:
    asked = made(form, TWO, max_items=2)
    full = asked.parse('{"DRUG": ["aspirin", "insulin"], "TEST": ["CT"]}')
    assert full.bounded
    assert full.problems == ("DRUG: the list reached prompt.max_items: there may be more",)
    assert not asked.parse('{"DRUG": ["aspirin"], "TEST": ["CT"]}').bounded
    free = made(form, TWO, max_items=2, constrained=False)
    assert not free.parse('{"DRUG": ["aspirin", "insulin", "zinc"], "TEST": []}').bounded


def test_the_one_list_of_an_entity_list_has_room_for_every_label() -> None:
    asked = made("entity-list", TWO, max_items=1)
    item = '{"entity": "aspirin", "type": "DRUG"}'
    assert not asked.parse(f"[{item}]").bounded
    assert asked.parse(f"[{item}, {item}]").bounded


@pytest.mark.parametrize("form", ["template", "entity-list"])
def test_a_string_that_ends_at_its_bound_may_be_cut(form: str) -> None:
    asked = made(form, TWO, max_length=7)
    said = {"template": '{"DRUG": ["%s"]}', "entity-list": '[{"entity": "%s", "type": "DRUG"}]'}
    assert not asked.parse(said[form] % "insuli").bounded
    cut = asked.parse(said[form] % "insulin")
    assert cut.bounded
    assert "may be cut off" in cut.problems[0]
    assert "insulin" not in cut.problems[0]


def test_all_choices_of_a_list_are_not_too_many() -> None:
    kinds = guideline(kinds=[["A", "B"]])
    assert not made("template", kinds, max_items=2).parse('{"kinds": ["A", "B"]}').bounded
    more = guideline(kinds=[["A", "B", "C"]])
    assert made("template", more, max_items=2).parse('{"kinds": ["A", "B"]}').bounded
