"""Windows with a prompt of labels: what one training step reads.

The labels of a prompt are those of the corpus, some left out, under their own names, synonyms or
with a definition; names that cannot occur in such a text are added as negatives.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from corpora import IDENTITIES, SHARES, Pieces, Words

CLS, SEP, MASK = 101, 102, 103
ENT, TEXT = 30522, 30523
"""Two tokens that the vocabulary gains: before each label, and before the text."""
MOST_LABELS = 25
LONGEST = 384
"""Tokens of a sequence."""
MASKED_WINDOWS, MASKED_WORDS = 0.5, 0.1
"""Share of windows with masked words, and of their words: what stands around a word must do."""
NEVER_IN_ABSTRACTS = ["phone number", "email address", "credit card number", "fax number"]
NEVER_IN_ABSTRACTS += ["social security number", "ip address", "street address", "zip code"]
NEVER_IN_ABSTRACTS += ["bank account number", "medical record number", "insurance number"]
NEVER_IN_IDENTITIES = ["p value", "confidence interval", "allocation ratio", "journal", "gene"]
NEVER_IN_IDENTITIES += ["mutation", "cell line", "trial design", "number of patients"]


@dataclass(frozen=True)
class Sample:
    """Token ids, where each word and each label begins among them, and (first, last, label)."""

    ids: list[int]
    words: list[int]
    labels: list[int]
    spans: list[tuple[int, int, int]]


def build(labels: list[list[int]], words: list[list[int]], spans: list) -> Sample:
    """The sequence that GLiNER's uni-encoder reads: labels, the text's mark, words."""
    ids, label_places, word_places = [CLS], [], []
    for pieces in labels:
        label_places.append(len(ids))
        ids += [ENT, *pieces]
    ids.append(TEXT)
    for pieces in words:
        word_places.append(len(ids))
        ids += pieces
    return Sample([*ids, SEP], word_places, label_places, spans)


class Sampler:
    """Draws samples; its state is that of `rng` alone."""

    def __init__(
        self,
        corpora: dict[str, list[Words]],
        names: dict[str, dict[str, list[str]]],
        pieces: Pieces,
        rng: random.Random,
    ) -> None:
        self._corpora, self._names, self._pieces, self.rng = corpora, names, pieces, rng
        # A long document is drawn as often as it has windows.
        self._weights = {
            name: [max(1.0, len(one.places) / 100) for one in documents]
            for name, documents in corpora.items()
        }

    def draw(self) -> Sample:
        """One window of one document of one corpus."""
        rng = self.rng
        names = list(self._corpora)
        (corpus,) = rng.choices(names, [SHARES[name] for name in names])
        (document,) = rng.choices(self._corpora[corpus], self._weights[corpus])
        size = rng.randint(40, 170)
        start = rng.randint(-size // 4, max(1, len(document.places) - size // 2))
        first, end = max(0, start), min(len(document.places), max(0, start) + size)
        inside = [
            (a - first, b - first, label)
            for a, b, label in document.spans
            if a >= first and b < end
        ]
        asked = self._labels(corpus, {label for _, _, label in inside})
        order = {label: i for i, (label, _) in enumerate(asked)}
        spans = [(a, b, order[label]) for a, b, label in inside if label in order]
        labels = [self._pieces(name) for _, name in asked]
        room = LONGEST - 3 - sum(len(name) + 1 for name in labels)
        masked = MASKED_WORDS if rng.random() < MASKED_WINDOWS else 0.0
        words = []
        for pieces in document.pieces[first:end]:
            if masked and rng.random() < masked:
                pieces = [MASK]
            room -= len(pieces)
            if room < 0:
                break
            words.append(pieces)
        return build(labels, words, [span for span in spans if span[1] < len(words)])

    def _labels(self, corpus: str, present: set[str]) -> list[tuple[str, str]]:
        """The labels of a prompt in random order, each with the name that it goes by here."""
        rng, known = self.rng, self._names[corpus]
        absent = [label for label in known if label not in present]
        rng.shuffle(absent)
        kept = sorted(present)
        if rng.random() < 0.45:
            absent = absent[: max(0, MOST_LABELS - len(kept))]
        else:
            kept = [label for label in kept if rng.random() < 0.85]
            absent = absent[: rng.randint(1, 8)]
        asked = [(label, self._name(known[label])) for label in [*kept, *absent]]
        if rng.random() < 0.2:
            never = NEVER_IN_IDENTITIES if corpus in IDENTITIES else NEVER_IN_ABSTRACTS
            asked += [("", name) for name in rng.sample(never, rng.randint(1, 3))]
        rng.shuffle(asked)
        return asked[:MOST_LABELS]

    def _name(self, names: list[str]) -> str:
        draw = self.rng.random()
        own, *synonyms, definition = names
        if draw < 0.65 or not synonyms:
            return own
        name = self.rng.choice(synonyms)
        if draw < 0.92:
            return name
        return f"{self.rng.choice([own, name])}: {definition}"
