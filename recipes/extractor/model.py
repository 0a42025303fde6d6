"""A small Qwen2 decoder, as llama.cpp computes it, and a helper head that only training uses."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder. The GGUF's metadata repeats them."""

    vocabulary: int
    width: int = 384
    layers: int = 7
    heads: int = 6
    kv_heads: int = 2
    hidden: int = 1024
    context: int = 2048
    rope_base: float = 1_000_000.0
    epsilon: float = 1e-6

    @property
    def head(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads

    def to_dict(self) -> dict[str, float]:
        """For a checkpoint."""
        return asdict(self)


class Norm(nn.Module):
    """Root-mean-square norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape.width))
        self.epsilon = shape.epsilon

    def forward(self, x: Tensor) -> Tensor:
        """[..., width]."""
        return functional.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.epsilon)


def rotations(shape: Shape, length: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every position's angles: two float32 [length, head]."""
    steps = torch.arange(0, shape.head, 2).float() / shape.head
    angles = torch.outer(torch.arange(length).float(), shape.rope_base**-steps)
    angles = torch.cat([angles, angles], dim=1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary positions over the two halves of each head, as Qwen2 pairs them."""
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat([-second, first], dim=-1) * sine


class Attention(nn.Module):
    """Causal attention with biases on queries, keys and values, and shared key heads."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.q = nn.Linear(shape.width, shape.width)
        self.k = nn.Linear(shape.width, shape.kv_heads * shape.head)
        self.v = nn.Linear(shape.width, shape.kv_heads * shape.head)
        self.output = nn.Linear(shape.width, shape.width, bias=False)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """[batch, time, width]; ``mask`` is added to the scores, [time, time]."""
        batch, time, width = x.shape
        s = self.shape
        q = self.q(x).view(batch, time, s.heads, s.head).transpose(1, 2)
        k = self.k(x).view(batch, time, s.kv_heads, s.head).transpose(1, 2)
        v = self.v(x).view(batch, time, s.kv_heads, s.head).transpose(1, 2)
        q, k = rotate(q, *turn), rotate(k, *turn)
        share = s.heads // s.kv_heads
        k, v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
        # Written out: PyTorch's fused attention is slower on a CPU when it must go backward.
        scores = (q * s.head**-0.5) @ k.transpose(-1, -2) + mask
        mixed = scores.softmax(-1, dtype=q.dtype) @ v
        return self.output(mixed.transpose(1, 2).reshape(batch, time, width))


class Layer(nn.Module):
    """Attention and a gated feed-forward network, each after a norm and added to the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm, self.feed_norm = Norm(shape), Norm(shape)
        self.attention = Attention(shape)
        self.gate = nn.Linear(shape.width, shape.hidden, bias=False)
        self.up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """[batch, time, width]."""
        x = x + self.attention(self.attention_norm(x), turn, mask)
        y = self.feed_norm(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


class Embeddings(nn.Module):
    """One vector a token, the sum of what it shares with others and of its own.

    " metformin" is "metformin" plus a vector that all tokens with a space share: what is learnt of
    copying one word from the document (with its space) into a JSON string (without) then holds for
    every word.
    """

    def __init__(self, start: Tensor, base: Tensor, spaced: Tensor) -> None:
        """``start`` float [tokens, width]; ``base`` int [tokens]: the row of a token's vector;
        ``spaced`` bool [tokens]: True where the shared vector is added."""
        super().__init__()
        self.own = nn.Parameter(start)
        self.space = nn.Parameter(torch.randn(start.shape[1]) * 0.03)
        self.register_buffer("base", base)
        self.register_buffer("spaced", spaced)

    def weight(self, tokens: Tensor | None = None) -> Tensor:
        """The vectors of some tokens, or of all as the GGUF holds them, [tokens, width]."""
        base, spaced = self.base, self.spaced
        if tokens is not None:
            base, spaced = base[tokens], spaced[tokens]
        return functional.embedding(base, self.own) + spaced[:, None] * self.space


class Decoder(nn.Module):
    """Tokens to the last layer's normed stream; logits are its products with the embeddings."""

    def __init__(self, shape: Shape, embeddings: Embeddings) -> None:
        super().__init__()
        self.shape = shape
        self.embeddings = embeddings
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(shape)
        for name, matrix in self.layers.named_parameters():
            if matrix.ndim == 2:
                nn.init.normal_(matrix, std=0.02)
                if "output" in name or "down" in name:
                    nn.init.normal_(matrix, std=0.02 / (2 * shape.layers) ** 0.5)
            elif name.endswith("bias"):
                nn.init.zeros_(matrix)
        self._prime()
        cosine, sine = rotations(shape, shape.context)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    @torch.no_grad()
    def _prime(self) -> None:
        """Begin with heads that look back and heads that copy, which take long to form.

        Layer 0 notes at each token which stood one and two before it; layer 2 looks for what
        followed the present token earlier, and repeats it (induction).
        """
        for layer, key_head, distance in ((0, 0, 1), (0, 1, 2)):
            self._look_back(layer, key_head, distance)
        for key_head in range(self.shape.kv_heads):
            self._repeat(2, key_head)

    def _look_back(self, layer: int, key_head: int, distance: int) -> None:
        """Biases alone make one head attend to the token ``distance`` before."""
        s, attention = self.shape, self.layers[layer].attention
        head, half, count = key_head * (s.heads // s.kv_heads), s.head // 2, s.head // 8
        turns = distance * s.rope_base ** -(torch.arange(count) / half)
        q, k = attention.q.bias[head * s.head :], attention.k.bias[key_head * s.head :]
        q[:count], q[half : half + count] = 6 * turns.cos(), -6 * turns.sin()
        k[:count] = 6.0
        own = slice(head * s.head, (head + 1) * s.head)
        attention.q.weight[own] *= 0.1
        rows = slice(key_head * s.head, (key_head + 1) * s.head)
        attention.k.weight[rows] *= 0.1
        attention.v.weight[rows] = self._project(0, s.head)
        if (layer, key_head) == (0, 0):
            attention.output.weight[:, own] = 0.12 * self._project(1, s.head).T
        else:
            nn.init.normal_(attention.output.weight[:, own], std=0.01)

    def _repeat(self, layer: int, key_head: int) -> None:
        """One head matches the present token with the noted one, and copies what it finds.

        Only the slowly turning half of the positions takes part, so distance hardly matters.
        """
        s, attention = self.shape, self.layers[layer].attention
        half, head = s.head // 2, key_head * (s.heads // s.kv_heads)
        slow = torch.tensor(
            [place + part for part in (0, half) for place in range(3 * half // 8, half)]
        )
        own = slice(head * s.head, (head + 1) * s.head)
        keys = slice(key_head * s.head, (key_head + 1) * s.head)
        attention.q.weight[own] *= 0.1
        attention.k.weight[keys] *= 0.1
        attention.q.weight[head * s.head + slow] = 3 * self._project(0, s.head)[: len(slow)]
        attention.k.weight[key_head * s.head + slow] = 3 * self._project(1, s.head)[: len(slow)]
        copied = self._project(2, s.kv_heads * s.head)[keys]
        attention.v.weight[keys] = copied
        attention.output.weight[:, own] = 0.8 * copied.T

    def _project(self, number: int, rows: int) -> Tensor:
        """Orthonormal rows [rows, width], the same for the same number."""
        draw = torch.Generator().manual_seed(number)
        square = torch.randn(self.shape.width, rows, generator=draw)
        return torch.linalg.qr(square).Q.T.contiguous()

    def forward(self, tokens: Tensor, weight: Tensor, tap: int | None = None) -> tuple[Tensor, ...]:
        """The normed stream, and the raw one after ``tap`` layers; both [batch, time, width].

        ``tokens`` are rows of ``weight``, which ``embeddings.weight()`` gives for input and output.
        """
        x = functional.embedding(tokens, weight)
        time = tokens.shape[1]
        turn = (self.cosine[:time].to(x.dtype), self.sine[:time].to(x.dtype))
        mask = torch.full((time, time), float("-inf"), dtype=x.dtype, device=x.device).triu(1)
        tapped = x
        for index, layer in enumerate(self.layers):
            x = layer(x, turn, mask)
            if index + 1 == tap:
                tapped = x
        return self.norm(x), tapped


class Tagger(nn.Module):
    """The helper: which asked label does each token of the document belong to?

    A label is the mean of its name's embeddings, so the head works for any. Two rows: for the token
    itself, and for the one before it, which has seen one token of what follows. Never exported.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm = Norm(shape)
        self.label = nn.Linear(shape.width, shape.width)
        self.now = nn.Linear(shape.width, shape.width)
        self.before = nn.Linear(shape.width, shape.width)
        self.nothing = nn.Parameter(torch.zeros(2, shape.width))
        self.begins = nn.Linear(shape.width, 1)

    def forward(
        self, stream: Tensor, labels: Tensor, asked: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``stream`` [batch, tokens, width] of documents, ``labels`` [batch, labels, width], of
        which those that are ``asked`` [batch, labels] count. Scores [batch, tokens, 1 + labels]
        for each token and for the one before it, and [batch, tokens] for beginnings."""
        x, width = self.norm(stream), self.label.out_features
        known = functional.normalize(self.label(labels), dim=-1) * width**0.5
        hidden = functional.pad(~asked, (1, 0))[:, None]
        scores = []
        for row, project in enumerate((self.now, self.before)):
            none = self.nothing[row].to(known.dtype).expand(len(known), 1, width)
            products = project(x) @ torch.cat([none, known], 1).mT * width**-0.5
            scores.append(products.float().masked_fill(hidden, float("-inf")))
        return scores[0], scores[1], self.begins(x)[..., 0].float()
