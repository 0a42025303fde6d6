"""The compute graph for which llama.cpp reserves its buffer, as operations on sized tensors.

A decoder with gated feed-forward layers, for a full ubatch with every sequence at maximum length,
in the order of llama.cpp's builders (src/models). Tensor names only serve to tell tensors apart.
"""

from __future__ import annotations

from actors.memory.arena import Op
from actors.memory.shape import Shape

# Architectures with a norm on the queries and keys of each head.
_NORMED = frozenset({"qwen3", "qwen3vl", "gemma3"})
_FLOAT = 4
_EMBEDDED = "embedded"


class Graph:
    """Inputs and operations for one shape. Sizes are in bytes."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._gemma = shape.architecture == "gemma3"
        self._ops: list[Op] = []

    def embedded(self) -> tuple[str, int]:
        """The token embeddings; wider if images also add to deeper layers."""
        shape = self._shape
        return _EMBEDDED, _FLOAT * shape.tokens * shape.width * (1 + shape.added)

    def looked_up(self) -> list[tuple[str, int]]:
        """Inputs of the embedding lookup: tokens, or embeddings of images."""
        return [("tokens", 4 * self._shape.tokens), ("given", self.embedded()[1])]

    def inputs(self) -> list[tuple[str, int]]:
        """Inputs of the layers besides the embeddings, in order of first use."""
        shape = self._shape
        axes = 4 if shape.architecture.endswith("vl") else 1
        found = [("positions", 4 * shape.tokens * axes)]
        for windowed in dict.fromkeys(shape.windowed):
            layer, tag = shape.windowed.index(windowed), f" {windowed}"
            # Without flash attention V is stored transposed, with a separate index per element.
            places = 1 if shape.flash else shape.kv_heads[layer] * shape.value
            found += [
                ("keys" + tag, 8 * shape.tokens),
                ("values" + tag, 8 * shape.tokens * places),
                ("mask" + tag, (2 if shape.flash else 4) * shape.tokens * shape.cells_of(layer)),
            ]
            if shape.turned_keys:
                found.append(("turn k" + tag, _FLOAT * _power(shape.key) ** 2))
            if shape.turned_values:
                found.append(("turn v" + tag, _FLOAT * 64**2))
        return [*found, ("wanted", 4 * shape.outputs)]

    def embedding(self) -> Op:
        """The embedding lookup; it runs on the host even if layers are on the GPU."""
        return Op(*self.embedded(), ("tokens",))

    def ops(self) -> list[Op]:
        """The operations after the embedding lookup."""
        shape = self._shape
        self._ops = []
        at = _EMBEDDED
        if self._gemma:
            at = self._op(self._wide(shape.tokens), at, in_place=True)
        for layer in range(shape.layers):
            at = self._layer(layer, at)
        at = self._norm(self._wide(shape.outputs), at)
        self._op(_FLOAT * shape.outputs * shape.vocabulary, at)
        return self._ops

    def _wide(self, rows: int) -> int:
        return _FLOAT * rows * self._shape.width

    def _layer(self, layer: int, before: str) -> str:
        shape = self._shape
        rows = shape.tokens
        at = self._op(
            self._wide(rows), self._attention(layer, self._norm(self._wide(rows), before))
        )
        if layer == shape.layers - 1:
            rows = shape.outputs  # from here on only output rows
            at = self._op(self._wide(rows), at, "wanted")
            before = self._op(self._wide(rows), before, "wanted")
        wide, feed = self._wide(rows), _FLOAT * rows * shape.feed
        at = self._norm(wide, at) if self._gemma else at
        attended = self._op(wide, at, before, in_place=True)
        normed = self._norm(wide, attended)
        gate, up = self._op(feed, normed), self._op(feed, normed)
        at = self._op(wide, self._op(feed, gate, up))
        at = self._norm(wide, at) if self._gemma else at
        return self._op(wide, at, attended, in_place=True)

    def _attention(self, layer: int, normed: str) -> str:
        shape, tag = self._shape, f" {self._shape.windowed[layer]}"
        rows = _FLOAT * shape.tokens
        size = rows * shape.heads * shape.key
        value = rows * shape.kv_heads[layer] * shape.value
        query = self._positioned(size, normed, tag, scaled=self._gemma)
        held = self._biased(value, normed)
        if shape.turned_values:
            held = self._op(value, held, "turn v" + tag)
        key = self._positioned(rows * shape.kv_heads[layer] * shape.key, normed, tag)
        self._op(0, key, "keys" + tag)
        self._op(0, held, "values" + tag)
        size = rows * shape.heads * shape.value
        if shape.flash:
            out = self._op(size, query, "mask" + tag)
        else:
            scores = rows * shape.cells_of(layer) * shape.heads
            found = self._op(scores, self._op(scores, query), "mask" + tag, in_place=True)
            out = self._op(size, self._op(size, found))
        return self._op(size, out, "turn v" + tag) if shape.turned_values else out

    def _positioned(self, size: int, normed: str, tag: str, scaled: bool = False) -> str:
        """A query or key with positional encoding. The first reader of the heads reads a reshaped
        view, and a viewed tensor is never overwritten in place."""
        at = self._biased(size, normed)
        if self._shape.architecture in _NORMED:
            at = self._op(size, self._op(size, at), in_place=True)
            at = self._op(size, at, "positions", in_place=True)
        else:
            at = self._op(size, at, "positions")
        at = self._op(size, at, in_place=True) if scaled else at
        return self._op(size, at, "turn k" + tag) if self._shape.turned_keys else at

    def _biased(self, size: int, normed: str) -> str:
        at = self._op(size, normed)
        biased = self._shape.architecture.startswith("qwen2")
        return self._op(size, at, in_place=True) if biased else at

    def _norm(self, size: int, at: str) -> str:
        return self._op(size, self._op(size, at, in_place=True), in_place=True)

    def _op(self, size: int, *reads: str, in_place: bool = False) -> str:
        name = f"#{len(self._ops)}"
        self._ops.append(Op(name, size, reads, in_place))
        return name


def _power(width: int) -> int:
    """Return the largest power of two, at least 64, that divides a head's width."""
    size = 64
    while width % (2 * size) == 0:
        size *= 2
    return size
