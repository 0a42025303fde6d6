from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from actors.config.prompt import PromptSection

PROSE: dict[str, Any] = {"format": "prose"}


def test_spark_nlp_names_are_understood() -> None:
    section = PromptSection.model_validate(
        {**PROSE, "systemPrompt": "Be brief.", "chatTemplate": "vicuna", "useChatTemplate": True}
    )
    assert (section.system, section.chat_template) == ("Be brief.", "vicuna")
    plain = PromptSection.model_validate({**PROSE, "useChatTemplate": False})
    assert plain.chat_template == "none"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"format": "jason"}, "format"),
        ({"format": "template"}, "needs a guideline"),
        ({"format": "prose", "guideline": "x.yaml"}, "not a guideline"),
        ({"format": "template", "guideline": "x.yaml", "instruction": "y"}, "requires .* prose"),
        ({**PROSE, "system": "a", "systemPrompt": "b"}, "set twice"),
        ({**PROSE, "chat_template": "gemma", "useChatTemplate": False}, "useChatTemplate: false"),
        ({**PROSE, "grounding": {"fuzzy": 1}}, "grounding.fuzzy"),
        ({**PROSE, "max_items": 0}, "max_items"),
    ],
)
def test_inconsistent_prompt_section_is_an_error(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PromptSection.model_validate(content)
