"""A BERT encoder with token-classification heads, small enough to read.

Knows the tensor names of Hugging Face BERT checkpoints; knows nothing of corpora or ONNX.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """Sizes of the encoder, as its config.json states them."""

    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    epsilon: float

    @classmethod
    def read(cls, folder: Path) -> Shape:
        """The shape that a folder's config.json states."""
        raw = json.loads((folder / "config.json").read_text())
        return cls(
            hidden=raw["hidden_size"],
            layers=raw["num_hidden_layers"],
            heads=raw["num_attention_heads"],
            inner=raw["intermediate_size"],
            vocabulary=raw["vocab_size"],
            positions=raw["max_position_embeddings"],
            epsilon=raw["layer_norm_eps"],
        )


def drop(x: Tensor, rate: float) -> Tensor:
    """Dropout over random bytes: torch's own draws on a CPU took a seventh of a training step."""
    if not rate:
        return x
    limit = round(rate * 256)
    noise = torch.empty(x.numel() // 8 + 1, dtype=torch.int64).random_().view(torch.uint8)
    keep = (noise[: x.numel()] >= limit).view(x.shape)
    return x * (keep.to(x.dtype) * (256 / (256 - limit)))


class Layer(nn.Module):
    """Self-attention and feed-forward, each followed by add and norm."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.heads = shape.heads
        self.dropout = dropout
        self.qkv = nn.Linear(shape.hidden, 3 * shape.hidden)
        self.out = nn.Linear(shape.hidden, shape.hidden)
        self.norm1 = nn.LayerNorm(shape.hidden, eps=shape.epsilon)
        self.up = nn.Linear(shape.hidden, shape.inner)
        self.down = nn.Linear(shape.inner, shape.hidden)
        self.norm2 = nn.LayerNorm(shape.hidden, eps=shape.epsilon)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """The next layer's input; `mask` is added to the attention scores."""
        batch, length, hidden = x.shape
        size = hidden // self.heads
        parts = self.qkv(x).view(batch, length, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        q, k, v = parts.reshape(3, batch * self.heads, length, size)
        # written out: on a CPU the backward pass of the fused attention costs twice as much
        scores = torch.baddbmm(mask.to(q.dtype), q, k.transpose(1, 2), alpha=size**-0.5)
        attended = (scores.softmax(-1) @ v).view(batch, self.heads, length, size)
        attended = attended.transpose(1, 2).reshape(batch, length, hidden)
        x = self.norm1(x + drop(self.out(attended), self.dropout * self.training))
        inner = self.down(functional.gelu(self.up(x)))
        return self.norm2(x + drop(inner, self.dropout * self.training))


class TokenClassifier(nn.Module):
    """The encoder and one linear head per corpus, by name."""

    def __init__(self, shape: Shape, heads: dict[str, int], dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = dropout
        self.words = nn.Embedding(shape.vocabulary, shape.hidden)
        self.places = nn.Embedding(shape.positions, shape.hidden)
        self.norm = nn.LayerNorm(shape.hidden, eps=shape.epsilon)
        self.layers = nn.ModuleList(Layer(shape, dropout) for _ in range(shape.layers))
        self.heads = nn.ModuleDict({n: nn.Linear(shape.hidden, k) for n, k in heads.items()})
        for head in self.heads.values():
            nn.init.normal_(head.weight, std=0.02)
            nn.init.zeros_(head.bias)

    def forward(self, ids: Tensor, attention: Tensor, head: str) -> Tensor:
        """Logits of one head, [batch, length, labels]; `attention` is 0 on padding."""
        return self.heads[head](self.encode(ids, attention))

    def encode(self, ids: Tensor, attention: Tensor) -> Tensor:
        """Return the input of the heads, [batch, length, hidden]."""
        x = self.norm(self.words(ids) + self.places.weight[: ids.shape[1]])
        x = drop(x, self.dropout * self.training)
        mask = (attention[:, None, :].to(x.dtype) - 1) * 1e4
        mask = mask.repeat_interleave(self.layers[0].heads, dim=0)
        for layer in self.layers:
            x = layer(x, mask)
        return drop(x, self.dropout * self.training)

    def load_pretrained(self, folder: Path) -> None:
        """Take the encoder's weights from a Hugging Face BERT folder (heads stay as they are)."""
        raw = load_file(folder / "model.safetensors")
        raw = {name.removeprefix("bert."): tensor.float() for name, tensor in raw.items()}
        mine: dict[str, Tensor] = {}
        # the only token type in use is 0: its embedding is one more constant of the position
        mine["places.weight"] = (
            raw["embeddings.position_embeddings.weight"]
            + raw["embeddings.token_type_embeddings.weight"][0]
        )
        mine["words.weight"] = raw["embeddings.word_embeddings.weight"]
        for part in ("weight", "bias"):
            mine[f"norm.{part}"] = raw[f"embeddings.LayerNorm.{part}"]
            for i in range(len(self.layers)):
                theirs = f"encoder.layer.{i}."
                mine[f"layers.{i}.qkv.{part}"] = torch.cat(
                    [raw[f"{theirs}attention.self.{n}.{part}"] for n in ("query", "key", "value")]
                )
                for ours, name in (
                    ("out", "attention.output.dense"),
                    ("norm1", "attention.output.LayerNorm"),
                    ("up", "intermediate.dense"),
                    ("down", "output.dense"),
                    ("norm2", "output.LayerNorm"),
                ):
                    mine[f"layers.{i}.{ours}.{part}"] = raw[f"{theirs}{name}.{part}"]
        missing, unexpected = self.load_state_dict(mine, strict=False)
        if unexpected or any(not name.startswith("heads.") for name in missing):
            raise ValueError(f"not a BERT of this shape: {missing} {unexpected}")
