"""One onnxruntime session of a GLiNER model: sequences of words in, scores out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from actors.arrays import Float32Array, Int32Array
from actors.config import OnnxSession
from actors.gliner_folder import GlinerFolder
from actors.model_folder import ModelFileError
from actors.onnx.gliner.halves import cut
from actors.onnx.session import Loaded

_TEXT = {"input_ids", "attention_mask", "words_mask", "text_lengths"}
_SPANS = {"span_idx", "span_mask"}
_LABELS = {"labels_input_ids", "labels_attention_mask"}
_KINDS: dict[str, np.dtype[Any]] = {
    "tensor(int64)": np.dtype(np.int64),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(bool)": np.dtype(np.bool_),
}


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One row of a batch: the tokens, and per token the word that it stands for, from 1 on; 0 for
    all others. ``words``: how many words there are."""

    ids: Int32Array
    marks: Int32Array
    words: int


class GlinerSession:
    """A loaded GLiNER model. ``parallel``: calls of ``run`` at a time that fill its threads."""

    def __init__(
        self,
        folder: GlinerFolder,
        settings: OnnxSession,
        threads: int | None,
        gpu: float | None,
        cpu_fallback: bool = False,
    ) -> None:
        def loaded(part: bytes | None) -> Loaded:
            return Loaded(folder.model, settings, threads, gpu, cpu_fallback, part)

        self._folder = folder
        self._labels: Loaded | None = None
        part, joint = None, dict[str, str]()
        if folder.two_encoders and (halves := cut(folder.model, _LABELS)):
            self._labels = loaded(halves.labels())
            joint = {one.name: str(one.type) for one in self._labels.outputs}
            part = halves.text(joint)
        self._loaded = loaded(part)
        self.provider, self.parallel = self._loaded.provider, self._loaded.parallel
        self._inputs = _inputs(self._loaded, folder, joint)

    def encode_labels(self, feed: Mapping[str, Any]) -> dict[str, Any]:
        """Encode the labels of a ``label_feed`` into the inputs that ``run`` takes for them."""
        if self._labels is None:
            return dict(feed)
        kinds = {one.name: _KINDS[one.type] for one in self._labels.inputs}
        given = {name: feed[name].astype(kind) for name, kind in kinds.items()}
        names = [one.name for one in self._labels.outputs]
        return dict(zip(names, self._labels.run(names, given), strict=True))

    def run(self, rows: Sequence[BatchRow], pad: int, labels: Mapping[str, Any]) -> Float32Array:
        """Logits of shape (rows, words, widths, labels), of a token-level model (rows, words,
        labels, 3). ``labels``: of ``encode_labels``, empty where labels have no encoder."""
        feed: dict[str, Any] = {**_text_feed(rows, pad), **labels}
        if not self._folder.token_level:
            feed |= _span_feed(rows, self._folder.width)
        given = {
            name: feed[name] if kind is None else feed[name].astype(kind, copy=False)
            for name, kind in self._inputs.items()
        }
        (logits,) = self._loaded.run(["logits"], given)
        return np.asarray(logits, np.float32)


def label_feed(
    pieces: Sequence[Int32Array], before: Sequence[int], after: Sequence[int], pad: int
) -> dict[str, Any]:
    """Return the inputs of the label encoder for names, each tokenized into ``pieces``."""
    length = max(len(ids) for ids in pieces) + len(before) + len(after)
    ids = np.full((len(pieces), length), pad, np.int64)
    mask = np.zeros_like(ids)
    for row, one in enumerate(pieces):
        sequence = [*before, *one.tolist(), *after]
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return {"labels_input_ids": ids, "labels_attention_mask": mask}


def _text_feed(rows: Sequence[BatchRow], pad: int) -> dict[str, Any]:
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


def _span_feed(rows: Sequence[BatchRow], width: int) -> dict[str, Any]:
    """Every span of at most ``width`` words of each row, by first and last word."""
    longest = max(row.words for row in rows)
    first = np.repeat(np.arange(longest), width)
    spans = np.stack([first, first + np.tile(np.arange(width), longest)], axis=1)
    counts = np.array([row.words for row in rows])
    mask = spans[None, :, 1] < counts[:, None]
    return {"span_idx": np.where(mask[..., None], spans[None], 0), "span_mask": mask}


def _inputs(
    session: Loaded, folder: GlinerFolder, joint: Mapping[str, str]
) -> dict[str, np.dtype[Any] | None]:
    """The inputs of the graph and their types; None for what comes from the labels' encoder."""
    types = {item.name: item.type for item in session.inputs if item.name not in joint}
    known = _TEXT | (set() if folder.token_level else _SPANS)
    # Inputs that the graph has no use for are left out: some span representations need no spans.
    needed = {"input_ids", "words_mask"}
    if folder.two_encoders and not joint:
        known, needed = known | _LABELS, needed | _LABELS
    if set(types) - known - {"token_type_ids"} or needed - set(types):
        hint = (
            "; a bi-encoder is to be exported with its labels' encoder, not from embeddings"
            if folder.two_encoders
            else ""
        )
        raise ModelFileError(
            f"{folder.model}: its inputs are {', '.join(sorted(types))}; by its "
            f"gliner_config.json they should be among {', '.join(sorted(known))}{hint}"
        )
    if "logits" not in {item.name for item in session.outputs}:
        raise ModelFileError(f"{folder.model}: has no output named logits")
    for name, kind in types.items():
        if kind not in _KINDS:
            raise ModelFileError(
                f"{folder.model}: input {name} is {kind}, not int64, int32 or bool"
            )
    return {**{name: _KINDS[kind] for name, kind in types.items()}, **dict.fromkeys(joint)}
