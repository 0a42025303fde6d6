"""The image encoder of a vision model (its mmproj file): pixels to language model embeddings.

llama.cpp's mtmd tiles and normalises an image as its architecture requires, and determines the
delimiter tokens. Preparation runs on the CPU, on any thread; encoding runs on the engine's stepping
thread.
"""

from __future__ import annotations

import ctypes
import math
import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp import mtmd_cpp as mtmd
from numpy.typing import NDArray

from actors.config import ConfigError, ImageOptions
from actors.gguf import LlamaModel, llama_library

Embeddings = NDArray[np.float32]
Pixels = NDArray[np.uint8]
"""Height x width x 3, RGB, contiguous."""

_BATCH_FULL = 2


class PictureRefused(ValueError):
    """An image that the encoder cannot take; the message holds numbers only."""


class EncodedImage:
    """A prepared image, or a tile of one: ``tokens`` embeddings at ``positions`` positions.

    ``whole``: its tokens attend to each other, so they are computed in one batch. ``embeddings`` is
    float32 [tokens, width] once encoded; ``release`` drops it.
    """

    def __init__(self, chunk: Any, whole: bool) -> None:
        """Takes ownership of the chunk."""
        self.tokens = int(mtmd.mtmd_input_chunk_get_n_tokens(chunk))
        self.positions = int(mtmd.mtmd_input_chunk_get_n_pos(chunk))
        self.whole = whole
        self.embeddings: Embeddings | None = None
        self._places = mtmd.mtmd_input_chunk_get_tokens_image(chunk)
        self._chunk = chunk
        # The pixels are large: free them with the last reference at the latest.
        self._free = weakref.finalize(self, mtmd.mtmd_input_chunk_free, chunk)

    @property
    def chunk(self) -> Any:
        """mtmd's handle, including the pixels."""
        if not self._free.alive:
            raise RuntimeError("the image was released")
        return self._chunk

    def decoder_positions(self, first: int) -> NDArray[np.int32]:
        """Return the M-RoPE positions of the tokens, starting at ``first``: int32 [4, tokens] in
        the order of llama.cpp's sections: time, row, column, none."""
        places = (mtmd.mtmd_decoder_pos * self.tokens)()
        mtmd.mtmd_helper_image_get_decoder_pos(self._places, first, places)
        table = np.ctypeslib.as_array(places).view(np.uint32).reshape(self.tokens, 4)
        return np.ascontiguousarray(table[:, (0, 2, 1, 3)].T.astype(np.int32))

    def release(self) -> None:
        """Free pixels and embeddings."""
        self.embeddings = None
        self._places = None
        self._free()


PromptPart = tuple[int, ...] | EncodedImage
"""An element of an image's prompt: delimiter tokens, or a tile."""


class Projector:
    """A loaded mmproj file. All methods except ``encode`` and ``close`` are thread-safe."""

    def __init__(
        self, path: Path, model: LlamaModel, options: ImageOptions, threads: int, flash: int
    ) -> None:
        """``flash``: llama.cpp's flash-attention type, as for the language model's context.

        Raises FileNotFoundError, or ConfigError if the file is not an encoder of this model.
        """
        if not path.is_file():
            raise FileNotFoundError(f"mmproj file not found: {path}")
        llama_library.start()
        mtmd.mtmd_helper_log_set(llama_library.capture, ctypes.c_void_p(0))
        llama_library.loading_errors()
        llama_library.buffers()
        params = mtmd.mtmd_context_params_default()
        params.use_gpu = model.on_gpu
        params.print_timings = False
        params.n_threads = threads
        params.flash_attn_type = flash
        params.warmup = model.on_gpu  # on a GPU this detects whether flash attention works
        params.image_min_tokens = options.min_tokens or -1
        params.image_max_tokens = options.max_tokens or -1
        params.batch_max_tokens = options.encode_tokens
        self._context: Any = mtmd.mtmd_init_from_file(str(path).encode(), model.handle, params)
        if not self._context:
            raise ConfigError(
                f"{path.name}: not an encoder for this language model: "
                f"{llama_library.loading_errors()}"
            )
        if not mtmd.mtmd_support_vision(self._context):
            mtmd.mtmd_free(self._context)
            raise ConfigError(f"{path.name}: an audio encoder, not an image encoder")
        place = "GPU" if model.on_gpu else "CPU"
        self.memory_used: Counter[str] = Counter({f"{place} encoder": path.stat().st_size})
        """Bytes of the weights and of the compute buffer. The latter is known at once on a GPU, on
        a CPU after the first image; growth for larger images is not reported."""
        self._record_buffers()
        self.rotary = bool(mtmd.mtmd_decode_use_mrope(self._context))
        """True if positions are three-dimensional (M-RoPE)."""
        self.width = int(llama_cpp.llama_model_n_embd_inp(model.handle))
        """Size of one embedding."""
        self.seconds = 0.0
        """Total time spent encoding."""
        self.encoded = self.rounds = 0
        """Images encoded so far, and the number of encoder runs."""
        self._marker = mtmd.mtmd_default_marker()
        self._waiting: OrderedDict[int, weakref.ref[EncodedImage]] = OrderedDict()
        self._lock = threading.Lock()

    def _record_buffers(self) -> None:
        for buffer in llama_library.buffers():
            self.memory_used[f"{buffer.place} pictures"] += buffer.size

    def count(self, width: int, height: int) -> int:
        """Return the tokens that an image of this size takes, including its delimiters."""
        with self._chunks(width, height, None) as chunks:
            return sum(int(mtmd.mtmd_input_chunk_get_n_tokens(chunk)) for chunk in chunks)

    def fitting(self, width: int, height: int, token_limit: int) -> tuple[int, int] | None:
        """Return the nearest smaller size that takes at most ``token_limit`` tokens.

        None if even a small image takes more, as for encoders with a fixed image size.
        """
        tokens, scale = self.count(width, height), 1.0
        while tokens > token_limit:
            scale *= min(0.98, math.sqrt(token_limit / tokens))
            size = max(1, round(width * scale)), max(1, round(height * scale))
            if max(size) < 8:
                return None
            tokens = self.count(*size)
        return max(1, round(width * scale)), max(1, round(height * scale))

    def prepare(self, pixels: Pixels) -> list[PromptPart]:
        """Return the parts of an image, not encoded yet. Raises PictureRefused."""
        height, width, _ = pixels.shape
        pixels = np.ascontiguousarray(pixels)
        parts: list[PromptPart] = []
        with self._chunks(width, height, pixels) as chunks:
            for chunk in chunks:
                kind = mtmd.mtmd_input_chunk_get_type(chunk)
                if kind == mtmd.MTMD_INPUT_CHUNK_TYPE_TEXT:
                    count = ctypes.c_size_t()
                    tokens = mtmd.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
                    parts.append(tuple(tokens[: count.value]))
                else:
                    whole = bool(mtmd.mtmd_decode_use_non_causal(self._context, chunk))
                    picture = EncodedImage(mtmd.mtmd_input_chunk_copy(chunk), whole)
                    parts.append(picture)
                    with self._lock:
                        self._waiting[id(picture)] = weakref.ref(picture)
        return parts

    @contextmanager
    def _chunks(self, width: int, height: int, pixels: Pixels | None) -> Iterator[list[Any]]:
        """Yield mtmd's chunks of one image; without pixels only their sizes are valid."""
        data = None if pixels is None else pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        bitmap = mtmd.mtmd_bitmap_init(width, height, data)
        chunks = mtmd.mtmd_input_chunks_init()
        try:
            prompt = mtmd.mtmd_input_text(
                text=self._marker,
                text_len=len(self._marker),
                add_special=False,
                parse_special=True,
            )
            bitmaps = (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap)
            code = mtmd.mtmd_tokenize(self._context, chunks, ctypes.byref(prompt), bitmaps, 1)
            if code != 0:
                raise PictureRefused(f"the encoder does not accept {width} x {height} pixels")
            number = int(mtmd.mtmd_input_chunks_size(chunks))
            yield [mtmd.mtmd_input_chunks_get(chunks, i) for i in range(number)]
        finally:
            mtmd.mtmd_input_chunks_free(chunks)
            mtmd.mtmd_bitmap_free(bitmap)

    def encode(self, picture: EncodedImage) -> None:
        """Encode an image, together with waiting ones that fit in the same batch (same size, up to
        ``encode_tokens``, if the encoder supports it). Raises RuntimeError."""
        start = perf_counter()
        batch = mtmd.mtmd_batch_init(self._context)
        try:
            together = [picture]
            if mtmd.mtmd_batch_add_chunk(batch, picture.chunk) != 0:
                raise RuntimeError("mtmd rejects an image for an empty batch")
            for other in self._others(picture):
                code = mtmd.mtmd_batch_add_chunk(batch, other.chunk)
                if code == 0:
                    together.append(other)
                elif code == _BATCH_FULL:
                    break
            code = int(mtmd.mtmd_batch_encode(batch))
            if code != 0:
                raise RuntimeError(f"mtmd_batch_encode returned {code}")
            for one in together:
                first = mtmd.mtmd_batch_get_output_embd(batch, one.chunk)
                table = np.ctypeslib.as_array(first, shape=(one.tokens, self.width))
                one.embeddings = table.copy()
        finally:
            mtmd.mtmd_batch_free(batch)
        with self._lock:
            for one in together:
                self._waiting.pop(id(one), None)
        self.seconds += perf_counter() - start
        self.encoded += len(together)
        self.rounds += 1
        if self.rounds == 1:
            self._record_buffers()

    @property
    def waiting(self) -> int:
        """Number of images that are prepared, not encoded and not cancelled."""
        return len(self._others(None))

    def _others(self, picture: EncodedImage | None) -> Sequence[EncodedImage]:
        """Return the other waiting images, oldest first; drop those that were garbage-collected."""
        with self._lock:
            waiting = [(key, reference()) for key, reference in self._waiting.items()]
            for key, one in waiting:
                if one is None:
                    del self._waiting[key]
        return [one for _, one in waiting if one is not None and one is not picture]

    def close(self) -> None:
        """Release the encoder."""
        if self._context:
            mtmd.mtmd_free(self._context)
            self._context = None
