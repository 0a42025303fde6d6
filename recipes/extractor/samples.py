"""Training samples: a window of a document, asked for in the product's own prompt, and its answer.

Prompts come out of actors.prompts, so what the model learns is what it will be asked. Sample n of
a seed is always the same, so training can stop and go on anywhere.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from corpora import NAMES, SHARES, Span, Text
from numpy.typing import NDArray
from swaps import Mentions
from tokenizer import CHAT, END
from tokenizers import Tokenizer

from actors.config.prompt import PromptSection
from actors.guideline import Guideline
from actors.prompts import Prompt, chat_template, prompt_format
from actors.words import boundaries

CHAT_TEMPLATE = chat_template(CHAT)
SHORTEST, LONGEST = 30, 100
"""Document tokens of a window."""
FORCED = 0.1
"""Weight of tokens that a grammar forces; those that the model decides count 1."""

Ask = tuple[tuple[str, str, str], ...]
"""Labels to ask for: the corpus' name, the name in the prompt, the definition or nothing."""


@dataclass(frozen=True)
class Sample:
    """One prompt with its answer.

    ``tokens`` int [n]; ``weight`` float [n] is what it counts to predict each token; ``document``
    (start, end) are the tokens of the window; ``tags`` int [end - start] gives the place in
    ``labels`` plus 1 of the label of each, or 0, and ``begins`` whether an entity begins there;
    ``labels`` holds the tokens of each asked name.
    """

    tokens: NDArray[np.int64]
    weight: NDArray[np.float32]
    document: tuple[int, int]
    tags: NDArray[np.int64]
    begins: NDArray[np.float32]
    labels: list[list[int]]


class Sampler:
    """Draws samples from corpora, from each as often as ``shares`` says."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        corpora: dict[str, list[Text]],
        seed: int,
        shares: Mapping[str, float] = SHARES,
    ) -> None:
        self._tokenizer, self._corpora, self._seed = tokenizer, corpora, seed
        self._mentions = Mentions(corpora)
        self._names = [name for name in shares if name in corpora]
        self._shares = [shares[name] for name in self._names]
        self._end = tokenizer.token_to_id(END)
        self._encoded = lru_cache(maxsize=None)(self._encode)
        self._format = lru_cache(maxsize=64)(self._make_format)

    def sample(self, number: int) -> Sample:
        """Sample ``number`` of the seed."""
        rng = random.Random(f"{self._seed} {number}")
        name = rng.choices(self._names, self._shares)[0]
        index = rng.randrange(len(self._corpora[name]))
        form = "template" if rng.random() < 0.2 else "entity-list"
        window = self._mentions.changed(name, self._window(name, index, rng), rng)
        return self.make(form, ask(name, rng), window)

    def make(self, form: str, asked: Ask, window: Text) -> Sample:
        """The sample of a window that is asked for some labels."""
        shown = {label: name for label, name, _ in asked}
        spans = [s for s in window.spans if s.label in shown]
        render, labels, before = self._format(form, asked)
        prompt: Prompt = render(window.text)
        suffix = "".join(segment.text for segment in prompt.suffix)
        encoding = self._tokenizer.encode(suffix)
        lead = suffix.index(window.text)
        inside = [
            i
            for i, (start, end) in enumerate(encoding.offsets)
            if end > lead and start < lead + len(window.text)
        ]
        first, last = (inside[0], inside[-1] + 1) if inside else (0, 0)
        tags = np.zeros(last - first, np.int64)
        begins = np.zeros(last - first, np.float32)
        order = {label: place for place, (label, _, _) in enumerate(asked, 1)}
        for span in reversed(spans):
            for i in range(first, last):
                start, end = (place - lead for place in encoding.offsets[i])
                if end > span.start and start < span.end:
                    tags[i - first] = order[span.label]
                    begins[i - first] = float(start <= span.start)
        text, weights = answer(form, asked, window, spans)
        answered = self._tokenizer.encode(text)
        head = [*before, *encoding.ids]
        weight = [weights[start] for start, _ in answered.offsets]
        return Sample(
            np.array([*head, *answered.ids, self._end]),
            np.array([*[0.0] * len(head), *weight, FORCED], np.float32),
            (len(before) + first, len(before) + last),
            tags,
            begins,
            labels,
        )

    def _window(self, name: str, index: int, rng: random.Random) -> Text:
        """A stretch of a document, cut between words as the product cuts."""
        whole = self._corpora[name][index]
        offsets, words = self._encoded(name, index)
        size = rng.randint(SHORTEST, LONGEST)
        if len(offsets) <= size:
            return whole
        first = min(max(0, rng.randrange(-size // 2, len(offsets) - size // 2)), len(offsets) - 1)
        last = min(first + size, len(offsets))
        while first > 0 and not words[first]:
            first -= 1
        while last < len(offsets) and not words[last] and last > first + 1:
            last -= 1
        start = offsets[first][0]
        end = offsets[last][0] if last < len(offsets) else len(whole.text)
        return part(whole, start, end)

    def _encode(self, name: str, index: int) -> tuple[list[tuple[int, int]], list[bool]]:
        text = self._corpora[name][index].text
        offsets = self._tokenizer.encode(text).offsets
        return offsets, [text[start : start + 1].isspace() for start, _ in offsets]

    def _make_format(self, form: str, asked: Ask):
        labels = {name: definition for _, name, definition in asked}
        guideline = Guideline.model_validate({"name": "asked", "labels": labels})
        section = PromptSection.model_validate({"format": form, "guideline": guideline})
        made = prompt_format(section, CHAT_TEMPLATE)
        prefix = "".join(segment.text for segment in made.render("x").prefix)
        names = [self._tokenizer.encode(f" {name}").ids for name in labels]
        return made.render, names, self._tokenizer.encode(prefix).ids


def part(whole: Text, start: int, end: int) -> Text:
    """[start, end) of a document with the entities that are whole in it and end at words' ends."""
    text = whole.text[start:end]
    flags = boundaries(text)
    spans = tuple(
        Span(s.start - start, s.end - start, s.label)
        for s in whole.spans
        if s.start >= start and s.end <= end
    )
    return Text(text, tuple(s for s in spans if flags[s.start] and flags[s.end]))


def plain(corpus: str) -> Ask:
    """All labels of a corpus under their own names, without definitions."""
    source = NAMES["ctro_21" if corpus == "taught" else corpus]
    return tuple((label, label, "") for label in source)


def ask(corpus: str, rng: random.Random) -> Ask:
    """Draw the labels to ask for: half the time all as they are, else some under other names."""
    everything = plain(corpus)
    if rng.random() < 0.5:
        return everything
    source = NAMES["ctro_21" if corpus == "taught" else corpus]
    kept = [label for label, _, _ in everything if rng.random() < rng.choice((0.3, 0.7, 1.0))]
    kept = kept or [rng.choice(everything)[0]]
    rng.shuffle(kept)
    defined, renamed = rng.random() < 0.3, rng.random() < 0.6
    style = rng.choice((str, str, str.upper, str.lower, str.title))
    asked, used = [], set()
    for label in kept:
        *synonyms, definition = source[label]
        name = style(rng.choice(synonyms)) if renamed and rng.random() < 0.5 else label
        if name.casefold() in used:
            name = label
        if name.casefold() not in used:
            used.add(name.casefold())
            asked.append((label, name, definition if defined else ""))
    return tuple(asked)


def answer(form: str, asked: Ask, window: Text, spans: list[Span]) -> tuple[str, list[float]]:
    """The compact JSON of a format, and a weight for each of its characters."""
    words = {span: _string(window.text[span.start : span.end]) for span in spans}
    parts: list[tuple[str, float]] = []
    if form == "entity-list":
        names = {label: name for label, name, _ in asked}
        for number, span in enumerate(spans):
            parts.append(('"},{"' if number else '[{"', 1.0))
            parts += [("entity", FORCED), ('":"', FORCED), (words[span], 1.0), ('","', 1.0)]
            parts += [("type", FORCED), ('":"', FORCED), (_string(names[span.label]), 1.0)]
        parts.append(('"}]' if spans else "[]", 1.0))
    else:
        parts += [('{"', FORCED), ("entities", FORCED), ('":[{"', FORCED)]
        for number, (label, name, _) in enumerate(asked, 1):
            closing = "}]}" if number == len(asked) else ',"'
            mine = [words[span] for span in spans if span.label == label]
            parts.append((_string(name), FORCED))
            parts.append(('":["' if mine else '":[]' + closing, 1.0))
            for place, word in enumerate(mine, 1):
                parts.append((word, 1.0))
                parts.append(('","' if place < len(mine) else '"]' + closing, 1.0))
    text = "".join(piece for piece, _ in parts)
    return text, [weight for piece, weight in parts for _ in piece]


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]
