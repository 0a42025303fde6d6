"""What a graph of operations takes of one buffer, by the rules of ggml's allocator.

Tensors are placed one after the other in the smallest gap that holds them; an operation that can
work in place takes over its operand's room; a tensor ends with its last reader (ggml-alloc.c). The
peak of a replay is therefore the size of llama.cpp's compute buffer, gaps included.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass

_ALIGNMENT = 32


@dataclass(frozen=True, slots=True)
class Op:
    """An operation: the tensor that it makes, in bytes, and the tensors that it reads.

    ``in_place``: it may take over the room of an operand of the same size that nobody else reads
    later. A read of a name that nothing makes (a weight, the KV cache) is not in this buffer.
    """

    makes: str
    size: int
    reads: tuple[str, ...] = ()
    in_place: bool = False


def peak(inputs: Iterable[tuple[str, int]], ops: Iterable[Op]) -> int:
    """Bytes of the buffer: ``inputs`` (name, bytes) are placed first, then each operation's tensor.

    An input that nothing reads keeps its room to the end.
    """
    order = list(ops)
    arena = _Arena()
    readers: dict[str, int] = {}
    for op in order:
        for name in op.reads:
            readers[name] = readers.get(name, 0) + 1
    places: dict[str, tuple[int, int]] = {}
    for name, size in inputs:
        places[name] = arena.take(size)
    for op in order:
        taken = next((n for n in op.reads if _reusable(op, n, places, readers)), None)
        places[op.makes] = places.pop(taken) if taken else arena.take(op.size)
        for name in op.reads:
            readers[name] -= 1
            if not readers[name] and name in places:
                arena.give(*places.pop(name))
    return arena.most


def _reusable(
    op: Op, name: str, places: dict[str, tuple[int, int]], readers: dict[str, int]
) -> bool:
    fits = name in places and places[name][1] == _aligned(op.size)
    return op.in_place and fits and readers[name] == 1


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


class _Arena:
    """Free gaps in order of place, and the open end behind them."""

    def __init__(self) -> None:
        self._gaps: list[tuple[int, int]] = []
        self._end = 0
        self.most = 0

    def take(self, size: int) -> tuple[int, int]:
        size = _aligned(size)
        fitting = [(room, place) for place, room in self._gaps if room >= size]
        if fitting:
            # Of gaps of one size ggml takes the last.
            room = min(fitting)[0]
            place = max(place for found, place in fitting if found == room)
            self._gaps.remove((place, room))
            if room > size:
                insort(self._gaps, (place + size, room - size))
            return place, size
        place = self._end
        self._end += size
        self.most = max(self.most, self._end)
        return place, size

    def give(self, place: int, size: int) -> None:
        insort(self._gaps, (place, size))
        merged: list[tuple[int, int]] = []
        for start, room in self._gaps:
            if merged and sum(merged[-1]) == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + room)
            else:
                merged.append((start, room))
        if merged and sum(merged[-1]) == self._end:
            self._end = merged.pop()[0]
        self._gaps = merged
