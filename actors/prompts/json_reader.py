"""A tolerant JSON reader for model output that records the position of every string.

It accepts JSON that is wrapped, in a code fence, with doubled braces or a trailing comma, a
fragment that starts with its first key, or JSON that is cut off. Complete values are read; every
deviation from plain JSON is reported as a problem that quotes nothing. Nothing is guessed: an
incomplete value is dropped.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from math import isfinite

_SPACE = re.compile(r"\s*")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_FENCE = re.compile(r"```[A-Za-z]*\s*")
_WORDS = {"true": True, "false": False, "null": None}
_TRUNCATED = "truncated: the JSON ends early"
_DEEPEST = 32
_CHANNEL = "<|channel|>"
_FINAL = "<|channel|>final<|message|>"
_LONGEST_INTEGER = 19


@dataclass(frozen=True, slots=True)
class Leaf:
    """A string, number, boolean or null; [``start``, ``end``) is its position, without quotes."""

    value: str | int | float | bool | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Listed:
    """The complete items of a list."""

    items: list[JsonNode] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Keyed:
    """The complete pairs of an object, in order; a key may repeat."""

    pairs: list[tuple[str, JsonNode]] = field(default_factory=list)


JsonNode = Leaf | Listed | Keyed


@dataclass(frozen=True, slots=True)
class SplitCompletion:
    """A completion split into thinking block and answer; ``start`` is where the answer begins."""

    reasoning: str | None
    start: int
    closed: bool


def split_reasoning(completion: str, begun: bool = False) -> SplitCompletion:
    """Split off the thinking block that a reasoning model prints first: ``<think>``, or harmony's
    channels.

    A chat template may open the block itself, so that the completion only closes it. ``begun``
    is true if it did; without, a completion that starts like JSON is taken for the answer.
    """
    if completion.lstrip().startswith(_CHANNEL):
        return _split_channels(completion)
    begin = _SPACE.match(completion).end()  # type: ignore[union-attr]
    opened = completion.startswith("<think>", begin)
    if not opened and not begun and completion[begin : begin + 1] in {"{", "[", '"', "`"}:
        return SplitCompletion(None, 0, closed=True)
    start = begin + len("<think>") if opened else begin
    end = completion.find("</think>", start)
    if end < 0:
        if not opened and not begun:
            return SplitCompletion(None, 0, closed=True)
        return SplitCompletion(completion[start:].strip(), len(completion), closed=False)
    after = end + len("</think>")
    return SplitCompletion(completion[start:end].strip() or None, after, closed=True)


def _split_channels(completion: str) -> SplitCompletion:
    final = completion.find(_FINAL)
    thinking = completion if final < 0 else completion[:final]
    # The content between the channel markers; the markers themselves are dropped.
    messages = [part.partition("<|message|>")[2] for part in thinking.split(_CHANNEL)[1:]]
    reasoning = "\n\n".join(part.partition("<|end|>")[0].strip() for part in messages)
    if final < 0:
        return SplitCompletion(reasoning or None, len(completion), closed=False)
    return SplitCompletion(reasoning or None, final + len(_FINAL), closed=True)


def read(text: str, start: int = 0) -> tuple[list[JsonNode], list[str]]:
    """Read the values in ``text`` from ``start`` on; return them and the problems of their form."""
    reader = _Reader(text, start)
    values = reader.values()
    return values, list(dict.fromkeys(reader.problems))


class _Reader:
    def __init__(self, text: str, start: int) -> None:
        self._text = text
        self._at = start
        self._stopped = False
        self._fragment = False
        self.problems: list[str] = []

    def values(self) -> list[JsonNode]:
        """Read all top-level values: a single one if the model followed the format."""
        if not self._find_beginning():
            return []
        if self._peek() == '"':
            self.problems.append("fragment: the braces around the keys are missing")
            self._fragment = True
            found_pairs = Keyed()
            self._pairs(found_pairs, 0)
            return [found_pairs]
        found: list[JsonNode] = []
        while not self._stopped:
            value = self._value(0)
            if value is not None:
                found.append(value)
            self._skip()
            if self._peek() == ",":
                self._at += 1
                self._skip()
            if self._peek() not in {"{", "["}:
                break
        if len(found) > 1:
            self.problems.append("several JSON values instead of one")
        self._check_trailing_text()
        return found

    def _find_beginning(self) -> bool:
        self._skip()
        fence = _FENCE.match(self._text, self._at)
        if fence:
            self.problems.append("code fence")
            self._at = fence.end()
        if self._peek() in {"{", "[", '"'}:
            return True
        place = re.compile(r"[{\[]").search(self._text, self._at)
        if place is None:
            self.problems.append("no JSON in the output")
            return False
        before = self._text[self._at : place.start()]
        if _FENCE.sub("", before).strip():
            self.problems.append("text before the JSON")
        self._at = place.start()
        return True

    def _check_trailing_text(self) -> None:
        rest = self._text[self._at :].replace("```", "").strip(" \t\r\n,")
        if not self._stopped and rest:
            self.problems.append("text after the JSON")

    def _value(self, depth: int) -> JsonNode | None:
        if depth > _DEEPEST:
            return self._stop("nested too deeply")
        self._skip()
        match self._peek():
            case "{":
                return self._object(depth)
            case "[":
                return self._array(depth)
            case '"':
                return self._string()
            case "":
                return self._stop(_TRUNCATED)
        return self._word()

    def _object(self, depth: int) -> JsonNode | None:
        self._at += 1
        self._skip()
        if self._peek() == "{":
            self.problems.append("doubled braces")
            inner = self._value(depth + 1)
            self._skip()
            if self._peek() == "}":
                self._at += 1
            return inner
        found = Keyed()
        self._pairs(found, depth)
        return found

    def _pairs(self, into: Keyed, depth: int) -> None:
        while not self._stopped and not self._closes("}", depth):
            key = self._string() if self._peek() == '"' else self._stop_here()
            if key is None:
                return
            self._skip()
            if self._peek() != ":":
                self._stop_here()
                return
            self._at += 1
            value = self._value(depth + 1)
            if value is not None:
                into.pairs.append((str(key.value), value))
            if not self._comma("}"):
                return

    def _array(self, depth: int) -> Listed:
        self._at += 1
        found = Listed()
        while not self._stopped and not self._closes("]", depth):
            value = self._value(depth + 1)
            if value is not None:
                found.items.append(value)
            if not self._comma("]"):
                break
        return found

    def _closes(self, closing: str, depth: int) -> bool:
        """Return True if the container ends here: at its bracket or, for a fragment, at the text's
        end."""
        self._skip()
        if self._peek() == closing:
            self._at += 1
            return True
        if self._peek() == "":
            if depth > 0 or not self._fragment:
                self._stop(_TRUNCATED)
            return True
        return False

    def _comma(self, closing: str) -> bool:
        """Consume the comma after an item; return False if no further item can follow."""
        if self._stopped:
            return False
        self._skip()
        if self._peek() == ",":
            self._at += 1
            self._skip()
            if self._peek() in {closing, ""}:
                self.problems.append("trailing comma")
            return True
        if self._peek() not in {closing, ""}:
            self._stop_here()
            return False
        return True

    def _string(self) -> Leaf | None:
        found = _STRING.match(self._text, self._at)
        if found is None:
            return self._stop(_TRUNCATED)
        self._at = found.end()
        return Leaf(self._unescaped(found[1]), found.start(1), found.end(1))

    def _unescaped(self, body: str) -> str:
        if "\\" not in body:
            return body
        try:
            value = str(json.loads(f'"{body}"', strict=False))
            value.encode()
        except ValueError:
            self.problems.append("a string with an invalid escape, kept as is")
            return body
        return value

    def _word(self) -> Leaf | None:
        for word, value in _WORDS.items():
            if self._text.startswith(word, self._at):
                self._at += len(word)
                return Leaf(value, self._at - len(word), self._at)
        found = _NUMBER.match(self._text, self._at)
        if found is None:
            return self._stop_here()
        if found.end() == len(self._text):
            return self._stop(_TRUNCATED)
        self._at = found.end()
        whole = not found[1] and not found[2] and len(found[0]) < _LONGEST_INTEGER
        number = int(found[0]) if whole else float(found[0])
        if not isfinite(number):
            return self._stop(f"not JSON from character {found.start()} on")
        return Leaf(number, found.start(), found.end())

    def _stop_here(self) -> Leaf | None:
        if any(word.startswith(self._text[self._at :]) for word in _WORDS):
            return self._stop(_TRUNCATED)
        return self._stop(f"not JSON from character {self._at} on")

    def _stop(self, problem: str) -> Leaf | None:
        """Stop reading and return None: an error in a value stops everything around it."""
        if not self._stopped:
            self.problems.append(problem)
        self._stopped = True
        return None

    def _skip(self) -> None:
        self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]
