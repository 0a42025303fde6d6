"""One document on its way through the engine: its windows, and what was said of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from math import exp
from typing import Any

from actors.chunking import windows
from actors.engine import Completion
from actors.gguf.asking import Asking
from actors.prompts import Parsed, Said
from actors.spans import Document, Extraction, Mention, TokenChoice


@dataclass(slots=True)
class Reading:
    """A document, the places of its windows in code points, and their completions."""

    document: Document
    future: Future[Extraction]
    asking: Asking
    places: list[tuple[int, int]]
    asked: list[Future[Completion]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was done with the document before it was asked about, such as pages made smaller."""
    seconds: float = 0.0


def cut(
    text: str, tokens: Sequence[int], pieces: Sequence[bytes], size: int, overlap: int
) -> list[tuple[int, int]]:
    """Windows of at most ``size`` of the text's own tokens as [start, end) in code points.

    An edge inside a character moves before it. Raises ValueError for a vocabulary whose tokens do
    not spell their text.
    """
    if len(tokens) <= size:
        return [(0, len(text))]
    raw = text.encode()
    spelled = b"".join(pieces[token] for token in tokens)
    lead = len(spelled) - len(raw)  # a SentencePiece vocabulary puts a space before a text
    if spelled[max(0, lead) :] != raw:
        raise ValueError("this vocabulary's tokens do not spell their text: it cannot be windowed")
    character = _characters(raw)
    starts, words, at, word = [], [], -lead, 0
    for token in tokens:
        starts.append(character[max(0, at)])
        word += pieces[token][:1].isspace()
        words.append(word)
        at += len(pieces[token])
    starts.append(len(text))
    cuts = windows(len(tokens), size, overlap, words)
    return [(starts[window.start], starts[window.end]) for window in cuts]


def _characters(raw: bytes) -> list[int]:
    """The index of the code point that each byte belongs to, and of the end."""
    result, index = [], -1
    for byte in raw:
        index += (byte & 0xC0) != 0x80
        result.append(index)
    return [*result, index + 1]


def scored(said: Said, completion: Completion, pieces: Sequence[bytes]) -> Mention:
    """The mention with its score: the probability that the model, having begun a string here,
    prints exactly these words: the product over the tokens that hold them, each probability
    among the tokens that the grammar allowed; a forced token counts 1."""
    if not completion.logprobs:
        return said.mention
    start, end = (_printed_bytes(completion, pieces, place) for place in said.span)
    total, before = 0.0, 0
    for after, logprob in zip(completion.ends, completion.logprobs, strict=True):
        if before < end and after > start:
            total += logprob
        before = after
    return replace(said.mention, score=round(exp(total), 6))


def _printed_bytes(completion: Completion, pieces: Sequence[bytes], characters: int) -> int:
    """How many bytes the first ``characters`` of a completion were printed as: what is no UTF-8
    stands in its text as U+FFFD, which has three bytes whatever it was made of."""
    text = completion.text[:characters]
    if "\ufffd" not in text:
        return len(text.encode())
    raw, at = b"".join(pieces[token] for token in completion.tokens), 0
    while True:
        try:
            good, bad = raw[at:].decode(), 0
        except UnicodeDecodeError as error:
            good, bad = raw[at : at + error.start].decode(), error.end - error.start
        if characters <= len(good):
            return at + len(good[:characters].encode())
        characters -= len(good) + 1
        at += len(good.encode()) + bad


def choices(completions: Sequence[Completion], pieces: Sequence[bytes]) -> Iterator[TokenChoice]:
    """The tokens of all windows with what else was likely; none where it was not asked for."""

    def text(token: int) -> str:
        return pieces[token].decode("utf-8", "replace")

    for completion in completions:
        if completion.likeliest:
            for token, logprob, likeliest in zip(
                completion.tokens, completion.logprobs, completion.likeliest, strict=True
            ):
                others = tuple((text(other), round(chance, 6)) for other, chance in likeliest)
                yield TokenChoice(text(token), round(logprob, 6), others)


def united(parts: Sequence[Parsed]) -> str | None:
    """The structured answers of a document's windows as one: lists are joined without repeats,
    of other values the first that is not null stays. None where no window has one."""
    values = [json.loads(part.structured) for part in parts if part.structured is not None]
    if not values:
        return None
    result = values[0]
    for value in values[1:]:
        result = _joined(result, value)
    return json.dumps(result, ensure_ascii=False)


def _joined(one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: _joined(one.get(key), other.get(key)) for key in {**one, **other}}
    if isinstance(one, list) and isinstance(other, list):
        return one + [item for item in other if item not in one]
    return other if one is None else one
