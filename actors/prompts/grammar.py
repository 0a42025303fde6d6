"""Compile types to a grammar for JSON that always parses, in llguidance's Lark dialect.

Keys come in the guideline's order. Whitespace is fixed, so a model cannot loop on it; lists and
strings are bounded. If a document is given, verbatim strings can only be copied from it: runs of
its words (or characters), JSON-escaped, never empty and never with whitespace at an end, so each
parses back to an exact span.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from json.encoder import encode_basestring

from actors.config.prompt import JsonStyle, PromptSection, Verbatim
from actors.guideline import Array, Enum, MultiLabel, Object, Scalar, ValueType
from actors.words import clusters, words

# One character of a JSON string, by its length in the output. \\u is excluded: models print the
# character itself, and a lone surrogate is invalid text.
_CHARACTER = r"([^\"\\\x00-\x1f\x7f]|\\[\"\\nrt])"
# First and last character of a copied string: no whitespace or control character, escaped or not.
_EDGE = r"([^\s\\\x00-\x1f]|\\[\"\\])"
_INNER = r"([^\\\x00-\x1f]|\\u[0-9a-f]{4}|\\[^u])"
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_NO_EDGE = re.compile(r"[\s\x00-\x1f\ud800-\udfff]")
# No JSON string contains a raw control character, so nothing is copied across it.
_BREAK = "\x01"

_NUMBERS = {
    "integer": r"/-?(0|[1-9][0-9]{0,17})/",
    "number": r"/-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?([eE][+-]?[0-9]{1,3})?/",
    "date-time": (
        r'/"[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01])'
        r"(T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
        r'(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?)?)?)?"/'
    ),
}


@dataclass(frozen=True)
class Writing:
    """The fixed whitespace of the output, as in json.dumps."""

    comma: str
    colon: str

    def text(self, value: object) -> str:
        """Serialise a value as the grammar makes a model print it."""
        return json.dumps(value, ensure_ascii=False, separators=(self.comma, self.colon))


WRITINGS: dict[JsonStyle, Writing] = {
    "spaced": Writing(", ", ": "),
    "compact": Writing(",", ":"),
}


class Grammar:
    """Collects the rules of one grammar; ``lark`` renders it."""

    def __init__(self, section: PromptSection, text: str | None) -> None:
        """``text`` is the source of verbatim strings; None if it is unknown, e.g. an image that
        only the model reads: then any string is allowed."""
        self.writing = WRITINGS[section.json_style]
        self._max_items = section.max_items
        self._rules: dict[str, str] = {}
        self._terminals: dict[str, str] = {}
        self.verbatim = self._verbatim(section.verbatim, text, section.max_length)
        self._string = rf'/"{_CHARACTER}{{1,{section.max_length}}}"/'

    def lark(self, start: str) -> str:
        """Render the grammar that starts with the expression ``start``."""
        rules = {"start": start, **self._rules, **self._terminals}
        return "".join(f"{name}: {body}\n" for name, body in rules.items())

    def value(self, value_type: ValueType) -> str:
        """Return the expression for any value of a type."""
        match value_type:
            case Scalar(name):
                return _optional(self.scalar(name))
            case Enum(values):
                return _optional(self.one_of(values))
            case MultiLabel(values):
                return self.array(self.one_of(values), min(len(values), self._max_items))
            case Array(item):
                return self.array(self._item(item), self._max_items)
            case Object(fields):
                return self.object(fields)

    def object(self, fields: tuple[tuple[str, ValueType], ...]) -> str:
        """Return an object with every key, in order."""
        parts = []
        for index, (key, value_type) in enumerate(fields):
            opening = self.writing.comma if index else "{"
            parts.append(literal(f"{opening}{self.writing.text(key)}{self.writing.colon}"))
            parts.append(self.value(value_type))
        return " ".join([*parts, literal("}")])

    def array(self, item: str | None, most: int) -> str:
        """Return a list of up to ``most`` items; only the empty list if no item is possible."""
        if item is None:
            return literal("[]")
        # llguidance does not support {0,0}.
        more = f" ({literal(self.writing.comma)} {item}){{0,{most - 1}}}" if most > 1 else ""
        return self._rule(f'"[" ({item}{more})? "]"')

    def one_of(self, values: tuple[str, ...]) -> str:
        """Return an alternative of words, as a JSON string."""
        return self._rule(" | ".join(literal(self.writing.text(value)) for value in values))

    def scalar(self, name: str) -> str | None:
        """Return a non-null scalar; None if the text allows none."""
        if name == "verbatim-string":
            return self.verbatim
        if name == "string":
            return self._terminal("STRING", self._string)
        return self._terminal(name.replace("-", "_").upper(), _NUMBERS[name])

    def _item(self, item: ValueType) -> str | None:
        match item:
            case Scalar(name):
                return self.scalar(name)
            case Enum(values):
                return self.one_of(values)
            case _:
                return self._rule(self.value(item))

    def _verbatim(self, verbatim: Verbatim, text: str | None, most: int) -> str | None:
        if verbatim == "off" or text is None:
            return self._terminal("STRING", rf'/"{_CHARACTER}{{1,{most}}}"/')
        chunks = words(text) if verbatim == "words" else clusters(text)
        escaped = [_escaped(chunk) for chunk in chunks]
        # Any copyable string begins with a copyable chunk, so this detects dead ends.
        if not any(
            len(chunk) <= most and not _NO_EDGE.match(chunk) and shown != _BREAK
            for chunk, shown in zip(chunks, escaped, strict=True)
        ):
            return None
        substring = json.dumps({"substring_chunks": escaped}, ensure_ascii=False)
        self._terminals["COPIED"] = f"%regex {substring}"
        inner = rf"({_INNER}{{0,{most - 2}}}{_EDGE})?" if most > 1 else ""
        self._terminals["SPAN"] = f"COPIED & /(?s:{_EDGE}{inner})/"
        return self._rule(r'"\"" SPAN "\""')

    def _rule(self, body: str) -> str:
        name = next((name for name, known in self._rules.items() if known == body), None)
        if name is None:
            name = f"r{len(self._rules)}"
            self._rules[name] = body
        return name

    def _terminal(self, name: str, body: str) -> str:
        self._terminals[name] = body
        return name


def literal(text: str) -> str:
    """Return a string as a Lark literal."""
    return json.dumps(text, ensure_ascii=False)


def _escaped(chunk: str) -> str:
    """Return a chunk as it appears inside a JSON string."""
    return _BREAK if _SURROGATE.search(chunk) else encode_basestring(chunk)[1:-1]


def _optional(expression: str | None) -> str:
    return '"null"' if expression is None else f'({expression} | "null")'
