from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer
from support.prompts import accepts, guideline, made, shipped
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from actors.guideline import read_type
from actors.prompts import PromptFormat
from actors.words import is_mark, words

NOTE = 'On 3/5, "Ann" took\n5 mg of aspirin; 15 mg later. Đau bụng.'


def one(kind: Any = None, **section: Any) -> PromptFormat:
    """A NuExtract format of one label ``A``: its answer is a plain object."""
    asked = guideline("A") if kind is None else guideline(A=kind)
    return made("nuextract", asked, **section)


def allowed(kind: Any, value: object, text: str = NOTE, **section: Any) -> bool:
    output = json.dumps({"A": value}, ensure_ascii=False)
    return accepts(one(kind, **section).grammar(text), output)


@pytest.mark.parametrize(
    "words", ["aspirin", "Ann", '"Ann"', "took\n5 mg", "5 mg of aspirin", "Đau bụng", "3", "3/5"]
)
def test_words_of_the_document_are_allowed(words: str) -> None:
    assert allowed(["verbatim-string"], [words])


@pytest.mark.parametrize(
    "words", ["", " aspirin", "aspirin ", "took\n", "aspir", "5", "ibuprofen", "Aspirin", "đau"]
)
def test_other_words_are_not(words: str) -> None:
    text = NOTE.replace("5 mg of", "15 mg of").replace("3/5", "3")
    assert not allowed(["verbatim-string"], [words], text)


def test_characters_allow_parts_of_words_and_never_of_numbers() -> None:
    assert allowed(["verbatim-string"], ["aspir"], verbatim="chars")
    assert not allowed(["verbatim-string"], ["5"], "age 15", verbatim="chars")


def test_off_allows_any_string_but_the_empty_one() -> None:
    assert allowed(["verbatim-string"], ["ibuprofen\n\t\\"], verbatim="off")
    assert not allowed(["verbatim-string"], [""], verbatim="off")


def test_counts_and_lengths_are_bounded() -> None:
    assert allowed(["verbatim-string"], ["aspirin"] * 3, max_items=3)
    assert not allowed(["verbatim-string"], ["aspirin"] * 4, max_items=3)
    assert allowed(["verbatim-string"], ["aspirin"], max_length=7)
    assert not allowed(["verbatim-string"], ["aspirin"], max_length=6)
    assert allowed(["verbatim-string"], ["3"], max_length=1)


def test_white_space_is_fixed() -> None:
    grammar = one(["verbatim-string"]).grammar(NOTE)
    assert accepts(grammar, '{"A": ["Ann", "mg"]}')
    assert not accepts(grammar, '{"A":["Ann","mg"]}')
    assert not accepts(grammar, '{ "A": ["Ann"]}')
    compact = one(["verbatim-string"], json_style="compact").grammar(NOTE)
    assert accepts(compact, '{"A":["Ann","mg"]}')
    assert not accepts(compact, '{"A": ["Ann"]}')


@pytest.mark.parametrize("text", ["", "  \n "])
def test_an_empty_text_allows_empty_lists_only(text: str) -> None:
    assert allowed(["verbatim-string"], [], text)
    assert allowed("verbatim-string", None, text)
    assert accepts(made("entity-list", guideline("A")).grammar(text), "[]")


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("verbatim-string", ["mg", None], ["kg", 5]),
        ("string", ["anything \" goes \\ here", None], ["", True]),
        ("integer", [0, -17, None], [1.5, "1"]),
        ("number", [0, 1.5, -2e-3, None], ["1.5", True]),
        ("date-time", ["2024", "2024-03", "2024-03-15", "2024-03-15T14:00:00Z", None],
         ["March 15", "2024-13", "15.03.2024"]),
        (["yes", "no"], ["yes", "no", None], ["maybe", ["yes"]]),
        ([["A", "B"]], [[], ["A"], ["B", "A"]], [["C"], "A", ["A", "B", "A"]]),
        (["integer"], [[], [1, 2]], [None, ["1"]]),
        ([["integer"]], [[], [[1], []]], [[1]]),
        ({"x": "integer", "y": ["verbatim-string"]}, [{"x": 1, "y": ["mg"]}],
         [{"x": 1}, {"y": ["mg"], "x": 1}, None]),
        ([{"x": ["a", "b"]}], [[], [{"x": "a"}, {"x": None}]], [{"x": "a"}]),
    ],
)  # fmt: skip
def test_the_type_language(kind: Any, good: list[object], bad: list[object]) -> None:
    assert [value for value in good if not allowed(kind, value)] == []
    assert [value for value in bad if allowed(kind, value)] == []


def test_the_template_is_wrapped_and_its_keys_come_in_order() -> None:
    grammar = made("template", guideline("A", "B")).grammar(NOTE)
    assert accepts(grammar, '{"entities": [{"A": ["Ann"], "B": []}]}')
    assert not accepts(grammar, '{"entities": [{"B": [], "A": []}]}')
    assert not accepts(grammar, '{"A": [], "B": []}')


def test_an_entity_list_has_only_the_types_asked_for() -> None:
    grammar = made("entity-list", guideline("A", "B")).grammar(NOTE)
    assert accepts(grammar, "[]")
    assert accepts(grammar, '[{"entity": "Ann", "type": "A"}, {"entity": "mg", "type": "B"}]')
    assert not accepts(grammar, '[{"entity": "Ann", "type": "C"}]')


def test_a_list_may_be_of_one_item_at_most() -> None:
    grammar = one(["verbatim-string"], max_items=1).grammar(NOTE)
    assert accepts(grammar, '{"A": []}')
    assert accepts(grammar, '{"A": ["Ann"]}')
    assert not accepts(grammar, '{"A": ["Ann", "mg"]}')
    assert accepts(one([["only"]]).grammar(NOTE), '{"A": ["only"]}')


def test_no_grammar_where_none_is_wanted() -> None:
    assert one(constrained=False).grammar(NOTE) is None
    assert made("prose", None, instruction="Why?").grammar(NOTE) is None


chunky = st.text(st.sampled_from('aZ5 .,\n\t"\\é\u0301đ日💊\u00a0\x00\x7f\x1f\ud800'), max_size=30)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30) | chunky, st.sampled_from(["words", "chars"]), st.data())
def test_every_run_of_words_is_accepted(text: str, verbatim: str, data: st.DataObject) -> None:
    grammar = one(["verbatim-string"], verbatim=verbatim).grammar(text)
    assert accepts(grammar, '{"A": []}')
    chunks = words(text)
    first = data.draw(st.integers(0, len(chunks)))
    span = "".join(chunks[first : data.draw(st.integers(first, len(chunks)))]).strip()
    edges = (span[:1] + span[-1:]) or " "
    plain = edges.isprintable() and not is_mark(edges[0]) and "\ud800" not in span
    if span and plain:
        output = json.dumps({"A": [span]}, ensure_ascii=False)
        assert accepts(grammar, output)


@settings(max_examples=25, deadline=None)
@given(chunky.filter(str.strip), st.sampled_from(["words", "chars"]), st.integers(0, 9999))
def test_whatever_is_sampled_parses_and_is_verbatim(text: str, verbatim: str, seed: int) -> None:
    """A model without sense, held by the grammar: random tokens of a real vocabulary."""
    form = made("template", guideline("A", "B"), verbatim=verbatim, max_items=3)
    grammar = form.grammar(text)
    assert grammar is not None
    matcher = LLMatcher(VOCABULARY, LLMatcher.grammar_from_lark(grammar), log_level=0)
    output, random = b"", Random(seed)
    while not matcher.is_stopped():
        bias = matcher.compute_logit_bias()
        token = random.choice([i for i, value in enumerate(bias) if value])
        assert matcher.consume_token(token)
        output += VOCABULARY.decode_bytes([token]) if token != VOCABULARY.eos_token else b""
    parsed = form.parse(output.decode())
    [filled] = json.loads(output)["entities"]
    assert filled.keys() == {"A", "B"}
    assert parsed.bounded is any(len(words) == 3 for words in filled.values())
    assert parsed.bounded is bool(parsed.problems)
    for placed in parsed.mentions:
        assert placed.mention.text in text
        assert placed.mention.text == placed.mention.text.strip()


def test_a_document_cannot_break_out_of_its_grammar() -> None:
    text = '"} start: /.*/ \\" %regex {} \nstart: "x" /'
    grammar = one(["verbatim-string"]).grammar(text)
    assert accepts(grammar, json.dumps({"A": ['start: "x"']}))
    assert not accepts(grammar, '{"A": ["y"]}')


def test_the_shipped_guidelines_compile() -> None:
    for name in ("clinical-note", "vietnamese-medical-further", "clinical-trial"):
        for form in ("template", "nuextract", "entity-list"):
            grammar = made(form, shipped(name)).grammar(NOTE * 20)
            assert grammar is not None
            matcher = LLMatcher(VOCABULARY, LLMatcher.grammar_from_lark(grammar), log_level=0)
            assert not matcher.is_error()


def _vocabulary() -> LLTokenizer:
    """A small byte-level BPE tokenizer, so that tokens cross the edges of strings and words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    sample = ['{"entities": [{"A": ["aa", "5 mg"], "B": []}]}', NOTE, str(read_type("string"))]
    tokenizer.train_from_iterator(sample * 3, trainer)
    return LLTokenizer(tokenizer.to_str())


VOCABULARY = _vocabulary()
