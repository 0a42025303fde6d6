"""llama.cpp as the engine's Runner for prompts with images.

A llama.cpp batch holds either tokens or embeddings, so a step with images is two batches: the image
parts that are due, from all sequences, and the tokens of the others. With M-RoPE an image takes
fewer positions than tokens, so the positions of a sequence lag behind its tokens from there on.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import llama_cpp
import numpy as np

from actors.config.gguf import GgufContext
from actors.engine import Block, Logits, Media
from actors.gguf import LlamaModel, LlamaRunner
from actors.vision.projector import EncodedImage, Projector


class VisionRunner(LlamaRunner):
    """A context on a model with its image encoder; owns all three. See ``actors.engine.Runner``."""

    def __init__(
        self,
        model: LlamaModel,
        options: GgufContext,
        threads: int,
        projector: Projector,
        rows: int | None = None,
        narrow: bool = True,
    ) -> None:
        """See ``LlamaRunner``."""
        super().__init__(model, options, threads, rows, narrow)
        self.projector = projector
        self._lags = [0] * self.sequences

    def decode(self, blocks: Sequence[Block]) -> Sequence[Logits]:
        """See ``Runner``; images without embeddings are encoded first."""
        tokens: list[Block] = []
        parts: list[tuple[Block, EncodedImage]] = []
        for block in blocks:
            if block.media is None:
                start = block.start + self._lags[block.sequence]
                tokens.append(replace(block, start=start))
            else:
                parts.append((block, _picture(block.media)))
        for _, picture in parts:
            if picture.embeddings is None:
                self.projector.encode(picture)
        for together in self._batches(parts):
            self._decode_parts(together)
        for block, picture in parts:
            if block.offset + len(block.tokens) == picture.tokens:
                self._lags[block.sequence] += picture.positions - picture.tokens
                picture.release()
        return super().decode(tokens) if tokens else ()

    def _batches(
        self, parts: Sequence[tuple[Block, EncodedImage]]
    ) -> list[list[tuple[Block, EncodedImage]]]:
        """Group parts per llama_decode. A part with non-causal attention goes alone."""
        batches: list[list[tuple[Block, EncodedImage]]] = []
        space = 0
        for block, picture in parts:
            size = len(block.tokens)
            if picture.whole or size > space:
                batches.append([])
                space = self.batch
            batches[-1].append((block, picture))
            space = 0 if picture.whole else space - size
        return batches

    def _decode_parts(self, parts: Sequence[tuple[Block, EncodedImage]]) -> None:
        count = sum(len(block.tokens) for block, _ in parts)
        positions = np.zeros((4, count), np.int32)
        ids = np.zeros(count, np.int32)
        rows = []
        at = 0
        for block, picture in parts:
            end, stop = at + len(block.tokens), block.offset + len(block.tokens)
            first = block.start - block.offset + self._lags[block.sequence]
            if self.projector.rotary:
                table = picture.decoder_positions(first)
                positions[:, at:end] = table[:, block.offset : stop]
            else:
                positions[0, at:end] = np.arange(first + block.offset, first + stop)
            ids[at:end] = block.sequence
            assert picture.embeddings is not None  # encoded above
            rows.append(picture.embeddings[block.offset : stop])
            at = end
        causal = not any(picture.whole for _, picture in parts)
        if not causal:
            llama_cpp.llama_set_causal_attn(self._context, False)
        try:
            code = self._decode_embeddings(np.concatenate(rows), positions, ids)
        finally:
            if not causal:
                llama_cpp.llama_set_causal_attn(self._context, True)
        if code != 0:
            raise RuntimeError(f"llama_decode returned {code} for an image")

    def _decode_embeddings(self, rows: Any, positions: Any, ids: Any) -> int:
        count = len(ids)
        rows = np.ascontiguousarray(rows, np.float32)
        counts, output_rows = np.ones(count, np.int32), np.zeros(count, np.int8)
        addresses = (ids.ctypes.data + 4 * np.arange(count)).astype(np.uint64)
        batch = llama_cpp.llama_batch()
        batch.n_tokens = count
        batch.token = None
        batch.embd = ctypes.cast(rows.ctypes.data, ctypes.POINTER(ctypes.c_float))
        batch.pos = ctypes.cast(positions.ctypes.data, ctypes.POINTER(ctypes.c_int32))
        batch.n_seq_id = ctypes.cast(counts.ctypes.data, ctypes.POINTER(ctypes.c_int32))
        batch.seq_id = ctypes.cast(
            addresses.ctypes.data, ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))
        )
        batch.logits = ctypes.cast(output_rows.ctypes.data, ctypes.POINTER(ctypes.c_int8))
        return int(llama_cpp.llama_decode(self._context, batch))

    def trim(self, sequence: int, length: int) -> None:
        """See ``Runner``; ``length`` is past a sequence's images, or before the first."""
        if length:
            length += self._lags[sequence]
        else:
            self._lags[sequence] = 0
        super().trim(sequence, length)

    def close(self) -> None:
        """Release the context, the encoder and the model."""
        if self._context:
            self.projector.close()
        super().close()


def _picture(media: Media) -> EncodedImage:
    if not isinstance(media, EncodedImage):
        raise TypeError("media is not an image")
    return media
