"""Vectors of a vocabulary's names, and the search of those nearest to a mention.

Components are stored as 8-bit integers at one scale per vocabulary, and products are summed as
integers, so the ranking does not depend on the processor. The search is exhaustive and takes time
proportional to the vocabulary: it is for mentions that no other lookup links.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from actors.arrays import Float32Array, Int32Array
from actors.config.linking import Pooling
from actors.linking.vocabulary import VocabularyError

VECTORS_FILE = "vectors.arrow"
MOST_NEAREST = 256
"""Names that are ranked; concepts have several."""
MILLION = 1_000_000
_ENCODED = 8_192
"""Names that are encoded at a time."""
_NONE = np.empty(0, dtype=np.int32)
_BLOCK = 2_048
"""Names that are compared at a time: their block fits a processor's cache."""


class Encoder(Protocol):
    """A text-embedding model.

    ``digest``: of its files. ``pooling``: how a text's vector is made of those of its tokens.
    """

    digest: str
    pooling: Pooling
    dimensions: int

    def encode(self, texts: Sequence[str]) -> Float32Array:
        """The vectors of texts, each of length 1."""


def write_vectors(terms: Sequence[str], encoder: Encoder, folder: Path) -> dict[str, Any]:
    """Encode the names of a vocabulary into a file; returns their part of the manifest.

    Vectors pass through scratch files in the folder, not through memory. Raises VocabularyError if
    a vector is not finite.
    """
    shape = (len(terms), encoder.dimensions)
    whole = np.memmap(folder / "encoded", np.float32, "w+", shape=shape)
    largest = 0.0
    for start in range(0, len(terms), _ENCODED):
        part = encoder.encode(terms[start : start + _ENCODED])
        if not np.isfinite(part).all():
            raise VocabularyError("the embedding model returned vectors that are not finite")
        whole[start : start + len(part)] = part
        largest = max(largest, float(np.abs(part).max()))
    scale = int(127 / largest) if largest else 1
    rounded = np.memmap(folder / "rounded", np.int8, "w+", shape=shape)
    for start in range(0, len(terms), _ENCODED):
        rounded[start : start + _ENCODED] = np.rint(whole[start : start + _ENCODED] * scale)
    values = pa.Array.from_buffers(pa.int8(), rounded.size, [None, pa.py_buffer(rounded)])
    rows = pa.FixedSizeListArray.from_arrays(values, encoder.dimensions)
    table = pa.table({"vector": rows})
    path = folder / VECTORS_FILE
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    for scratch in ("encoded", "rounded"):
        (folder / scratch).unlink()
    with path.open("rb") as written:
        found = hashlib.file_digest(written, "sha256").hexdigest()
    return {
        "model": encoder.digest,
        "pooling": encoder.pooling,
        "dimensions": encoder.dimensions,
        "scale": scale,
        "digest": found,
    }


class NameVectors:
    """The vectors of an index, mapped into memory; row i is that of name i."""

    def __init__(self, column: Any, scale: int) -> None:
        self._rows = column.values.to_numpy().reshape(len(column), -1)
        self._scale = scale

    def nearest(
        self, vector: Float32Array, least: int, allowed: Int32Array | None = None
    ) -> tuple[Int32Array, Int32Array]:
        """(names, cosines in millionths), best first, then by the order of the vocabulary.

        ``least``: the smallest cosine, in millionths. ``allowed``: the names to compare; None: all.
        """
        if not np.isfinite(vector).all():
            return _NONE, _NONE
        query = np.rint(vector * np.float32(self._scale)).astype(np.int32)
        # Several times faster than a matrix product of integers, and on one thread: those of a
        # BLAS wait for each other at every block.
        products = np.concatenate(
            [
                np.einsum("ij,j->i", rows, query, dtype=np.int32, casting="unsafe")
                for rows in self._blocks(allowed)
            ]
        ).astype(np.int64)
        cosines = np.minimum(products * MILLION // self._scale**2, MILLION)
        near = np.flatnonzero(cosines >= least)
        if len(near) > MOST_NEAREST:
            # No two are equal, so that what is chosen does not depend on the order.
            order = (cosines[near] << 32) - near
            near = near[np.argpartition(order, -MOST_NEAREST)[-MOST_NEAREST:]]
        near = near[np.lexsort((near, -cosines[near]))]
        names = near if allowed is None else allowed[near]
        return names.astype(np.int32), cosines[near].astype(np.int32)

    def _blocks(self, allowed: Int32Array | None) -> Iterator[np.ndarray]:
        count = len(self._rows) if allowed is None else len(allowed)
        for start in range(0, max(count, 1), _BLOCK):
            block = slice(start, start + _BLOCK)
            yield self._rows[block if allowed is None else allowed[block]]
