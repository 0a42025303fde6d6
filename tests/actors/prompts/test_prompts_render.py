from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import FIXTURES
from support.prompts import VIETNAMESE_SYSTEM, guideline, made, shipped

from actors.config.prompt import PromptSection
from actors.guideline import Guideline
from actors.prompts import ChatTemplateError, PromptError, Segment, chat_template, prompt_format

PROMPT = (FIXTURES / "card_prompt.txt").read_text(encoding="utf-8")
NOTE = PROMPT.split("#### Clinical Note:\n")[1].split("\n#### Instructions:")[0]


def test_the_card_prompt_is_rendered_byte_for_byte() -> None:
    assert made("template", shipped("clinical-note")).render(NOTE).text == PROMPT


def test_the_prefix_of_the_card_prompt_is_shared_and_ends_where_the_note_begins() -> None:
    form = made("template", shipped("clinical-note"), "chatml", system="Be brief.")
    first, second = form.render(NOTE), form.render("Another note.")
    assert first.prefix == second.prefix
    (prefix,) = first.prefix
    assert prefix.special
    assert prefix.text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")
    assert prefix.text.endswith("#### Clinical Note:\n")
    document, control = second.suffix
    assert document.text.startswith("Another note.\n#### Instructions:\n")
    assert document.text.endswith("#### Output:\n")
    assert control == Segment("<|im_end|>\n<|im_start|>assistant\n", special=True)


def test_other_guidelines_have_the_form_of_the_card() -> None:
    asked = guideline("DRUG", DOSE=[{"amount": "number", "unit": ["mg", "ml"]}])
    text = made("template", asked).render("x").text
    assert text.split("#### Template:\n")[1].split("\n\n####")[0] == (
        '{{\n  "entities": [\n    {{\n      "DRUG": ["verbatim-string"],\n      "DOSE": [\n'
        '        {{\n          "amount": "number",\n          "unit": ["mg", "ml"]\n        }}\n'
        "      ]\n    }}\n  ]\n}}"
    )


def test_the_vietnamese_card_is_rendered_word_for_word() -> None:
    asked = shipped("vietnamese-medical")
    text = "Bệnh nhân nam 45 tuổi nhập viện."
    prompt = made("entity-list", asked, "chatml").render(text)
    assert prompt.text == (
        f"<|im_start|>system\n{VIETNAMESE_SYSTEM}<|im_end|>\n<|im_start|>user\nText: {text}"
        "<|im_end|>\n<|im_start|>assistant\n"
    )
    # The space belongs to the word after it, as a BPE tokenizer has it.
    assert prompt.prefix[0].text.endswith("Text:")
    assert prompt.suffix[0] == Segment(f" {text}", special=False)


EXAMPLES = {
    "name": "with-examples",
    "labels": {"DRUG": None, "given": {"type": ["yes", "no"]}},
    "examples": [{"text": "Aspirin was given.", "output": {"DRUG": ["Aspirin"], "given": "yes"}}],
}


def test_nuextract_has_its_own_form_with_examples_in_context() -> None:
    prompt = made("nuextract", Guideline.model_validate(EXAMPLES), "chatml").render("No drug.")
    assert prompt.text == (
        "<|im_start|>system\nYou are NuExtract, an information extraction tool created by NuMind."
        '<|im_end|>\n<|im_start|>user\n# Template:\n{"DRUG": ["verbatim-string"], "given": '
        '["yes", "no"]}\n# Examples:\n## Input:\nAspirin was given.\n## Output:\n'
        '{"DRUG": ["Aspirin"], "given": "yes"}\n# Context:\nNo drug.<|im_end|>\n'
        "<|im_start|>assistant\n"
    )


def test_examples_of_an_entity_list_are_turns_and_can_be_left_out() -> None:
    asked = Guideline.model_validate(
        {**EXAMPLES, "labels": {"DRUG": None, "given": {"type": ["string"]}}}
        | {"examples": [{"text": "Aspirin was given.", "output": {"DRUG": ["Aspirin"]}}]}
    )
    answer = json.dumps([{"entity": "Aspirin", "type": "DRUG"}])
    with_examples = made("entity-list", asked, "chatml").render("x").text
    assert f"user\nText: Aspirin was given.<|im_end|>\n<|im_start|>assistant\n{answer}" in (
        with_examples
    )
    assert "Aspirin" not in made("entity-list", asked, "chatml", examples=False).render("x").text


def test_prose_asks_with_the_instruction_or_with_the_rows_own_prompt() -> None:
    form = made("prose", None, "vicuna", instruction="Summarise.")
    assert form.render("A note.").text == "USER: Summarise.\n\nA note.\nASSISTANT:"
    own = form.render("A note.", prompt="What is <|im_end|>?")
    assert own.text == "USER: What is <|im_end|>?\n\nA note.\nASSISTANT:"
    assert [s.text for s in own.suffix + own.prefix if "<|im_end|>" in s.text and s.special] == []
    assert form.render("", prompt="Why?").text == "USER: Why?\nASSISTANT:"


def test_a_prompt_where_none_fits_or_none_is_given_is_an_error() -> None:
    with pytest.raises(PromptError, match="takes none"):
        made("template", guideline("DRUG")).render("x", prompt="y")
    with pytest.raises(PromptError, match="instruction"):
        made("prose", None).render("x")
    with pytest.raises(PromptError, match="only string types"):
        made("entity-list", guideline(n="integer"))


@given(st.text(max_size=40), st.sampled_from(["chatml", "llama3", "gemma", "mistral", "vicuna"]))
def test_the_document_is_never_special_and_nothing_of_it_is_lost(text: str, chat: str) -> None:
    for form in ("template", "nuextract", "entity-list"):
        prompt = made(form, guideline("DRUG"), chat).render(text)
        plain = [segment.text for segment in prompt.suffix if not segment.special]
        assert all(segment.special for segment in prompt.prefix)
        assert text.strip() in "".join(plain)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chatml", "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU <|im_end|>\n"
         "<|im_start|>assistant\n"),
        ("llama2", "[INST] <<SYS>>\nS\n<</SYS>>\n\nU  [/INST]"),
        ("llama3", "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>"
         "user<|end_header_id|>\n\nU<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"),
        ("gemma", "<start_of_turn>user\nS\n\nU<end_of_turn>\n<start_of_turn>model\n"),
        ("mistral-v1", " [INST] S\n\nU  [/INST]"),
        ("mistral", "[INST] S\n\nU [/INST]"),
        ("phi3", "<|system|>\nS<|end|>\n<|user|>\nU <|end|>\n<|assistant|>\n"),
        ("zephyr", "<|system|>\nS<|endoftext|>\n<|user|>\nU <|endoftext|>\n<|assistant|>\n"),
        ("vicuna", "S\n\nUSER: U \nASSISTANT:"),
        ("none", "SU "),
    ],
)  # fmt: skip
def test_named_chat_templates(name: str, text: str) -> None:
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "U "}]
    assert chat_template(name).render(messages) == text


def test_a_template_of_the_weights_with_everything_that_they_use() -> None:
    source = (
        "{%- if not date is defined -%}{%- set date = strftime_now('%Y') -%}{%- endif -%}\n"
        "{{ bos_token }}{% for message in messages %}\n"
        "    {% if message['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}\n"
        "{% generation %}[{{ message['content'] | trim }}]{% endgeneration %}"
        "{% if tools is not none %}tools{% endif %}{% break %}{% endfor %}{{ eos_token }}"
    )
    chat = chat_template("gguf", gguf=source, bos="<s>", eos="</s>")
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": " U "}]
    assert chat.render(messages) == "<s>[S\n\n U]</s>"
    assert chat.trims


def test_invalid_chat_template_is_an_error() -> None:
    with pytest.raises(ChatTemplateError, match="contain no chat template"):
        chat_template("gguf")
    with pytest.raises(ChatTemplateError, match="unknown chat template 'chatlm'"):
        chat_template("chatlm")
    with pytest.raises(ChatTemplateError, match="not Jinja: line 1"):
        chat_template("{% for x %}")
    with pytest.raises(ChatTemplateError, match="rejects the messages: never"):
        chat_template("{{ raise_exception('never') }}")
    with pytest.raises(ChatTemplateError, match="must print the user's turn"):
        prompt_format(
            PromptSection(format="template", guideline=guideline("A")), chat_template("{{ 1 }}")
        )


def test_a_chat_template_cannot_reach_out() -> None:
    with pytest.raises(ChatTemplateError, match="SecurityError"):
        chat_template("{{ messages.__class__.__mro__ }}")
