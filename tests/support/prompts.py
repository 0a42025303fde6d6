"""Shared by tests of prompts: guidelines, sections, and a matcher over bytes."""

from __future__ import annotations

from functools import cache
from typing import Any

from llguidance import LLMatcher, LLTokenizer
from pydantic import TypeAdapter

from actors.config import read_yaml
from actors.config.load import validate
from actors.config.prompt import PromptSection
from actors.guideline import Guideline
from actors.prompts import ChatTemplate, PromptFormat, chat_template, prompt_format
from support import ROOT

GUIDELINES = ROOT / "configs" / "guidelines"

_BYTES = LLTokenizer("byte")

VIETNAMESE_SYSTEM = (
    "You are a medical expert. Your task is to identify and extract medical entities from the "
    "given text.\nThe entity types to extract are:\n"
    "- SYMPTOM_AND_DISEASE: Symptoms, signs of illness, diseases, or medical conditions.\n"
    "- MEDICAL_PROCEDURE: Medical procedures, surgeries, therapies, or diagnostic methods.\n"
    "- DRUG: Names of medicines, drugs, vitamins, or supplements.\n"
    "- DEMOGRAPHICS: Age, gender, or patient ID.\n\n"
    'Return the result as a JSON list containing dictionaries with "entity" and "type" keys. If no '
    "relevant entities are found, return an empty list []"
)


def shipped(name: str) -> Guideline:
    path = GUIDELINES / f"{name}.yaml"
    return validate(TypeAdapter(Guideline), read_yaml(path), path)


def guideline(*labels: str, **typed: Any) -> Guideline:
    """A guideline of plain labels, then of labels with a type."""
    content: dict[str, Any] = dict.fromkeys(labels)
    content |= {label: {"type": kind} for label, kind in typed.items()}
    return Guideline.model_validate({"name": "test", "labels": content})


def made(form: str, asked: Guideline | None, chat: str = "none", **section: Any) -> PromptFormat:
    content = {"format": form, "guideline": asked, **section}
    return prompt_format(PromptSection.model_validate(content), _chat(chat))


@cache
def _chat(name: str) -> ChatTemplate:
    return chat_template(name)


def accepts(grammar: str | None, output: str) -> bool:
    """Return True if a grammar allows the whole output and is complete at its end."""
    assert grammar is not None
    matcher = LLMatcher(_BYTES, LLMatcher.grammar_from_lark(grammar), log_level=0)
    assert not matcher.is_error()
    tokens = _BYTES.tokenize_bytes(output.encode())
    return bool(matcher.validate_tokens(tokens) == len(tokens)) and bool(
        matcher.consume_tokens(tokens) and matcher.is_accepting()
    )
