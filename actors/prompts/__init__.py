"""Prompt formats of language models: render, grammar and parse belong together.

This package knows guidelines and chat templates. It does not know tokens, model execution, or where
an answer's text is in the document.
"""

from __future__ import annotations

from actors.config.prompt import PromptSection
from actors.guideline import Guideline
from actors.prompts.chat import ChatTemplate, ChatTemplateError, chat_template, section_template
from actors.prompts.entity_list import entity_list
from actors.prompts.nuextract import nuextract
from actors.prompts.prose import Prose
from actors.prompts.template import template
from actors.prompts.types import (
    ParsedAnswer,
    PlacedMention,
    Prompt,
    PromptError,
    PromptFormat,
    Segment,
)

_BY_GUIDELINE = {"template": template, "nuextract": nuextract, "entity-list": entity_list}


def prompt_format(section: PromptSection, chat: ChatTemplate) -> PromptFormat:
    """Build the format of a model file's ``prompt`` section; the guideline must be loaded.

    Raises PromptError if guideline and format are incompatible, ChatTemplateError if the chat
    template rejects them. Both happen at load, before any document.
    """
    if section.format == "prose":
        return Prose(section, chat)
    if not isinstance(section.guideline, Guideline):
        raise PromptError("the guideline file must be loaded before prompts are built")
    return _BY_GUIDELINE[section.format](section, section.guideline, chat)


__all__ = [
    "ChatTemplate",
    "ChatTemplateError",
    "ParsedAnswer",
    "PlacedMention",
    "Prompt",
    "PromptError",
    "PromptFormat",
    "Segment",
    "chat_template",
    "prompt_format",
    "section_template",
]
