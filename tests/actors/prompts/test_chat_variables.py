"""Variables of chat templates from the model file: its own, the date, and thinking."""

from __future__ import annotations

from datetime import datetime
from unittest import mock

import pytest
from pydantic import ValidationError
from support.prompts import guideline

from actors.config import fingerprint
from actors.config.prompt import PromptSection
from actors.prompts import ChatTemplateError, chat, prompt_format, section_template
from actors.prompts.json_reader import split_reasoning

TURNS = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>"
OPENS = TURNS + "<think>\n"
# As Qwen3's: the model thinks unless it is told not to, and then finds the block closed.
SWITCH = (
    TURNS + "{% if enable_thinking is defined and enable_thinking is false %}"
    "<think>\n\n</think>\n\n{% endif %}"
)
# As Llama 3.1's.
DATED = (
    "{%- if not date_string is defined %}{%- if strftime_now is defined %}"
    "{%- set date_string = strftime_now('%d %b %Y') %}{%- else %}"
    "{%- set date_string = '26 Jul 2024' %}{%- endif %}{%- endif %}Today: {{ date_string }}\n"
    + TURNS
)


def section(template: str, **more: object) -> PromptSection:
    content = {"format": "entity-list", "guideline": guideline("DRUG"), "chat_template": template}
    return PromptSection.model_validate({**content, **more})


def rendered(template: str, text: str = "NOTE", **more: object) -> str:
    asked = section(template, **more)
    return prompt_format(asked, section_template(asked)).render(text).text


def thinking(template: str, text: str = "NOTE", **more: object) -> str | None:
    asked = section(template, **more)
    return prompt_format(asked, section_template(asked)).render(text).thinking


def test_the_prompt_does_not_change_with_the_day() -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> Later:
            return cls(2030, 1, 1)

    today = rendered(DATED)
    assert today.startswith("Today: 26 Jul 2024\n")
    with mock.patch.object(chat, "datetime", Later):
        assert rendered(DATED) == today
    assert rendered(DATED, date="2026-02-01").startswith("Today: 01 Feb 2026\n")
    assert rendered(DATED, template_kwargs={"date_string": "1 May"}).startswith("Today: 1 May\n")


def test_the_day_and_the_variables_are_part_of_identity() -> None:
    prints = {
        fingerprint(section(DATED, **more))
        for more in ({}, {"date": "2026-02-01"}, {"template_kwargs": {"date_string": "1 May"}})
    }
    assert len(prints) == 3


@pytest.mark.parametrize("wrong", ["2026-02-30", "today", "01.02.2026"])
def test_a_date_is_a_day(wrong: str) -> None:
    with pytest.raises(ValidationError, match="date"):
        section(DATED, date=wrong)


def test_a_variable_that_the_template_never_reads_is_an_error() -> None:
    with pytest.raises(ChatTemplateError, match="does not read enable_thinkin; it reads enable"):
        rendered(SWITCH, template_kwargs={"enable_thinkin": False})
    for ours in ("messages", "bos_token", "strftime_now"):
        with pytest.raises(ChatTemplateError, match=f"does not read {ours}; it reads date_string"):
            rendered(DATED, template_kwargs={ours: "x"})
    with pytest.raises(ChatTemplateError, match="no variables of its own"):
        rendered("chatml", template_kwargs={"enable_thinking": False})


def test_thinking_is_switched_off_where_the_template_can() -> None:
    assert thinking(SWITCH) is None
    closed = rendered(SWITCH, template_kwargs={"enable_thinking": False})
    assert closed.endswith("<|assistant|><think>\n\n</think>\n\n")
    assert thinking(SWITCH, template_kwargs={"enable_thinking": False}) == "closed"
    assert rendered(SWITCH, reasoning_budget=0) == closed
    # What the file says itself comes first.
    on = {"enable_thinking": True}
    assert thinking(SWITCH, template_kwargs=on, reasoning_budget=0) is None


def test_only_the_template_opens_a_thinking_block() -> None:
    assert thinking(OPENS) == "opened"
    assert thinking(TURNS, "a note that ends in <think>") is None
    assert thinking("none", "a note that ends in </think>") is None


@pytest.mark.parametrize("start", ["{", "[1] ", '"', "`"])
def test_thoughts_that_begin_as_json_are_thoughts(start: str) -> None:
    said = start + 'so "a" is a drug</think>\n[{"entity": "a"}]'
    thought = split_reasoning(said, begun=True)
    assert thought.reasoning == start + 'so "a" is a drug'
    assert said[thought.start :].strip() == '[{"entity": "a"}]'
    assert not split_reasoning(start + "never ends", begun=True).closed
    # Without it, the same start is an answer, which may quote a note's "</think>".
    assert split_reasoning(said).reasoning is None
