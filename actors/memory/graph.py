"""The graph that llama.cpp reserves its compute buffer for, as operations on sized tensors.

A decoder of gated feed-forward layers, for a full ubatch with every sequence at its longest, in the
order of llama.cpp's builders (src/models). Names of tensors are only to tell them apart.
"""

from __future__ import annotations

from actors.memory.arena import Op
from actors.memory.shape import Shape

# Heads' queries and keys have a norm of their own.
_NORMED = frozenset({"qwen3", "qwen3vl", "gemma3"})
_FLOAT = 4
_EMBEDDED = "embedded"


class Graph:
    """Inputs and operations of one shape. Sizes are in bytes."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._gemma = shape.architecture == "gemma3"
        self._ops: list[Op] = []

    def embedded(self) -> tuple[str, int]:
        """The tokens' embeddings, wider where pictures add to deeper layers."""
        shape = self._shape
        return _EMBEDDED, _FLOAT * shape.tokens * shape.width * (1 + shape.added)

    def looked_up(self) -> list[tuple[str, int]]:
        """What the embedding is looked up from: tokens, or embeddings of pictures."""
        return [("tokens", 4 * self._shape.tokens), ("given", self.embedded()[1])]

    def inputs(self) -> list[tuple[str, int]]:
        """What the layers read beside the embeddings, in the order of its first use."""
        shape = self._shape
        axes = 4 if shape.architecture.endswith("vl") else 1
        found = [("positions", 4 * shape.tokens * axes)]
        for windowed in dict.fromkeys(shape.windowed):
            layer, tag = shape.windowed.index(windowed), f" {windowed}"
            # Without flash attention V is stored across, each element at a place of its own.
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
        """The operation that looks the embeddings up; on the host whatever the card holds."""
        return Op(*self.embedded(), ("tokens",))

    def ops(self) -> list[Op]:
        """The operations after the embedding."""
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
        at = self._op(self._wide(rows), self._attend(layer, self._norm(self._wide(rows), before)))
        if layer == shape.layers - 1:
            rows = shape.outputs  # from here on only what is wanted
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

    def _attend(self, layer: int, normed: str) -> str:
        shape, tag = self._shape, f" {self._shape.windowed[layer]}"
        rows = _FLOAT * shape.tokens
        size = rows * shape.heads * shape.key
        value = rows * shape.kv_heads[layer] * shape.value
        query = self._placed(size, normed, tag, scaled=self._gemma)
        held = self._biased(value, normed)
        if shape.turned_values:
            held = self._op(value, held, "turn v" + tag)
        key = self._placed(rows * shape.kv_heads[layer] * shape.key, normed, tag)
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

    def _placed(self, size: int, normed: str, tag: str, scaled: bool = False) -> str:
        """A query or key with its position. What first reads the heads reads them reshaped, and a
        reshaped tensor is never written over."""
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
    """The largest power of two, 64 at least, that divides a head's width."""
    size = 64
    while width % (2 * size) == 0:
        size *= 2
    return size
