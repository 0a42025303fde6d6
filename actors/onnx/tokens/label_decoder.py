"""Decode logits to token spans.

The rules. A token's probabilities are the softmax of its logits, excluding labels such as PAD that
no text has. ``pieces`` defines how a word's label is chosen. Then ``algorithm`` assigns a label to
every unit (token or word). Neighbours of one type form a span unless the later one begins a new one
(B-, S-) or the earlier one ends it (E-, S-); an I- that follows nothing of its type begins a span.
Pieces of one word that repeat a B- or an S- form one span: many models were trained with the word's
label copied to all of its pieces. A span's score is the mean over its tokens of the probability of
its type, whatever the prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from actors.arrays import Float32Array, IntpArray
from actors.config import Decode
from actors.onnx.tokens.labels import Labels
from actors.onnx.tokens.viterbi import Viterbi

_FLOOR = np.float32(1e-30)  # minimum probability, so that its logarithm is finite
# Maximum tokens to buffer while waiting for a safe boundary between spans; then they are split.
_LONGEST_WAIT = 65_536


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """Tokens [first, last] of a document, both inclusive; score in [0, 1]."""

    first: int
    last: int
    type: str
    score: float


@dataclass(frozen=True, slots=True)
class LogitsPart:
    """Tokens to decode: a whole document, or the pending tokens of a long one.

    ``logits``: float32 of shape (tokens, labels). ``words``: the word of each token. ``final``: the
    document ends here.
    """

    logits: Float32Array
    words: npt.NDArray[np.int32]
    final: bool = True


class LabelDecoder:
    """Decodes the logits of many documents to spans; created once per model."""

    def __init__(self, labels: Labels, settings: Decode) -> None:
        self._labels = labels
        self._settings = settings
        self._viterbi = Viterbi(labels)
        kinds = np.arange(len(labels.types))
        self._of_type = (labels.kind[None, :] == kinds[:, None]).astype(np.float32)

    def decode(self, parts: Sequence[LogitsPart]) -> list[tuple[list[TokenSpan], int]]:
        """Return the spans of each part, and how many of its tokens are final.

        In a final part all are. Otherwise the remaining tokens must be passed again, at the start
        of the next part: they begin with a word outside of any entity, which the next part cannot
        change. So the spans are those of the whole document, however it is split.
        """
        chances = [self._chances(part) for part in parts]
        units = [self._units(part) for part in parts]
        scores = [chance[unit] for chance, unit in zip(chances, units, strict=True)]
        if self._settings.algorithm == "viterbi":
            logs = [np.log(np.maximum(score, _FLOOR)) for score in scores]
            paths = self._viterbi.decode_parts(logs, [part.final for part in parts])
        else:
            greedy = [score.argmax(axis=1) for score in scores]
            paths = [
                (path, len(path) - (not part.final))
                for path, part in zip(greedy, parts, strict=True)
            ]
        return [self._spans(*each) for each in zip(parts, chances, units, paths, strict=True)]

    def _chances(self, part: LogitsPart) -> Float32Array:
        """Return label probabilities per token, adjusted for ``pieces``."""
        logits = np.where(self._labels.ignored, np.float32(-np.inf), part.logits)
        logits -= logits.max(axis=1, keepdims=True, initial=-1e30)
        chances = np.exp(logits)
        chances /= chances.sum(axis=1, keepdims=True)
        if self._settings.pieces in ("first", "mean") and len(chances):
            heads = _heads(part.words)
            word = np.cumsum(_is_head(part.words)) - 1
            if self._settings.pieces == "mean":
                counts = np.diff(np.append(heads, len(chances)))[:, None]
                means = np.add.reduceat(chances, heads, axis=0) / counts
                return np.asarray(means[word], np.float32)
            return np.asarray(chances[heads][word], np.float32)
        return np.asarray(chances, np.float32)

    def _units(self, part: LogitsPart) -> IntpArray:
        """Return the first token of each unit that gets a label: a token or a word."""
        if self._settings.pieces == "each":
            return np.arange(len(part.words))
        return _heads(part.words)

    def _spans(
        self,
        part: LogitsPart,
        chances: Float32Array,
        units: IntpArray,
        labelled: tuple[IntpArray, int],
    ) -> tuple[list[TokenSpan], int]:
        table = self._labels
        path, certain = labelled
        settled = len(units)
        if not part.final:
            outside = (table.kind[path[:certain]] < 0) & _is_head(part.words)[units[:certain]]
            if outside.any():
                settled = int(np.flatnonzero(outside)[-1])
            elif len(part.words) < _LONGEST_WAIT:
                settled = 0
        token_end = len(part.words) if settled == len(units) else int(units[settled])
        path = path[:settled]
        kind = table.kind[path]
        ahead = np.full(len(path), -1)
        ahead[1:] = kind[:-1]
        anew = table.begins[path]
        anew[1:] |= table.ends[path[:-1]]
        words = part.words[units[:settled]]
        repeats = (words[1:] == words[:-1]) & (path[1:] == path[:-1]) & table.begins[path[1:]]
        anew[1:] &= ~repeats
        starts = (kind >= 0) & ((kind != ahead) | anew)
        # Where a span begins, and where it ends: at the next change of any kind.
        edges = np.flatnonzero(starts | (kind != ahead))
        stops = np.append(edges, len(path))[1:]
        named = kind[edges] >= 0
        at, stops, kinds = edges[named], stops[named], kind[edges][named]
        firsts = units[at]
        lasts = np.append(units[:settled], token_end)[stops] - 1
        scores = self._mean_chances(chances, firsts, lasts, kinds)
        spans = [
            TokenSpan(int(first), int(last), table.types[one], float(score))
            for first, last, one, score in zip(firsts, lasts, kinds, scores, strict=True)
        ]
        return spans, token_end

    def _mean_chances(
        self, chances: Float32Array, firsts: IntpArray, lasts: IntpArray, kinds: IntpArray
    ) -> Float32Array:
        """Return, per span, the mean over its tokens of the probability of its type."""
        if not len(firsts):
            return np.zeros(0, np.float32)
        counts = lasts - firsts + 1
        heads = np.cumsum(counts) - counts
        rows = np.arange(counts.sum()) + np.repeat(firsts - heads, counts)
        of_type = np.einsum("tl,tl->t", chances[rows], self._of_type[np.repeat(kinds, counts)])
        means = np.add.reduceat(of_type, heads) / counts
        return np.asarray(np.clip(means, 0.0, 1.0), np.float32)


def _is_head(words: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    heads = np.ones(len(words), bool)
    heads[1:] = words[1:] != words[:-1]
    return heads


def _heads(words: npt.NDArray[np.int32]) -> IntpArray:
    return np.flatnonzero(_is_head(words))
