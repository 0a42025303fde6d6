"""Documents to tokens and labels, and logits back to spans: what training and scoring share.

Knows nothing of torch or onnxruntime, so that the shipped file can be scored without them.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Span = tuple[int, int, str]


@dataclass(frozen=True)
class Text:
    """One document in tokens (without special ones); labels are indices, empty if unlabelled."""

    id: str
    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    labels: tuple[int, ...]
    spans: tuple[Span, ...]


def label_names(kinds: Iterable[str]) -> list[str]:
    """O, then B- and I- of each kind, in alphabetical order."""
    return ["O"] + [f"{side}-{kind}" for kind in sorted(set(kinds)) for side in "BI"]


def read_lines(path: Path) -> list[str]:
    """The lines of a file, or of the same file with `.gz` behind its name."""
    if path.exists():
        return path.read_text(encoding="utf-8").split("\n")
    with gzip.open(f"{path}.gz", "rt", encoding="utf-8") as file:
        return file.read().split("\n")


def read_texts(
    path: Path, tokenizer: Tokenizer, names: Sequence[str], limit: int | None = None
) -> list[Text]:
    """Tokenize a corpus file and lay its spans over the tokens; spans of other labels are left."""
    texts = []
    for line in read_lines(path)[:limit]:
        if not line:
            continue
        record = json.loads(line)
        encoding = tokenizer.encode(record["text"], add_special_tokens=False)
        spans = tuple(
            sorted(
                (e["start"], e["end"], e["label"])
                for e in record.get("entities", ())
                if f"B-{e['label']}" in names
            )
        )
        texts.append(
            Text(
                id=record["id"],
                ids=tuple(encoding.ids),
                offsets=tuple(encoding.offsets),
                labels=tuple(lay_labels(encoding.offsets, spans, names)),
                spans=spans,
            )
        )
    return texts


def lay_labels(
    offsets: Sequence[tuple[int, int]], spans: Sequence[Span], names: Sequence[str]
) -> list[int]:
    """A label index per token: B on the first token that a span touches, I on the rest."""
    index = {name: i for i, name in enumerate(names)}
    labels = [0] * len(offsets)
    for start, end, kind in spans:
        inside = [i for i, (s, e) in enumerate(offsets) if s < end and e > start]
        if any(labels[i] for i in inside):
            continue  # nested: the first one stays
        for position, i in enumerate(inside):
            labels[i] = index[f"{'I' if position else 'B'}-{kind}"]
    return labels


def windows(length: int, size: int, overlap: int) -> list[tuple[int, int]]:
    """Windows of at most `size` tokens over `length`, each sharing `overlap` with the next."""
    if length <= size:
        return [(0, length)]
    starts = [*range(0, length - size, size - overlap), length - size]
    return [(start, start + size) for start in starts]


def keep_farthest(
    spans: Sequence[tuple[int, int]], rows: Sequence[NDArray[np.float32]], length: int
) -> NDArray[np.float32]:
    """Logits per token, each from the window in which the token is farthest from an edge."""
    out = np.zeros((length, rows[0].shape[1]), np.float32)
    best = np.full(length, -1)
    for (start, end), logits in zip(spans, rows, strict=True):
        places = np.arange(start, end)
        left = places - start if start else np.full(end - start, length)
        right = end - 1 - places if end < length else np.full(end - start, length)
        depth = np.minimum(left, right)
        better = depth > best[start:end]
        best[start:end][better] = depth[better]
        out[start:end][better] = logits[better]
    return out


def viterbi(logits: NDArray[np.float32], names: Sequence[str]) -> list[int]:
    """The best label sequence in which every I continues its own kind."""
    scores = logits - logits.max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    forbidden = np.zeros((len(names), len(names)), np.float32)
    for j, name in enumerate(names):
        if name.startswith("I-"):
            forbidden[:, j] = -1e4
            for i, before in enumerate(names):
                if before[2:] == name[2:] and before != "O":
                    forbidden[i, j] = 0
    best = scores[0] + forbidden[0]
    back = np.zeros(scores.shape, np.int64)
    for t in range(1, len(scores)):
        moves = best[:, None] + forbidden
        back[t] = moves.argmax(axis=0)
        best = moves.max(axis=0) + scores[t]
    path = [int(best.argmax())]
    for t in range(len(scores) - 1, 0, -1):
        path.append(int(back[t, path[-1]]))
    return path[::-1]


def to_spans(
    labels: Sequence[int], offsets: Sequence[tuple[int, int]], names: Sequence[str]
) -> list[Span]:
    """Spans of a well-formed label sequence: first character of the first token to the last."""
    spans: list[Span] = []
    for label, (start, end) in zip(labels, offsets, strict=True):
        name = names[label]
        if name.startswith("B-"):
            spans.append((start, end, name[2:]))
        elif name.startswith("I-"):
            first, _, kind = spans.pop()
            spans.append((first, end, kind))
    return spans


@dataclass
class Score:
    """Strict counts, in all and per label."""

    right: Counter[str]
    found: Counter[str]
    gold: Counter[str]

    def precision(self, kind: str | None = None) -> float:
        """Share of what was found that is right."""
        return pick(self.right, kind) / max(1, pick(self.found, kind))

    def recall(self, kind: str | None = None) -> float:
        """Share of the gold spans that were found."""
        return pick(self.right, kind) / max(1, pick(self.gold, kind))

    def f1(self, kind: str | None = None) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * pick(self.right, kind) / max(1, pick(self.found, kind) + pick(self.gold, kind))

    def count(self, kind: str | None = None) -> int:
        """Gold spans."""
        return pick(self.gold, kind)


def pick(counts: Counter[str], kind: str | None) -> int:
    """The count of one label, or of all for None."""
    return counts.total() if kind is None else counts[kind]


def score(pairs: Iterable[tuple[Iterable[Span], Iterable[Span]]]) -> Score:
    """Strict score of (found, gold) pairs, one per document."""
    total = Score(Counter(), Counter(), Counter())
    for found, gold in pairs:
        found, gold = set(found), set(gold)
        total.right.update(kind for _, _, kind in found & gold)
        total.found.update(kind for _, _, kind in found)
        total.gold.update(kind for _, _, kind in gold)
    return total
