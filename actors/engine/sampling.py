"""Sample one token from one row of logits: penalties, truncation, temperature, a seeded draw.

The same chain in the same order as llama.cpp's (llama-sampling.cpp), in numpy. Truncation works on
candidates sorted by logit, so it is exact.
"""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from actors.arrays import Float32Array, Int64Array
from actors.engine.request import Likeliest, Sampling


def log_probability(logits: Float32Array, place: int) -> float:
    """Return the natural log of softmax(logits)[place]; never above 0."""
    return min(0.0, float(logits[place]) - _log_sum(logits))


def likeliest(logits: Float32Array, ids: Int64Array | None, count: int) -> Likeliest:
    """Return the ``count`` largest of softmax(logits), descending; ``ids`` as in ``choose``."""
    count = min(count, len(logits))
    places = np.argpartition(-logits, count - 1)[:count]
    places = places[np.argsort(-logits[places], kind="stable")]
    total = _log_sum(logits)
    return tuple(
        (int(place if ids is None else ids[place]), min(0.0, float(logits[place]) - total))
        for place in places
    )


def _log_sum(logits: Float32Array) -> float:
    """Return log-sum-exp of the logits."""
    top = logits.max()
    # float32 exponentials, float64 sum: with 150k terms it is the sum that loses digits.
    return float(top) + float(np.log(np.exp(logits - top).sum(dtype=np.float64)))


class Sampler:
    """Samples the tokens of one request. ``history`` (prompt and output) is read, not owned."""

    def __init__(self, sampling: Sampling, history: list[int]) -> None:
        self._sampling = sampling
        self._history = history
        self._random = random.Random(sampling.seed)
        self._penalised = sampling.repeat_last_n != 0 and (
            sampling.repeat_penalty != 1.0
            or sampling.frequency_penalty != 0.0
            or sampling.presence_penalty != 0.0
        )

    @property
    def greedy(self) -> bool:
        """True if the choice is simply the largest logit."""
        return self._sampling.temperature <= 0 and not self._penalised

    def choose(self, logits: Float32Array, ids: Int64Array | None) -> int:
        """Return the index of the chosen token in ``logits``, float32 [candidates]. ``ids`` are the
        tokens of the candidates; None: the whole vocabulary."""
        if self._penalised:
            logits = self._penalties(logits, ids)
        if self._sampling.temperature <= 0:
            return int(logits.argmax())
        places, probabilities = self._truncated(logits)
        cumulated = np.cumsum(probabilities)
        drawn = self._random.random() * cumulated[-1]
        place = int(np.searchsorted(cumulated, drawn, side="right"))
        return int(places[min(place, len(places) - 1)])

    def distribution(
        self, logits: Float32Array, ids: Int64Array | None
    ) -> tuple[Int64Array, NDArray[np.float64]]:
        """Return the indices that ``choose`` draws from at a temperature above 0, most likely
        first, with their probabilities."""
        return self._truncated(self._penalties(logits, ids) if self._penalised else logits)

    def _penalties(self, logits: Float32Array, ids: Int64Array | None) -> Float32Array:
        s = self._sampling
        last = self._history if s.repeat_last_n < 0 else self._history[-s.repeat_last_n :]
        counts = Counter(last)
        tokens = np.fromiter(counts.keys(), dtype=np.int64, count=len(counts))
        times = np.fromiter(counts.values(), dtype=np.float32, count=len(counts))
        if ids is None:
            places = tokens
        else:
            places = np.searchsorted(ids, tokens)
            found = (places < len(ids)) & (ids[np.minimum(places, len(ids) - 1)] == tokens)
            places, times = places[found], times[found]
        changed = logits.copy()
        seen = changed[places]
        seen = np.where(seen <= 0, seen * s.repeat_penalty, seen / s.repeat_penalty)
        changed[places] = seen - times * s.frequency_penalty - s.presence_penalty
        return changed

    def _truncated(self, logits: Float32Array) -> tuple[Int64Array, NDArray[np.float64]]:
        s = self._sampling
        keep = max(1, s.min_keep)
        if 0 < s.top_k < len(logits):
            order = np.argpartition(-logits, s.top_k - 1)[: s.top_k]
            order = order[np.argsort(-logits[order], kind="stable")]
        else:
            order = np.argsort(-logits, kind="stable")
        values = logits[order].astype(np.float64)
        if s.typical_p < 1.0:
            order, values = _typical(order, values, s.typical_p, keep)
        if s.top_p < 1.0:
            count = int(np.searchsorted(np.cumsum(_softmax(values)), s.top_p)) + 1
            order, values = order[: max(count, keep)], values[: max(count, keep)]
        if s.min_p > 0.0:
            count = int(np.count_nonzero(values >= values[0] + np.log(s.min_p)))
            order, values = order[: max(count, keep)], values[: max(count, keep)]
        return order, _tempered(values, s)


def _tempered(values: NDArray[np.float64], s: Sampling) -> NDArray[np.float64]:
    """Return the probabilities of sorted logits at the (possibly dynamic) temperature."""
    temperature = s.temperature
    if s.dynatemp_range > 0 and len(values) > 1:
        chances = _softmax(values)
        entropy = -float(np.sum(chances * np.log(np.maximum(chances, 1e-300))))
        low = max(0.0, temperature - s.dynatemp_range)
        wide = temperature + s.dynatemp_range - low
        temperature = low + wide * (entropy / np.log(len(values))) ** s.dynatemp_exponent
    if temperature <= 0:
        return np.where(np.arange(len(values)) == 0, 1.0, 0.0)
    return _softmax(values / temperature)


def _typical(
    order: Int64Array, values: NDArray[np.float64], p: float, keep: int
) -> tuple[Int64Array, NDArray[np.float64]]:
    """Keep the tokens whose surprisal is closest to the entropy, up to a mass of ``p``."""
    probabilities = _softmax(values)
    surprise = -np.log(np.maximum(probabilities, 1e-300))
    near = np.argsort(np.abs(surprise - float((probabilities * surprise).sum())), kind="stable")
    count = int(np.searchsorted(np.cumsum(probabilities[near]), p, side="right")) + 1
    kept = np.sort(near[: max(count, keep)])  # back in logit order, as the next steps require
    return order[kept], values[kept]


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(values - values.max())
    result: NDArray[np.float64] = weights / weights.sum()
    return result
