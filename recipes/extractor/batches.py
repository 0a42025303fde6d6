"""Samples to tensors: steps of training, cut in batches of about one length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from samples import Sample, Sampler
from torch import Tensor

NONE = -100
"""A tag that does not count."""


@dataclass(frozen=True)
class Batch:
    """Samples side by side, padded.

    ``tokens`` int [batch, time], ``weights`` float [batch, time]; of the documents: ``places``
    int [batch, document] in ``tokens``, ``tags`` (NONE where padded) and ``begins`` likewise;
    ``labels`` int [batch, labels, tokens of a name], -1 where there is none.
    """

    tokens: Tensor
    weights: Tensor
    places: Tensor
    tags: Tensor
    begins: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(getattr(self, one.name).to(device) for one in fields(self)))


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples as one batch."""
    documents = [np.arange(*sample.document) for sample in samples]
    most = max(len(sample.labels) for sample in samples)
    longest = max(len(name) for sample in samples for name in sample.labels)
    labels = np.full((len(samples), most, longest), -1, np.int64)
    for row, sample in enumerate(samples):
        for place, name in enumerate(sample.labels):
            labels[row, place, : len(name)] = name
    return Batch(
        _padded([sample.tokens for sample in samples], 0),
        _padded([sample.weight for sample in samples], 0.0),
        _padded(documents, 0),
        _padded([sample.tags for sample in samples], NONE),
        _padded([sample.begins for sample in samples], 0.0),
        torch.from_numpy(labels),
    )


def cut(samples: Sequence[Sample], tokens: int) -> list[Batch]:
    """Batches of samples of about one length, of at most ``tokens`` with their padding."""
    made: list[list[Sample]] = []
    for sample in sorted(samples, key=lambda sample: -len(sample.tokens)):
        if made and (len(made[-1]) + 1) * len(made[-1][0].tokens) <= tokens:
            made[-1].append(sample)
        else:
            made.append([sample])
    return [collate(part) for part in made]


class Steps(torch.utils.data.Dataset[list[Batch]]):
    """Step n of training: ``samples`` samples, the same whenever it is asked for; of these, what
    process ``rank`` of ``ranks`` takes."""

    def __init__(self, sampler: Sampler, samples: int, tokens: int, rank: int, ranks: int) -> None:
        self._sampler, self._samples, self._tokens = sampler, samples, tokens
        self._rank, self._ranks = rank, ranks

    def __getitem__(self, step: int) -> list[Batch]:
        """The batches of a step."""
        numbers = range(step * self._samples, (step + 1) * self._samples)[self._rank :: self._ranks]
        return cut([self._sampler.sample(number) for number in numbers], self._tokens)


def _padded(rows: Sequence[NDArray[np.generic]], filler: float) -> Tensor:
    made = np.full((len(rows), max(map(len, rows))), filler, rows[0].dtype)
    for number, row in enumerate(rows):
        made[number, : len(row)] = row
    return torch.from_numpy(made)
