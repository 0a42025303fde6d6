"""The most likely label sequences that a scheme allows, for many documents in lockstep.

The result is exact. A document is split where its greedy labels are outside of entities twice in a
row. Pieces whose greedy labels are allowed are done; the others go through the recursion together,
one token of all of them at a time, to amortise the cost of Python. Pieces that are each optimal are
optimal together if the transitions at their joints are allowed, which is checked; a document where
one is not (rare) is decoded again as a whole.

For an unfinished document, the labels that no further token can change are identified: for every
set of labels that may follow there is one best path up to here, and where all these paths agree the
labels are final.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from actors.arrays import Float32Array, IntpArray
from actors.onnx.packing import pack
from actors.onnx.tokens.labels import Labels

_NEVER = np.float32(-1e9)
# A label with at most this many predecessors only examines these.
_FEW = 4
_SHORTEST = 32  # minimum length of a piece, in tokens
_TABLE = 65_536  # tokens per recursion batch, padding included


class _Piece(NamedTuple):
    document: int
    start: int
    end: int


class Viterbi:
    """Decoder for one label table; created once per model."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        # Labels with the same predecessors share one maximum: in BIO, one for all labels that may
        # follow anything, and one per type for its I-.
        columns, group = np.unique(labels.allowed, axis=1, return_inverse=True)
        self._group = group.reshape(-1)
        counts = columns.sum(axis=0)
        self._wide = np.flatnonzero(counts > _FEW)
        self._narrow = np.flatnonzero((counts <= _FEW) & (counts > 0))
        self._open = np.where(columns, np.float32(0), _NEVER)
        self._futures = np.unique(labels.allowed, axis=0, return_inverse=True)[1].reshape(-1)
        self._few = np.zeros((len(self._narrow), _FEW), np.intp)
        for row, narrow in enumerate(self._narrow):
            found = np.flatnonzero(columns[:, narrow])
            self._few[row] = np.pad(found, (0, _FEW - len(found)), mode="edge")

    def decode(self, scores: Sequence[Float32Array]) -> list[IntpArray]:
        """Return label indices per document from log probabilities of shape (tokens, labels)."""
        return self._decode(scores)[0]

    def decode_parts(
        self, scores: Sequence[Float32Array], final: Sequence[bool]
    ) -> list[tuple[IntpArray, int]]:
        """Like ``decode``; also return how many labels of each part are final whatever follows: all
        if the document is ``final``. The last token of an unfinished part may be incomplete, so its
        scores are ignored."""
        paths, redone = self._decode(scores)
        return [
            (path, len(path) if final[i] else self._final_count(scores[i][:-1], path, i in redone))
            for i, path in enumerate(paths)
        ]

    def _decode(self, scores: Sequence[Float32Array]) -> tuple[list[IntpArray], set[int]]:
        """Return label indices per document, and the documents decoded a second time."""
        paths = [document.argmax(axis=1) for document in scores]
        if not self._labels.constrained:
            return paths, set()
        wrong = [
            piece
            for index, path in enumerate(paths)
            for piece in self._pieces(index, path)
            if not self._legal(path[piece.start : piece.end], piece, len(path))
        ]
        self._solve(wrong, scores, paths)
        whole = [
            piece
            for index in sorted({piece.document for piece in wrong})
            if not self._legal(
                paths[index], piece := _Piece(index, 0, len(paths[index])), len(paths[index])
            )
        ]
        self._solve(whole, scores, paths)
        return paths, {piece.document for piece in whole}

    def _final_count(self, scores: Float32Array, path: IntpArray, redone: bool) -> int:
        """Return how many leading labels no token after ``scores`` can change; write those labels
        into ``path``."""
        if not self._labels.constrained or not len(scores):
            return len(scores)
        cuts = [piece.start for piece in self._pieces(0, scores.argmax(axis=1))]
        for start in [0] if redone else reversed(cuts):
            ways = self._ways(scores[start:], start == 0)
            # The labels before a cut are optimal if they may precede every one of these paths.
            if start == 0 or self._labels.allowed[path[start - 1], ways[0]].all():
                differ = (ways != ways[:, :1]).any(axis=1)
                same = int(differ.argmax()) if differ.any() else len(ways)
                path[start : start + same] = ways[:same, 0]
                return start + same
        return 0

    def _ways(self, scores: Float32Array, opening: bool) -> IntpArray:
        """Return the best path for every set of labels that may follow; shape (tokens, sets)."""
        sets = int(self._futures.max()) + 1
        table = np.repeat(scores[:, None], sets, axis=1)
        if opening:
            table[0, :, ~self._labels.first] += _NEVER
        table[-1, self._futures != np.arange(sets)[:, None]] += _NEVER
        return self._recursion(table, np.full(sets, len(scores)))

    def _pieces(self, document: int, path: IntpArray) -> list[_Piece]:
        outside = self._labels.kind[path] < 0
        cuts = [0]
        for at in np.flatnonzero(outside[1:] & outside[:-1]) + 1:
            if at - cuts[-1] >= _SHORTEST:
                cuts.append(int(at))
        ends = [*cuts[1:], len(path)]
        return [_Piece(document, start, end) for start, end in zip(cuts, ends, strict=True)]

    def _legal(self, path: IntpArray, piece: _Piece, length: int) -> bool:
        table = self._labels
        return len(path) == 0 or bool(
            (piece.start > 0 or table.first[path[0]])
            and (piece.end < length or table.last[path[-1]])
            and table.allowed[path[:-1], path[1:]].all()
        )

    def _solve(
        self, pieces: Sequence[_Piece], scores: Sequence[Float32Array], paths: Sequence[IntpArray]
    ) -> None:
        """Write the best allowed labels of the pieces into the paths."""
        for batch in pack([piece.end - piece.start for piece in pieces], _TABLE):
            rows = [pieces[index] for index in batch]
            lengths = np.array([piece.end - piece.start for piece in rows])
            size = scores[0].shape[1]
            table = np.zeros((lengths[0], len(rows), size), np.float32)
            for row, piece in enumerate(rows):
                table[: lengths[row], row] = scores[piece.document][piece.start : piece.end]
                if piece.start == 0:
                    table[0, row, ~self._labels.first] += _NEVER
                if piece.end == len(paths[piece.document]):
                    table[lengths[row] - 1, row, ~self._labels.last] += _NEVER
            best = self._recursion(table, lengths)
            for row, piece in enumerate(rows):
                paths[piece.document][piece.start : piece.end] = best[: lengths[row], row]

    def _recursion(self, table: Float32Array, lengths: IntpArray) -> IntpArray:
        """Return the best labels, shape (tokens, rows), for scores of shape (tokens, rows, labels).

        Rows are in order of decreasing length; values beyond a row's length are meaningless.
        """
        steps, alive, _ = table.shape
        best = table[0].copy()
        before = np.zeros(table.shape, np.uint16)
        for step in range(1, steps):
            while lengths[alive - 1] <= step:
                alive -= 1
            now = best[:alive]
            most = np.full((alive, self._open.shape[1]), _NEVER, np.float32)
            came = np.zeros((alive, self._open.shape[1]), np.intp)
            for group in self._wide:
                masked = now + self._open[:, group]
                came[:, group] = masked.argmax(axis=1)
                most[:, group] = masked.max(axis=1)
            near = now[:, self._few]
            pick = near.argmax(axis=2)
            came[:, self._narrow] = self._few[np.arange(len(self._few)), pick]
            most[:, self._narrow] = near.max(axis=2)
            before[step, :alive] = came[:, self._group]
            best[:alive] = most[:, self._group] + table[step, :alive]
        at = best.argmax(axis=1)
        paths = np.zeros(table.shape[:2], np.intp)
        rows = np.arange(len(lengths))
        for step in range(steps - 1, -1, -1):
            paths[step] = at
            at = np.where(lengths > step, before[step, rows, at], at)
        return paths
