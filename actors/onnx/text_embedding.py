"""Text embeddings: one vector of length 1 for a short text, by an ONNX model of the user's.

The model is a folder as sentence-transformers and optimum export it: an ONNX file with the hidden
states of all tokens as its output, and tokenizer.json or vocab.txt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from actors.arrays import Float32Array, Int64Array
from actors.config import OnnxSession
from actors.config.linking import Pooling
from actors.config.onnx import FolderWeights
from actors.model_folder import CLASSIFIER_FILES, ModelFileError
from actors.onnx.session import Session
from actors.onnx.tokenizer import TextTokenizer
from actors.weights import digest, fetch_folder

MOST_TOKENS = 64
"""Tokens of a text that count, special ones included: names are short."""
_BATCH = 64


class TextEncoder:
    """A loaded embedding model; threads may share it.

    ``pooling``: the vector of a text is the mean over its tokens (sentence-transformers), or that
    of the first token (SapBERT). Raises ConfigError, ModelFileError, WeightsError or
    FileNotFoundError if the model cannot be loaded.
    """

    def __init__(self, weights: FolderWeights, pooling: Pooling = "mean", threads: int = 1) -> None:
        folder = fetch_folder(weights)
        files = CLASSIFIER_FILES.chosen(weights.file).present(folder)
        self.pooling: Pooling = pooling
        self.digest = _digest(files)
        self._tokenizer = TextTokenizer(folder)
        self._session = Session(files[0], OnnxSession(provider="cpu"), threads, 0)
        if self._session.rows is not None or self._session.length is not None:
            raise ModelFileError(
                f"{files[0]}: takes batches of one shape only; export it with a dynamic batch and "
                "sequence length"
            )
        try:
            self.dimensions: int = self.encode(["a"]).shape[1]
        except Exception as error:  # onnxruntime's own hierarchy is private
            raise ModelFileError(
                f"{files[0]}: onnxruntime cannot run the model: {error}"
            ) from error

    def encode(self, texts: Sequence[str]) -> Float32Array:
        """The vectors of texts, of which there is at least one, in their order.

        Texts of the same number of tokens share a batch, so there is no padding, and a text that is
        encoded alone has the same vector in every process.
        """
        rows = [self._tokens(text) for text in texts]
        batches = list(_batches(rows))
        given = [np.array([rows[at] for at in batch], np.int64) for batch in batches]
        if len(batches) == 1:
            vectors = [self._run(given[0])]
        else:
            with ThreadPoolExecutor(self._session.parallel) as threads:
                vectors = list(threads.map(self._run, given))
        found: Float32Array = np.empty((len(texts), vectors[0].shape[1]), np.float32)
        for batch, part in zip(batches, vectors, strict=True):
            found[batch] = part
        return found

    def _tokens(self, text: str) -> list[int]:
        before, after = self._tokenizer.before, self._tokenizer.after
        most = MOST_TOKENS - len(before) - len(after)
        return [*before, *self._tokenizer.encode(text).ids[:most].tolist(), *after]

    def _run(self, ids: Int64Array) -> Float32Array:
        hidden = self._session.run(ids, np.ones_like(ids))
        pooled = hidden.mean(axis=1) if self.pooling == "mean" else hidden[:, 0]
        lengths = np.linalg.norm(pooled, axis=1, keepdims=True)
        vectors: Float32Array = pooled / np.maximum(lengths, np.finfo(np.float32).tiny)
        return vectors


def _batches(rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Places of rows of one length, at most a batch of them at a time."""
    by_length: dict[int, list[int]] = {}
    for at, row in enumerate(rows):
        by_length.setdefault(len(row), []).append(at)
    for _, places in sorted(by_length.items()):
        yield from (places[start : start + _BATCH] for start in range(0, len(places), _BATCH))


def _digest(files: Sequence[Path]) -> str:
    """One SHA-256 for the contents of all files of a model."""
    return hashlib.sha256("".join(map(digest, files)).encode()).hexdigest()
