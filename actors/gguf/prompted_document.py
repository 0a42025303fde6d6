"""One in-flight document: its windows, and the completions of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from math import exp
from typing import Any

from actors.engine import Completion
from actors.gguf.prompt_plans import PromptPlan
from actors.prompts import ParsedAnswer, PlacedMention
from actors.spans import Document, Extraction, Mention, TokenChoice
from actors.windows import windows


@dataclass(slots=True)
class PromptedDocument:
    """An in-flight document: its window spans in code points, and their completions."""

    document: Document
    future: Future[Extraction]
    plan: PromptPlan
    places: list[tuple[int, int]]
    window_futures: list[Future[Completion]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Preprocessing applied to the document, such as downscaled pages."""
    seconds: float = 0.0


def cut(
    text: str, tokens: Sequence[int], pieces: Sequence[bytes], size: int, overlap: int
) -> list[tuple[int, int]]:
    """Split into windows of at most ``size`` of the text's own tokens; [start, end) in code points.

    An edge inside a character moves before it. Raises ValueError if the vocabulary's tokens do not
    spell their text.
    """
    if len(tokens) <= size:
        return [(0, len(text))]
    raw = text.encode()
    spelled = b"".join(pieces[token] for token in tokens)
    lead = len(spelled) - len(raw)  # a SentencePiece vocabulary prepends a space
    if spelled[max(0, lead) :] != raw:
        raise ValueError(
            "this vocabulary's tokens do not spell their text, so it cannot be split into windows"
        )
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
    """Return the code-point index of each byte, and of the end."""
    result, index = [], -1
    for byte in raw:
        index += (byte & 0xC0) != 0x80
        result.append(index)
    return [*result, index + 1]


def scored(placed: PlacedMention, completion: Completion, pieces: Sequence[bytes]) -> Mention:
    """Return the mention with its score: the probability that the model, having started a string
    here, prints exactly this text. It is the product over the tokens that contain it, each
    probability taken among the tokens the grammar allowed; a forced token counts 1."""
    if not completion.logprobs:
        return placed.mention
    start, end = (_printed_bytes(completion, pieces, place) for place in placed.span)
    total, before = 0.0, 0
    for after, logprob in zip(completion.ends, completion.logprobs, strict=True):
        if before < end and after > start:
            total += logprob
        before = after
    return replace(placed.mention, score=round(exp(total), 6))


def _printed_bytes(completion: Completion, pieces: Sequence[bytes], characters: int) -> int:
    """Return the number of raw bytes behind the first ``characters`` of a completion. Invalid UTF-8
    appears in its text as U+FFFD, which is three bytes long whatever it replaces."""
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
    """Yield the tokens of all windows with their alternatives; none unless requested."""

    def text(token: int) -> str:
        return pieces[token].decode("utf-8", "replace")

    for completion in completions:
        if completion.likeliest:
            for token, logprob, likeliest in zip(
                completion.tokens, completion.logprobs, completion.likeliest, strict=True
            ):
                others = tuple((text(other), round(chance, 6)) for other, chance in likeliest)
                yield TokenChoice(text(token), round(logprob, 6), others)


def united(parts: Sequence[ParsedAnswer]) -> str | None:
    """Merge the structured answers of a document's windows: lists are concatenated without repeats,
    other values keep the first that is not null. None if no window has one."""
    values = [json.loads(part.structured) for part in parts if part.structured is not None]
    if not values:
        return None
    result = values[0]
    for value in values[1:]:
        result = _merge_values(result, value)
    return json.dumps(result, ensure_ascii=False)


def _merge_values(one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: _merge_values(one.get(key), other.get(key)) for key in {**one, **other}}
    if isinstance(one, list) and isinstance(other, list):
        return one + [item for item in other if item not in one]
    return other if one is None else one
