"""The ``entity-list`` format of Qwen2.5-7B-Vietnamese-Medical-NER: a JSON list of entity and type.

The system turn lists the types with their definitions, the user turn is the text, and examples are
turns of their own. Only requested types are returned.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from actors.config.prompt import PromptSection
from actors.guideline import Array, Example, Guideline, Scalar
from actors.prompts.chat import ChatTemplate, lay_out, turns
from actors.prompts.grammar import Grammar, literal
from actors.prompts.json_answer import FULL, LONG, Bounds
from actors.prompts.json_format import JsonFormat, Start, Understood
from actors.prompts.json_reader import JsonNode, Keyed, Leaf, Listed
from actors.prompts.types import PlacedMention, PromptError
from actors.spans import Mention

_ENTITY, _TYPE = "entity", "type"
_USER = "Text: "
_TASK = (
    "You are a medical expert. Your task is to identify and extract medical entities from the "
    "given text.\nThe entity types to extract are:\n"
)
_ANSWER = (
    '\n\nReturn the result as a JSON list containing dictionaries with "entity" and "type" keys. '
    "If no relevant entities are found, return an empty list []"
)
_STRINGS = (Scalar("verbatim-string"), Scalar("string"))


def entity_list(section: PromptSection, guideline: Guideline, chat: ChatTemplate) -> JsonFormat:
    """Build the format for one guideline; every label must be of a string type."""
    for name, kind in guideline.types:
        if (kind.item if isinstance(kind, Array) else kind) not in _STRINGS:
            raise PromptError(
                f"format entity-list supports only string types; {name} has another type"
            )
    lines = (
        f"- {name}: {label.definition}" if label.definition else f"- {name}"
        for name, label in guideline.labels.items()
    )
    system = section.system or _TASK + "\n".join(lines) + _ANSWER
    examples = guideline.examples if section.examples else ()
    answered = ((_USER + example.text, _answer(example)) for example in examples)
    layout = lay_out(chat, turns(system, *answered), _USER)

    def understand(completion: str, values: list[JsonNode]) -> Understood:
        problems: list[str] = []
        bounds = Bounds.of(section, len(guideline.labels))
        items = list(_items(values))
        if bounds.list_ends(len(items)):
            problems.append(FULL)
        mentions = list(_mentions(items, guideline, problems))
        if any(bounds.string_ends(one.mention.text) for one in mentions):
            problems.append(LONG)
        return mentions, None, list(dict.fromkeys(problems)), bounds.met

    return JsonFormat(section, layout, _start(guideline, section), understand)


def _start(guideline: Guideline, section: PromptSection) -> Start:
    def start(grammar: Grammar) -> str:
        words = grammar.verbatim
        colon, comma = grammar.writing.colon, grammar.writing.comma
        if words is None:
            return literal("[]")
        entity = literal("{" + grammar.writing.text(_ENTITY) + colon)
        kind = literal(comma + grammar.writing.text(_TYPE) + colon)
        item = f"{entity} {words} {kind} {grammar.one_of(tuple(guideline.labels))} {literal('}')}"
        return grammar.array(item, section.max_items * len(guideline.labels))

    return start


def _answer(example: Example) -> str:
    """Return an example's entities, label by label."""
    items = []
    for name, value in example.output.items():
        words = value if isinstance(value, list) else [value]
        items += [{_ENTITY: word, _TYPE: name} for word in words if word is not None]
    return json.dumps(items, ensure_ascii=False)


def _mentions(
    items: list[JsonNode], guideline: Guideline, problems: list[str]
) -> Iterator[PlacedMention]:
    names = guideline.names
    for item in items:
        pairs = dict(item.pairs) if isinstance(item, Keyed) else {}
        words, kind = pairs.get(_ENTITY), pairs.get(_TYPE)
        if not isinstance(words, Leaf) or not isinstance(kind, Leaf):
            problems.append("an item without entity and type")
            continue
        label = names.get(str(kind.value).strip().casefold())
        if label is None:
            problems.append("unexpected type")
        elif isinstance(words.value, str) and words.value.strip():
            yield PlacedMention(Mention(label, words.value), (words.start, words.end))
        else:
            problems.append("an item without text")


def _items(values: list[JsonNode]) -> Iterator[JsonNode]:
    """Yield the items of the list, whether or not an object wraps it, or a single item."""
    for value in values:
        if isinstance(value, Listed):
            yield from value.items
        elif isinstance(value, Keyed) and not any(key == _ENTITY for key, _ in value.pairs):
            yield from _items([node for _, node in value.pairs if isinstance(node, Listed)])
        else:
            yield value
