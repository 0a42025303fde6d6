"""A read answer, held against the types that were asked for: mentions, and the template filled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from actors.config.prompt import PromptSection
from actors.guideline import Array, Enum, Guideline, Json, MultiLabel, Object, Scalar, ValueType
from actors.prompts.prompt import Said
from actors.prompts.reading import Keyed, Leaf, Listed, Node
from actors.spans import Mention

PATH = "path"
_ENTITIES = "entities"


@dataclass(slots=True)
class Bounds:
    """What the grammar let lists (items) and strings (characters) hold; None: no grammar.

    ``met`` says that one of them is as long as that, so that the model may have had more to say.
    """

    items: int | None
    characters: int | None
    met: bool = False

    @classmethod
    def of(cls, section: PromptSection, lists: int = 1) -> Bounds:
        """The bounds of a format; ``lists``: how many lists of a label each its one list holds."""
        if not section.constrained:
            return cls(None, None)
        return cls(section.max_items * lists, section.max_length)

    def list_ends(self, items: int) -> bool:
        """Whether a list of so many items ends at its bound."""
        ends = self.items is not None and items >= self.items
        self.met |= ends
        return ends

    def string_ends(self, text: str) -> bool:
        """Whether a string ends at its bound."""
        ends = self.characters is not None and len(text) >= self.characters
        self.met |= ends
        return ends


FULL = "as many items as prompt.max_items allows: there may be more"
LONG = "a string of prompt.max_length characters: it may be cut off"


class Answer:
    """The mentions and the structure of one completion by one guideline.

    Every string of a string type becomes a mention. At the top its label is the guideline's; in a
    nested value it is the way there without places (``DRUG.dose``), and the attribute ``path`` is
    the way with them (``DRUG[1].dose``).
    """

    def __init__(
        self, guideline: Guideline, completion: str, values: Iterable[Node], bounds: Bounds
    ) -> None:
        self.said: list[Said] = []
        self.problems: list[str] = []
        self._bounds = bounds
        self._completion = completion
        given: dict[str, Node] = {}
        names = guideline.names
        for key, node in self._pairs(values, names):
            name = names.get(key.casefold())
            if name is None:
                self._problem("a label that was not asked for")
            elif name in given:
                given[name] = _joined(given[name], node)
            else:
                given[name] = node
        filled = {
            name: self._value(given.get(name), kind, name, name) for name, kind in guideline.types
        }
        self.structured: str | None = json.dumps(filled, ensure_ascii=False) if given else None

    def _pairs(
        self, values: Iterable[Node], names: Mapping[str, str]
    ) -> Iterator[tuple[str, Node]]:
        """The label pairs, whatever they are wrapped in."""
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
                self._problem("a value where labels were asked for")

    def _value(self, node: Node | None, kind: ValueType, label: str, path: str) -> Json:
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
        self, node: Node | None, item: ValueType, label: str, path: str, choices: int | None = None
    ) -> list[Json]:
        """``choices``: how many words there are to choose from, which then are no mentions."""
        if node is None:
            return []
        if not isinstance(node, Listed):
            self._problem(f"{label}: a single value where a list was asked for")
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
        self, node: Node | None, fields: tuple[tuple[str, ValueType], ...], label: str, path: str
    ) -> Json:
        given: dict[str, Node] = {}
        if isinstance(node, Keyed):
            given = dict(node.pairs)
        elif node is not None:
            self._problem(f"{label}: not an object")
        known = dict(fields)
        if any(key not in known for key in given):
            self._problem(f"{label}: a key that was not asked for")
        return {
            key: self._value(given.get(key), kind, f"{label}.{key}", f"{path}.{key}")
            for key, kind in fields
        }

    def _scalar(self, node: Node | None, name: str, label: str, path: str) -> Json:
        leaf = self._leaf(node, label)
        if leaf is None:
            return None
        if name in {"integer", "number"}:
            return self._number(leaf, name, label)
        # A number or boolean in place of a string stands for the characters that were printed.
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
            self.said.append(Said(mention, (leaf.start, leaf.end)))
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

    def _leaf(self, node: Node | None, label: str) -> Leaf | None:
        if isinstance(node, Listed) and node.items:
            if len(node.items) > 1:
                self._problem(
                    f"{label}: a list where a single value was asked for, the first taken"
                )
            node = node.items[0]
        if isinstance(node, Leaf):
            return node if node.value is not None else None
        if isinstance(node, Keyed):
            self._problem(f"{label}: an object where a single value was asked for")
        return None

    def _known(self, word: object, values: tuple[str, ...]) -> bool:
        if word not in values:
            self._problem("a word that the guideline does not offer")
            return False
        return True

    def _problem(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


def _word(node: Node) -> str | None:
    return node.value if isinstance(node, Leaf) and isinstance(node.value, str) else None


def _joined(first: Node, second: Node) -> Node:
    """Two values of one label: a model that began the label again goes on with its list."""
    items = [*(first.items if isinstance(first, Listed) else [first])]
    items += second.items if isinstance(second, Listed) else [second]
    return Listed(items)
