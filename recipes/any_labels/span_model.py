"""GLiNER's span model over the token classifier's encoder: markerV0 spans, without an LSTM.

A span's score is out(relu([start(first), end(last)])) . label. The first layer of `out` is a sum
of one part of the start and one of the end, so both are computed once a word; and its last layer
is applied to the labels instead of to the spans, of which there are a hundred times as many.
"""

from __future__ import annotations

import math

import torch
from corpora import WIDTH
from model import Shape, TokenClassifier
from torch import Tensor, nn
from torch.nn import functional

DROPOUT = 0.1


def projection(inputs: int, outputs: int) -> nn.Sequential:
    """Two layers, the inner one four times as wide as the output, as in GLiNER."""
    return nn.Sequential(
        nn.Linear(inputs, 4 * outputs), nn.ReLU(), nn.Identity(), nn.Linear(4 * outputs, outputs)
    )


class Table(nn.Module):
    """The encoder's word embeddings, and those of the two added tokens."""

    def __init__(self, vocabulary: int, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(vocabulary, hidden))
        self.marks = nn.Parameter(torch.randn(2, hidden) * 0.05)

    def forward(self, ids: Tensor) -> Tensor:
        """Embeddings of ids, of which the vocabulary's size and the next are the added tokens."""
        size = len(self.weight)
        known = functional.embedding(ids.clamp(max=size - 1), self.weight)
        added = functional.embedding((ids - size).clamp(min=0), self.marks)
        return torch.where((ids >= size)[..., None], added, known)


class SpanModel(nn.Module):
    """Scores of all spans of at most WIDTH words against all labels of the prompt."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        hidden = shape.hidden
        self.encoder = TokenClassifier(shape, {}, dropout=DROPOUT)
        self.encoder.words = Table(shape.vocabulary, hidden)
        self.start = projection(hidden, hidden)
        self.end = projection(hidden, hidden)
        self.out = projection(2 * hidden, hidden)
        self.label = projection(hidden, hidden)
        with torch.no_grad():
            for part in (self.start, self.end, self.out, self.label):
                part[0].weight.mul_(2.0)
            # Nearly all spans are none: their score begins at -4.
            self.out[3].bias.fill_(2 / math.sqrt(hidden))
            self.label[3].bias.fill_(-2 / math.sqrt(hidden))

    def forward(self, ids: Tensor, attention: Tensor, words: Tensor, labels: Tensor) -> Tensor:
        """Logits (batch, width, words, labels); `words` and `labels` are places among the ids."""
        hidden = self.encoder.encode(ids, attention)
        at = rows_at(hidden, words)
        asked = self.label(rows_at(hidden, labels))
        first, last = self.out[0], self.out[3]
        size = at.shape[2]
        starts = functional.linear(self.start(at).relu(), first.weight[:, :size], first.bias)
        ends = functional.linear(self.end(at).relu(), first.weight[:, size:])
        weights = (asked @ last.weight).transpose(1, 2)
        constant = (asked @ last.bias)[:, None]
        return SpanScores.apply(starts, ends, weights, constant)


class SpanScores(torch.autograd.Function):
    """relu(starts + ends) @ weights + constant for every span, without keeping the spans.

    starts, ends: (batch, words, inner); weights: (batch, inner, labels); constant: (batch, 1,
    labels). Gives (batch, widths, words, labels), -30 where a span would end after the last word.
    """

    @staticmethod
    def forward(ctx, starts: Tensor, ends: Tensor, weights: Tensor, constant: Tensor) -> Tensor:
        """One product a width."""
        ctx.save_for_backward(starts, ends, weights)
        rows, length = starts.shape[:2]
        widths = min(WIDTH, length)
        found = starts.new_full((rows, widths, length, weights.shape[2]), -30.0)
        for width in range(widths):
            spans = (starts[:, : length - width] + ends[:, width:]).relu_()
            found[:, width, : length - width] = torch.bmm(spans, weights).add_(constant)
        return found

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Spans are computed again: reading them back from memory costs more.

        Products are plain bmm (2 ms): baddbmm_ in bfloat16 took 1.5 s (PyTorch 2.13).
        """
        starts, ends, weights = ctx.saved_tensors
        length = starts.shape[1]
        of_starts, of_ends = torch.zeros_like(starts), torch.zeros_like(ends)
        of_weights, of_constant = torch.zeros_like(weights), 0
        back = weights.transpose(1, 2)
        for width in range(grad.shape[1]):
            given = grad[:, width, : length - width]
            spans = (starts[:, : length - width] + ends[:, width:]).relu_()
            of_weights += torch.bmm(spans.transpose(1, 2), given)
            of_constant = of_constant + given.sum(1, keepdim=True)
            of_spans = (given @ back).mul_(spans > 0)
            of_starts[:, : length - width] += of_spans
            of_ends[:, width:] += of_spans
        return of_starts, of_ends, of_weights, of_constant


def rows_at(hidden: Tensor, places: Tensor) -> Tensor:
    """The hidden states at these places of the sequence, (batch, places, hidden)."""
    index = places.unsqueeze(-1).expand(-1, -1, hidden.shape[2])
    return torch.gather(hidden, 1, index)
