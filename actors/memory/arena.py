"""Peak buffer size of a compute graph, by replaying the rules of ggml's allocator.

Tensors are placed one by one in the smallest free block that holds them. An in-place operation
takes over its operand's memory, and a tensor is freed after its last reader (ggml-alloc.c). The
peak of a replay is therefore the size of llama.cpp's compute buffer, fragmentation included.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass

_ALIGNMENT = 32


@dataclass(frozen=True, slots=True)
class Op:
    """An operation: the tensor that it produces, in bytes, and the tensors that it reads.

    ``in_place``: it may reuse the memory of an operand of the same size that has no later reader. A
    read of a name that no operation produces (a weight, the KV cache) is not in this buffer.
    """

    makes: str
    size: int
    reads: tuple[str, ...] = ()
    in_place: bool = False


def peak(inputs: Iterable[tuple[str, int]], ops: Iterable[Op]) -> int:
    """Return the buffer size in bytes: ``inputs`` (name, bytes) are placed first, then each tensor.

    An input without readers stays allocated to the end.
    """
    order = list(ops)
    arena = _Arena()
    readers: dict[str, int] = {}
    for op in order:
        for name in op.reads:
            readers[name] = readers.get(name, 0) + 1
    places: dict[str, tuple[int, int]] = {}
    for name, size in inputs:
        places[name] = arena.allocate(size)
    for op in order:
        reused = next((n for n in op.reads if _reusable(op, n, places, readers)), None)
        places[op.makes] = places.pop(reused) if reused else arena.allocate(op.size)
        for name in op.reads:
            readers[name] -= 1
            if not readers[name] and name in places:
                arena.free(*places.pop(name))
    return arena.high_water


def _reusable(
    op: Op, name: str, places: dict[str, tuple[int, int]], readers: dict[str, int]
) -> bool:
    fits = name in places and places[name][1] == _aligned(op.size)
    return op.in_place and fits and readers[name] == 1


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


class _Arena:
    """Free blocks in address order, and the open end after them."""

    def __init__(self) -> None:
        self._free_blocks: list[tuple[int, int]] = []
        self._end = 0
        self.high_water = 0

    def allocate(self, size: int) -> tuple[int, int]:
        size = _aligned(size)
        candidates = [
            (block_size, place) for place, block_size in self._free_blocks if block_size >= size
        ]
        if candidates:
            # Of free blocks of equal size, ggml takes the last.
            block_size = min(candidates)[0]
            place = max(place for found, place in candidates if found == block_size)
            self._free_blocks.remove((place, block_size))
            if block_size > size:
                insort(self._free_blocks, (place + size, block_size - size))
            return place, size
        place = self._end
        self._end += size
        self.high_water = max(self.high_water, self._end)
        return place, size

    def free(self, place: int, size: int) -> None:
        insort(self._free_blocks, (place, size))
        merged: list[tuple[int, int]] = []
        for start, block_size in self._free_blocks:
            if merged and sum(merged[-1]) == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + block_size)
            else:
                merged.append((start, block_size))
        if merged and sum(merged[-1]) == self._end:
            self._end = merged.pop()[0]
        self._free_blocks = merged
