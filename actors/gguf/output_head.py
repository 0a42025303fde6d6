"""A model's output matrix, from hidden state to logits, for a few tokens at a time.

llama.cpp multiplies by the whole matrix: with a vocabulary of 152,000 tokens that is half of the
work of a small model. Where a grammar allows ten tokens, ten of its rows are enough. They are read
from the GGUF file and kept as float32.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actors.arrays import Float32Array, Int32Array, Int64Array
from actors.config.gguf_parts import gguf_parts
from actors.gguf import ggml

_KEPT_BYTES = 32 << 20


class OutputHead:
    """Rows of the output matrix. Not thread-safe."""

    def __init__(self, path: Path, width: int, size: int) -> None:
        """Find the matrix [size, width] of the model at ``path``; raises ValueError if the file has
        none of that shape."""
        stored = _find(path)
        if stored is None or stored.size != size * ggml.row_bytes(stored.type, width):
            raise ValueError(f"{path.name}: no output matrix of {size} rows of {width} numbers")
        self.width = width
        self._type = stored.type
        self._offset, self._row = stored.offset, stored.size // size
        self._file = os.open(stored.file, os.O_RDONLY)
        self.most = min(size, _KEPT_BYTES // (4 * width))
        self._kept = np.empty((self.most, width), np.float32)
        self._places = np.full(size, -1, np.int32)
        self._used = 0

    def logits(self, hidden: Float32Array, ids: Int64Array) -> Float32Array:
        """Return the logits of these tokens, at most ``most``, after the state ``hidden`` [width];
        float32 [ids]. A token's logit does not depend on the others."""
        # not BLAS, whose threads would compete with llama.cpp's
        return np.asarray(np.einsum("ij,j->i", self._kept[self._rows(ids)], hidden), np.float32)

    def _rows(self, ids: Int64Array) -> Int32Array:
        """Return where the rows of these tokens are kept, reading those that are not."""
        missing = ids[self._places[ids] < 0]
        if len(missing) + self._used > self.most:
            self._places.fill(-1)
            self._used, missing = 0, ids
        if len(missing):
            end = self._used + len(missing)
            ggml.dequantize(self._type, self._read(missing), self._kept[self._used : end])
            self._places[missing] = np.arange(self._used, end)
            self._used = end
        return self._places[ids]

    def _read(self, ids: Int64Array) -> NDArray[np.uint8]:
        """Return the stored rows of these tokens, uint8 [ids, bytes]."""
        row, first = self._row, self._offset
        rows = [os.pread(self._file, row, first + row * int(token)) for token in ids]
        return np.frombuffer(b"".join(rows), np.uint8).reshape(len(ids), self._row)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _find(path: Path) -> ggml.StoredTensor | None:
    names = (b"output.weight", b"token_embd.weight")  # the second one if both are the same
    found: dict[bytes, ggml.StoredTensor] = {}
    for part in gguf_parts(str(path)):
        found |= ggml.stored_tensors(part, names)
    return next((found[name] for name in names if name in found), None)
