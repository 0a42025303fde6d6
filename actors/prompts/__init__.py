"""Asking a language model and reading its answer: render, grammar and parse of a format together.

This room knows guidelines and chat templates. It knows nothing of tokens, of how a model runs, or
of where in a document the words of an answer are.
"""

from __future__ import annotations

from actors.config.prompt import PromptSection
from actors.guideline import Guideline
from actors.prompts.chat import ChatTemplate, ChatTemplateError, chat_template
from actors.prompts.entity_list import entity_list
from actors.prompts.nuextract import nuextract
from actors.prompts.prompt import Format, Parsed, Prompt, PromptError, Said, Segment
from actors.prompts.prose import Prose
from actors.prompts.template import template

_BY_GUIDELINE = {"template": template, "nuextract": nuextract, "entity-list": entity_list}


def prompt_format(section: PromptSection, chat: ChatTemplate) -> Format:
    """The format of a model file's ``prompt`` section, its guideline already read.

    Raises PromptError where guideline and format do not fit, ChatTemplateError where the chat
    template refuses them: both at load, before any document.
    """
    if section.format == "prose":
        return Prose(section, chat)
    if not isinstance(section.guideline, Guideline):
        raise PromptError("the guideline's file must be read before prompts are made")
    return _BY_GUIDELINE[section.format](section, section.guideline, chat)


__all__ = [
    "ChatTemplate",
    "ChatTemplateError",
    "Format",
    "Parsed",
    "Prompt",
    "PromptError",
    "Said",
    "Segment",
    "chat_template",
    "prompt_format",
]
