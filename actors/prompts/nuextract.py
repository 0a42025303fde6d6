"""The ``nuextract`` format: NuExtract 2.0's own prompt, with in-context examples.

Definitions are not printed: the model was trained on the template alone, and learns from examples.
"""

from __future__ import annotations

import json

from actors.config.prompt import PromptSection
from actors.guideline import Guideline, write_type
from actors.prompts.chat import ChatTemplate, lay_out, turns
from actors.prompts.json_format import JsonFormat, by_guideline

_SYSTEM = "You are NuExtract, an information extraction tool created by NuMind."


def nuextract(section: PromptSection, guideline: Guideline, chat: ChatTemplate) -> JsonFormat:
    """Build the format for one guideline under one chat template (the model's own is ChatML)."""
    shown = {name: write_type(kind) for name, kind in guideline.types}
    parts = [f"# Template:\n{json.dumps(shown, ensure_ascii=False)}\n"]
    examples = guideline.examples if section.examples else ()
    if examples:
        parts.append("# Examples:\n")
    for example in examples:
        answer = json.dumps(guideline.filled(example), ensure_ascii=False)
        parts.append(f"## Input:\n{example.text}\n## Output:\n{answer}\n")
    parts.append("# Context:\n")
    system = _SYSTEM if section.system is None else section.system
    layout = lay_out(chat, turns(system), "".join(parts))
    return JsonFormat(
        section,
        layout,
        lambda grammar: grammar.object(guideline.types),
        by_guideline(section, guideline),
    )
