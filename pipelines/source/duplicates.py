"""Ids that several documents have: found when a source is planned, before any model runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from actors.config import ConfigError
from actors.spans import Failure
from pipelines.source.ids import Id

Digests = npt.NDArray[np.uint64]
"""Rows by two words, 16 bytes: the digest of the row's id, zeros where it has none of its own."""

TakenIds = Callable[[Digests], Digests]
"""Returns those of the given ids that other documents have."""

_NONE = bytes(16)
_NAMED_IDS = 5


class DuplicateIdsError(ConfigError):
    """Documents share an id; the message names the first few."""

    @classmethod
    def of(cls, ids: Sequence[str], where: str) -> DuplicateIdsError:
        """The error for these ids; no __init__, so that it survives pickling between workers."""
        named = ", ".join(ids[:_NAMED_IDS]) + (" …" if len(ids) > _NAMED_IDS else "")
        return cls(
            f"{where}: several documents have the id {named}. Ids must be unique: "
            "set source.id to a column that is, or leave it out to have ids derived."
        )


def digests(ids: Iterable[Id]) -> Digests:
    """The digests of ids, in their order; 16 bytes a row."""
    content = b"".join(
        _NONE
        if one is None or isinstance(one, Failure)
        else hashlib.blake2b(one.encode(), digest_size=16).digest()
        for one in ids
    )
    return np.frombuffer(content, np.uint64).reshape(-1, 2)


def no_ids_taken(ids: Digests) -> Digests:
    """The TakenIds of a run that adds to nothing."""
    return digests(())


def lookup(wanted: Digests) -> TakenIds:
    """A function that returns which ids are among ``wanted``, which must not be empty.

    Two wanted ids with equal first words hide one another. That happens once in 2**64 pairs, and
    the check before the commit still finds the second.
    """
    ordered = wanted[np.lexsort((wanted[:, 1], wanted[:, 0]))]
    first = ordered[:, 0].copy()

    def among(ids: Digests) -> Digests:
        at = np.searchsorted(first, ids[:, 0])
        at[at == len(first)] = 0
        found: Digests = ids[(ordered[at] == ids).all(axis=1)]
        return found

    return among


def repeated(
    files: Sequence[Digests], taken: TakenIds = no_ids_taken
) -> list[npt.NDArray[np.int64]]:
    """Return for each file the rows, in order, with an id that already occurred: earlier in the
    file, in a file before it, or in a live document."""
    live = taken(np.concatenate([np.empty((0, 2), np.uint64), *files]))
    return _repeated([live, *files])[1:]


def _repeated(files: Sequence[Digests]) -> list[npt.NDArray[np.int64]]:
    every = np.concatenate(files)
    order = np.lexsort((every[:, 1], every[:, 0]))  # stable: equal ids stay in order of rows
    ordered = every[order]
    same = np.flatnonzero((ordered[1:] == ordered[:-1]).all(axis=1) & ordered[1:].any(axis=1)) + 1
    rows = np.sort(order[same])
    edges = np.cumsum([0, *(len(one) for one in files)])
    return [
        (rows[(rows >= low) & (rows < high)] - low).astype(np.int64)
        for low, high in pairwise(edges)
    ]


def stretches(
    start: int, count: int, rows: npt.NDArray[np.int64]
) -> Iterator[tuple[int, int, bool]]:
    """Rows [start, start + count) as neighbours that are alike: their first, how many, and whether
    their ids are repeated."""
    inside = rows[(rows >= start) & (rows < start + count)]
    marks = np.zeros(count, bool)
    marks[inside - start] = True
    edges = [0, *(np.flatnonzero(marks[1:] != marks[:-1]) + 1).tolist(), count]
    for low, high in pairwise(edges):
        if low < high:
            yield start + low, high - low, bool(marks[low])
