"""One onnxruntime session of a GLiNER model: sequences of words in, scores out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from actors.config import OnnxSession
from actors.gliner_folder import GlinerFolder
from actors.model_folder import ModelFileError
from actors.onnx.session import load

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

_TEXT = {"input_ids", "attention_mask", "words_mask", "text_lengths"}
_SPANS = {"span_idx", "span_mask"}
_LABELS = {"labels_input_ids", "labels_attention_mask"}
_KINDS: dict[str, np.dtype[Any]] = {
    "tensor(int64)": np.dtype(np.int64),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(bool)": np.dtype(np.bool_),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch: the tokens, and per token the word that it stands for, from 1 on; 0 for
    all others. ``words``: how many words there are."""

    ids: Ints
    marks: Ints
    words: int


class GlinerSession:
    """A loaded GLiNER model. ``parallel``: calls of ``run`` at a time that fill its threads."""

    def __init__(
        self, folder: GlinerFolder, settings: OnnxSession, threads: int | None, gpu: float | None
    ) -> None:
        loaded = load(folder.model, settings, threads, gpu)
        self.provider, self.parallel = loaded.provider, loaded.parallel
        self._session = loaded.session
        self._folder = folder
        self._inputs = _inputs(self._session, folder)

    def run(self, rows: Sequence[Row], pad: int, labels: Mapping[str, Any]) -> Floats:
        """Logits of shape (rows, words, widths, labels), of a token-level model (rows, words,
        labels, 3). ``labels``: what the labels' encoder reads, empty without one."""
        feed: dict[str, Any] = {**_text_feed(rows, pad), **labels}
        if not self._folder.token_level:
            feed |= _span_feed(rows, self._folder.width)
        given = {name: feed[name].astype(kind, copy=False) for name, kind in self._inputs.items()}
        (logits,) = self._session.run(["logits"], given)
        return np.asarray(logits, np.float32)


def label_feed(
    pieces: Sequence[Ints], before: Sequence[int], after: Sequence[int], pad: int
) -> dict[str, Any]:
    """What the labels' encoder reads of names, each in pieces."""
    length = max(len(ids) for ids in pieces) + len(before) + len(after)
    ids = np.full((len(pieces), length), pad, np.int64)
    mask = np.zeros_like(ids)
    for row, one in enumerate(pieces):
        sequence = [*before, *one.tolist(), *after]
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return {"labels_input_ids": ids, "labels_attention_mask": mask}


def _text_feed(rows: Sequence[Row], pad: int) -> dict[str, Any]:
    shape = len(rows), max(len(row.ids) for row in rows)
    ids, mask = np.full(shape, pad, np.int64), np.zeros(shape, np.int64)
    marks = np.zeros(shape, np.int64)
    for at, row in enumerate(rows):
        ids[at, : len(row.ids)] = row.ids
        mask[at, : len(row.ids)] = 1
        marks[at, : len(row.ids)] = row.marks
    lengths = np.array([[row.words] for row in rows], np.int64)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "words_mask": marks,
        "text_lengths": lengths,
        "token_type_ids": np.zeros_like(ids),
    }


def _span_feed(rows: Sequence[Row], width: int) -> dict[str, Any]:
    """Every span of at most ``width`` words of each row, by first and last word."""
    longest = max(row.words for row in rows)
    first = np.repeat(np.arange(longest), width)
    spans = np.stack([first, first + np.tile(np.arange(width), longest)], axis=1)
    counts = np.array([row.words for row in rows])
    mask = spans[None, :, 1] < counts[:, None]
    return {"span_idx": np.where(mask[..., None], spans[None], 0), "span_mask": mask}


def _inputs(session: Any, folder: GlinerFolder) -> dict[str, np.dtype[Any]]:
    """The inputs of the graph and their types."""
    file: Path = folder.model
    types = {item.name: item.type for item in session.get_inputs()}
    known = _TEXT | (set() if folder.token_level else _SPANS)
    # Inputs that the graph has no use for are left out: some span representations need no spans.
    needed = {"input_ids", "words_mask"}
    if folder.two_encoders:
        known, needed = known | _LABELS, needed | _LABELS
    if set(types) - known - {"token_type_ids"} or needed - set(types):
        hint = (
            "; a bi-encoder is to be exported with its labels' encoder, not from embeddings"
            if folder.two_encoders
            else ""
        )
        raise ModelFileError(
            f"{file}: its inputs are {', '.join(sorted(types))}; by its gliner_config.json they "
            f"should be among {', '.join(sorted(known))}{hint}"
        )
    if "logits" not in {item.name for item in session.get_outputs()}:
        raise ModelFileError(f"{file}: has no output named logits")
    for name, kind in types.items():
        if kind not in _KINDS:
            raise ModelFileError(f"{file}: input {name} is {kind}, not int64, int32 or bool")
    return {name: _KINDS[kind] for name, kind in types.items()}
