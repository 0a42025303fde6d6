"""The ``template`` format: jsl_meds_ner_2b's prompt, byte for byte, and models prompted like it.

Its braces are doubled because the model card's are: the text was written as a format string but
never formatted, and the model was trained on it. Definitions are not printed; the model knows
labels by name.
"""

from __future__ import annotations

import json

from actors.config.prompt import PromptSection
from actors.guideline import Guideline, Json, write_type
from actors.prompts.chat import ChatTemplate, lay_out, turns
from actors.prompts.grammar import Grammar, literal
from actors.prompts.json_format import JsonFormat, Start, by_guideline

_TASK = (
    "Extract all medical entities from the clinical note below and return them in JSON format "
    "according to the template."
)
_INSTRUCTIONS = """
#### Instructions:
- Extract all entities exactly as they appear in the text
- Return only valid JSON format
- Use empty lists for categories with no entities found
- Do not add explanations, only return the JSON

#### Output:
"""


def template(section: PromptSection, guideline: Guideline, chat: ChatTemplate) -> JsonFormat:
    """Build the format for one guideline under one chat template."""
    shown = {name: write_type(kind) for name, kind in guideline.types}
    parts = [f"{_TASK}\n\n#### Template:\n", _doubled(_printed({"entities": [shown]})), "\n\n"]
    for example in guideline.examples if section.examples else ():
        answer = json.dumps({"entities": [guideline.filled(example)]}, ensure_ascii=False)
        parts.append(f"#### Example Note:\n{example.text}\n\n#### Example Output:\n{answer}\n\n")
    parts.append("#### Clinical Note:\n")
    layout = lay_out(chat, turns(section.system), "".join(parts), _INSTRUCTIONS)
    return JsonFormat(section, layout, _start(guideline), by_guideline(section, guideline))


def _start(guideline: Guideline) -> Start:
    def start(grammar: Grammar) -> str:
        opening = literal('{"entities"' + grammar.writing.colon + "[")
        return f"{opening} {grammar.object(guideline.types)} {literal(']}')}"

    return start


def _doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _printed(value: Json, indent: str = "") -> str:
    """Pretty-print with two spaces per level and lists of plain words on one line, as the card
    does."""
    deeper = indent + "  "
    if isinstance(value, dict):
        pairs = (f"{deeper}{_text(key)}: {_printed(one, deeper)}" for key, one in value.items())
        return "{\n" + ",\n".join(pairs) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        items = (deeper + _printed(item, deeper) for item in value)
        return "[\n" + ",\n".join(items) + f"\n{indent}]"
    return _text(value)


def _text(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)
