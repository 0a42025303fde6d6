"""Validate a parsed answer against the requested types; produce mentions and a filled template."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from actors.config.prompt import PromptSection
from actors.guideline import Array, Enum, Guideline, Json, MultiLabel, Object, Scalar, ValueType
from actors.prompts.json_reader import JsonNode, Keyed, Leaf, Listed
from actors.prompts.types import PlacedMention
from actors.spans import Mention

PATH = "path"
_ENTITIES = "entities"


@dataclass(slots=True)
class Bounds:
    """Grammar limits of lists (items) and strings (characters); None: no grammar.

    ``met`` becomes True if a list or string reaches its limit, so the model may have had more to
    say.
    """

    items: int | None
    characters: int | None
    met: bool = False

    @classmethod
    def of(cls, section: PromptSection, lists: int = 1) -> Bounds:
        """Return the limits of a format; ``lists``: the number of label lists merged into its one
        list."""
        if not section.constrained:
            return cls(None, None)
        return cls(section.max_items * lists, section.max_length)

    def list_ends(self, items: int) -> bool:
        """Return True if a list with this many items is at its limit."""
        ends = self.items is not None and items >= self.items
        self.met |= ends
        return ends

    def string_ends(self, text: str) -> bool:
        """Return True if a string is at its limit."""
        ends = self.characters is not None and len(text) >= self.characters
        self.met |= ends
        return ends


FULL = "the list reached prompt.max_items: there may be more"
LONG = "a string reached prompt.max_length: it may be cut off"


class Answer:
    """The mentions and the structured result of one completion under one guideline.

    Every string of a string type becomes a mention. At the top level its label is the guideline's;
    in a nested value it is the path without indices (``DRUG.dose``), and the attribute ``path`` is
    the path with them (``DRUG[1].dose``). The value of an enum in an object is an attribute of the
    object's mentions, such as ``status: absent``.
    """

    def __init__(
        self, guideline: Guideline, completion: str, values: Iterable[JsonNode], bounds: Bounds
    ) -> None:
        self.mentions: list[PlacedMention] = []
        self.problems: list[str] = []
        self._bounds = bounds
        self._completion = completion
        nodes: dict[str, JsonNode] = {}
        names = guideline.names
        for key, node in self._pairs(values, names):
            name = names.get(key.casefold())
            if name is None:
                self._problem("unexpected label")
            elif name in nodes:
                nodes[name] = _concatenate(nodes[name], node)
            else:
                nodes[name] = node
        filled = {
            name: self._value(nodes.get(name), kind, name, name) for name, kind in guideline.types
        }
        self.structured: str | None = json.dumps(filled, ensure_ascii=False) if nodes else None

    def _pairs(
        self, values: Iterable[JsonNode], names: Mapping[str, str]
    ) -> Iterator[tuple[str, JsonNode]]:
        """Yield the label pairs, whatever they are wrapped in."""
        for value in values:
            if isinstance(value, Listed):
                yield from self._pairs(value.items, names)
            elif isinstance(value, Keyed):
                for key, node in value.pairs:
                    if key.casefold() == _ENTITIES and _ENTITIES not in names:
                        yield from self._pairs([node], names)
                    else:
                        yield key, node
            else:
                self._problem("a value instead of labels")

    def _value(self, node: JsonNode | None, kind: ValueType, label: str, path: str) -> Json:
        if isinstance(node, Leaf) and node.value is None:
            node = None
        match kind:
            case Array(item):
                return self._array(node, item, label, path)
            case MultiLabel(values):
                words = self._array(node, Scalar("string"), label, path, choices=len(values))
                return [
                    word for word in dict.fromkeys(map(str, words)) if self._known(word, values)
                ]
            case Object(fields):
                return self._object(node, fields, label, path)
            case Enum(values):
                word = self._leaf(node, label)
                known = word is not None and self._known(str(word.value), values)
                return str(word.value) if word is not None and known else None
            case Scalar(name):
                return self._scalar(node, name, label, path)

    def _array(
        self,
        node: JsonNode | None,
        item: ValueType,
        label: str,
        path: str,
        choices: int | None = None,
    ) -> list[Json]:
        """``choices``: number of enum words in a multi-label; its items are not mentions."""
        if node is None:
            return []
        if not isinstance(node, Listed):
            self._problem(f"{label}: a single value instead of a list")
            node = Listed([node])
        if len(node.items) != choices and self._bounds.list_ends(len(node.items)):
            self._problem(f"{label}: {FULL}")
        found: list[Json] = []
        nested = not isinstance(item, Scalar) or "." in path
        for index, one in enumerate(node.items):
            place = f"{path}[{index}]" if nested else path
            value = _word(one) if choices is not None else self._value(one, item, label, place)
            if value is not None:
                found.append(value)
        return found

    def _object(
        self,
        node: JsonNode | None,
        fields: tuple[tuple[str, ValueType], ...],
        label: str,
        path: str,
    ) -> Json:
        nodes: dict[str, JsonNode] = {}
        if isinstance(node, Keyed):
            nodes = dict(node.pairs)
        elif node is not None:
            self._problem(f"{label}: not an object")
        known = dict(fields)
        if any(key not in known for key in nodes):
            self._problem(f"{label}: unexpected key")
        first = len(self.mentions)
        values = {
            key: self._value(nodes.get(key), kind, f"{label}.{key}", f"{path}.{key}")
            for key, kind in fields
        }
        chosen = {
            key: str(values[key])
            for key, kind in fields
            if isinstance(kind, Enum) and values[key] is not None and key != PATH
        }
        if chosen:
            self.mentions[first:] = [_with_attributes(one, chosen) for one in self.mentions[first:]]
        return values

    def _scalar(self, node: JsonNode | None, name: str, label: str, path: str) -> Json:
        leaf = self._leaf(node, label)
        if leaf is None:
            return None
        if name in {"integer", "number"}:
            return self._number(leaf, name, label)
        # For a number or boolean in place of a string, take the printed characters.
        text = (
            leaf.value if isinstance(leaf.value, str) else self._completion[leaf.start : leaf.end]
        )
        if not text.strip():
            return None
        if self._bounds.string_ends(text):
            self._problem(f"{label}: {LONG}")
        if name != "date-time":
            attributes = {PATH: path} if path != label else {}
            mention = Mention(label, text, attributes=attributes)
            self.mentions.append(PlacedMention(mention, (leaf.start, leaf.end)))
        return text

    def _number(self, leaf: Leaf, name: str, label: str) -> int | float | None:
        value = leaf.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._problem(f"{label}: not a number")
            return None
        if name == "integer" and value != int(value):
            self._problem(f"{label}: not an integer")
            return None
        return int(value) if name == "integer" else value

    def _leaf(self, node: JsonNode | None, label: str) -> Leaf | None:
        if isinstance(node, Listed) and node.items:
            if len(node.items) > 1:
                self._problem(f"{label}: a list instead of a single value; the first item is used")
            node = node.items[0]
        if isinstance(node, Leaf):
            return node if node.value is not None else None
        if isinstance(node, Keyed):
            self._problem(f"{label}: an object instead of a single value")
        return None

    def _known(self, word: object, values: tuple[str, ...]) -> bool:
        if word not in values:
            self._problem("a word outside the guideline's enum")
            return False
        return True

    def _problem(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


def _with_attributes(placed: PlacedMention, chosen: Mapping[str, str]) -> PlacedMention:
    attributes = {**chosen, **placed.mention.attributes}
    return replace(placed, mention=replace(placed.mention, attributes=attributes))


def _word(node: JsonNode) -> str | None:
    return node.value if isinstance(node, Leaf) and isinstance(node.value, str) else None


def _concatenate(first: JsonNode, second: JsonNode) -> JsonNode:
    """Merge two values of one label: a repeated label continues its list."""
    items = [*(first.items if isinstance(first, Listed) else [first])]
    items += second.items if isinstance(second, Listed) else [second]
    return Listed(items)
