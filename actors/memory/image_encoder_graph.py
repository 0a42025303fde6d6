"""The graph of an image encoder, as operations on sized tensors (llama.cpp's tools/mtmd).

Operations are in the order of its builders, so that replaying its allocator (``arena``) yields the
size of the buffer that it reserves. Views (reshapes, permutations) count as their tensor; an
operation that reads a tensor through a view never overwrites it.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.memory.arena import Op, peak

_FLOAT, _HALF = 4, 2


@dataclass(frozen=True, slots=True)
class Tower:
    """An image encoder and its input. ``patches``: of all images in a batch; ``pictures``: how
    many.

    ``kind``: llama.cpp's name of the projector. ``raw``: pixel values per patch. ``out``: embedding
    width of the language model. ``merged``: patches merged into one token. ``windowed``: per layer,
    whether attention is limited to a window. ``deep``: per layer, whether its output also goes to
    the language model. ``fused``: query, key and value are one product.
    """

    kind: str
    width: int
    feed: int
    heads: int
    raw: int
    out: int
    patches: int
    pictures: int
    merged: int
    windowed: tuple[bool, ...]
    deep: tuple[bool, ...]
    gated: bool
    fused: bool
    flash: bool

    @property
    def turned(self) -> bool:
        """True if queries and keys use rotary position embeddings, as in Qwen's encoders."""
        return self.kind.startswith("qwen")

    @property
    def classed(self) -> bool:
        """True if each image has a class token besides its patches."""
        return self.kind in ("mlp", "internvl")


def compute_bytes(tower: Tower) -> int:
    """Bytes of the compute buffer."""
    graph = _Graph(tower)
    ops = graph.ops()
    return peak(graph.inputs(), ops)


class _Graph:
    def __init__(self, tower: Tower) -> None:
        self._tower = tower
        self._ops: list[Op] = []
        self._wide = _FLOAT * tower.patches * tower.width

    def inputs(self) -> list[tuple[str, int]]:
        """Graph inputs in order of first use."""
        tower = self._tower
        order, mask = 4 * tower.patches // tower.merged, _FLOAT * tower.patches**2
        found = [("pixels", self._pixels)]
        places = [("positions", 4 * 4 * tower.patches)]
        if tower.kind == "mlp":
            return [*found, ("positions", 4 * tower.patches), ("kept", 4 * tower.patches)]
        if not any(tower.windowed):
            return found + places if tower.turned else found
        return [*found, ("order", order), *places, ("window", mask), ("order back", order)]

    def ops(self) -> list[Op]:
        """The operations, from pixels to embeddings."""
        tower = self._tower
        at = self._patches()
        if any(tower.windowed):
            at = self._op(self._wide, at, "order")  # group the patches of a window
        deep = []
        for layer, (windowed, deeper) in enumerate(zip(tower.windowed, tower.deep, strict=True)):
            at = self._layer(at, windowed, first=not any(tower.windowed[:layer]))
            if deeper:
                deep.append(at)
        if not tower.turned:
            return self._fixed_end(at)
        at = self._project(self._norm(at))
        found = [self._project(self._norm(layer)) for layer in deep]
        for number, more in enumerate(found[1:], start=2):
            found[0] = self._op(number * self._out, found[0], more)
        if found:
            self._op((1 + len(found)) * self._out, at, found[0])
        if any(tower.windowed):
            self._op(self._out, at, "order back")
        return self._ops

    def _fixed_end(self, at: str) -> list[Op]:
        """The operations after the layers, for fixed-size images."""
        small = self._wide // self._tower.merged
        if self._tower.kind == "mlp":
            at = self._op(self._grid, at, "kept")
        else:
            at = self._op(self._grid, self._norm(at))
        if self._tower.kind == "gemma3":
            at = self._op(small, self._op(small, at))  # average pooling
        elif self._tower.kind == "internvl":
            at = self._op(self._grid, self._op(self._grid, self._op(self._grid, at)))
        self._op(self._out, self._op(self._out, at))
        return self._ops

    @property
    def _out(self) -> int:
        return _FLOAT * self._tower.patches // self._tower.merged * self._tower.out

    def _patches(self) -> str:
        """Patch embedding: one convolution, or the sum of two for two frames."""
        tower = self._tower
        if not tower.turned:
            at = self._op(self._grid, self._convolved())
            if tower.kind == "internvl":
                at = self._op(self._wide, at, self._op(_FLOAT * tower.width * tower.pictures, "c"))
            elif tower.classed:
                at = self._op(self._wide, at)
            if tower.kind == "mlp":
                at = self._op(self._wide, at, self._op(self._wide, "positions"), in_place=True)
                return self._norm(at)
            return at
        first = self._convolved()
        at = self._op(self._wide, first, self._convolved(), in_place=True)
        at = self._op(self._wide, self._op(self._wide, at))  # group four neighbouring patches
        if tower.fused:  # learned position embeddings, interpolated to the image size
            learnt = self._op(self._wide, "table")
            for _ in range(3):
                learnt = self._op(self._wide, learnt)
            at = self._op(self._wide, at, learnt)
        return at

    def _convolved(self) -> str:
        columns = self._op(self._pixels // 2, "pixels")  # in half precision
        return self._op(self._grid, self._op(self._grid, columns))

    @property
    def _pixels(self) -> int:
        return self._grid // self._tower.width * self._tower.raw

    @property
    def _grid(self) -> int:
        """Bytes of the patches alone, without the class token."""
        tower = self._tower
        return self._wide - _FLOAT * tower.width * tower.pictures * tower.classed

    def _layer(self, before: str, windowed: bool, first: bool) -> str:
        tower = self._tower
        at = self._attend(self._norm(before), windowed, first)
        # The output with its bias, then the residual: both reuse the same memory.
        at = self._op(self._wide, self._op(self._wide, at), before, in_place=True)
        normed = self._norm(at)
        feed = _FLOAT * tower.patches * tower.feed
        if tower.gated:
            wide = self._op(feed, self._op(feed, normed), self._op(feed, normed))
        else:
            wide = self._op(feed, self._op(feed, normed), in_place=True)
        return self._op(self._wide, at, self._op(self._wide, wide), in_place=True)

    def _attend(self, normed: str, windowed: bool, first: bool) -> str:
        tower = self._tower
        if tower.fused:
            joint = self._op(3 * self._wide, normed)
            query = self._op(self._wide, joint, "positions")
            key, value = self._op(self._wide, joint, "positions"), joint
        else:
            parts = []
            for turned in (True, True, False):
                part = self._op(self._wide, normed)
                if turned and tower.turned:
                    part = self._op(self._wide, part, "positions")
                parts.append(part)
            query, key, value = parts
        if not tower.flash:
            return self._scored(query, key, value, windowed)
        half = self._wide // 2
        read = [query, self._op(half, key), self._op(half, value)]
        if windowed:
            size = _HALF * tower.patches**2
            if first:
                self._ops.append(Op("half window", size, ("window",)))
            read.append(self._op(size, "half window"))
        return self._op(self._wide, *read)

    def _scored(self, query: str, key: str, value: str, windowed: bool) -> str:
        tower = self._tower
        across = self._op(self._wide, value)
        scores = _FLOAT * tower.heads * tower.patches**2 // tower.pictures
        at = self._op(scores, key, query)
        at = self._op(scores, at, *(["window"] if windowed else []), in_place=True)
        return self._op(self._wide, self._op(self._wide, across, at))

    def _norm(self, at: str) -> str:
        # Norm with its weights, in place; only RMS norm can itself run in place.
        return self._op(self._wide, at, in_place=self._tower.kind == "qwen2.5vl_merger")

    def _project(self, normed: str) -> str:
        """A two-layer projection from merged patches to an embedding."""
        inner = self._op(self._wide, normed)
        return self._op(self._out, self._op(self._wide, inner, in_place=True))

    def _op(self, size: int, *reads: str, in_place: bool = False) -> str:
        name = f"#{len(self._ops)}"
        self._ops.append(Op(name, size, reads, in_place))
        return name
