"""llama.cpp as the engine's Runner: one context, many sequences, one batch of our own memory.

Each sequence has its own room of KV cells (a stream), unless ``kv_tokens`` asks for a common one:
measured on a CPU, a step of 16 sequences costs half in streams without flash attention of what it
costs in a common room with it (benchmarks/results/gguf.json), because a common room is looked
through by every row, and the CPU's flash attention does a short block row by row.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np

from actors.config.gguf import GgufContext
from actors.engine import Block, Logits
from actors.gguf import library
from actors.gguf.model import LlamaModel
from actors.gguf.parameters import apply_parameters

_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "bf16": 30}
_FLASH = {"auto": -1, "off": 0, "on": 1}


class LlamaRunner:
    """A context on a model; owns both and closes both. See ``actors.engine.Runner``."""

    def __init__(
        self, model: LlamaModel, options: GgufContext, threads: int, rows: int | None = None
    ) -> None:
        """Raises ValueError where llama.cpp cannot make the context, such as for lack of memory.

        ``threads``: CPU threads; more than there are cores to itself is ruinous. ``rows``: rows of
        logits that a step may want, and no fewer than sequences; None: one for every token. They
        are most of the compute buffer: 300 MB for 512 rows of 152,000 tokens.
        """
        self.model = model
        self.sequences = options.slots + options.prefixes
        self.batch = options.n_batch
        self.pieces = model.pieces
        self.ends = model.ends
        self._streams = options.kv_tokens is None
        params = _parameters(options, threads, self.sequences, model.on_card)
        params.n_outputs_max = rows or 0
        self._most = min(rows or options.n_batch, options.n_batch)
        library.loading_errors()
        library.buffers()
        self._context: Any = llama_cpp.llama_init_from_model(model.handle, params)
        if not self._context:
            raise ValueError(f"llama.cpp cannot make a context: {library.loading_errors()}")
        self._lay_over(model.adapters)
        self.buffers = model.buffers + library.buffers()
        self._memory = llama_cpp.llama_get_memory(self._context)
        cells = int(llama_cpp.llama_n_ctx(self._context))
        self.capacity = None if self._streams else cells
        self.context = min(options.length, cells)
        self._make_batch(options.n_batch)

    def _lay_over(self, adapters: Sequence[tuple[Any, float]]) -> None:
        if adapters:
            count = len(adapters)
            handles = (llama_cpp.llama_adapter_lora_p_ctypes * count)(*(a for a, _ in adapters))
            scales = (ctypes.c_float * count)(*(scale for _, scale in adapters))
            code = llama_cpp.llama_set_adapters_lora(self._context, handles, count, scales)
            if code != 0:
                raise ValueError(f"llama.cpp cannot use the LoRA adapters: it returned {code}")

    def _make_batch(self, size: int) -> None:
        # llama.cpp reads these arrays during llama_decode; they live as long as the runner.
        self._tokens = np.zeros(size, np.int32)
        self._positions = np.zeros(size, np.int32)
        self._wanted = np.zeros(size, np.int8)
        self._counts = np.ones(size, np.int32)
        self._ids = np.zeros(size, np.int32)
        self._addresses = (self._ids.ctypes.data + 4 * np.arange(size)).astype(np.uint64)
        batch = llama_cpp.llama_batch()
        batch.embd = None
        batch.token = _pointer(self._tokens, ctypes.c_int32)
        batch.pos = _pointer(self._positions, ctypes.c_int32)
        batch.n_seq_id = _pointer(self._counts, ctypes.c_int32)
        batch.seq_id = _pointer(self._addresses, ctypes.POINTER(ctypes.c_int32))
        batch.logits = _pointer(self._wanted, ctypes.c_int8)
        self._batch = batch

    def constraint_tokenizer(self) -> Any:
        """The ``llguidance.LLTokenizer`` of the model."""
        return self.model.constraint_tokenizer()

    def decode(self, blocks: Sequence[Block]) -> Logits:
        """As in ``Runner``. Raises RuntimeError with llama_decode's return value: the scheduler
        reserves room, so even "no room" (1) is a fault and not a state to go on from."""
        at = rows = 0
        for block in blocks:
            end = at + len(block.tokens)
            self._tokens[at:end] = block.tokens
            self._positions[at:end] = np.arange(block.start, block.start + end - at)
            self._ids[at:end] = block.sequence
            self._wanted[at:end] = 0
            if block.rows:
                self._wanted[end - block.rows : end] = 1
            at, rows = end, rows + block.rows
        if rows > self._most:  # llama.cpp would end the process
            raise RuntimeError(
                f"{rows} rows of logits are wanted and {self._most} are provided for"
            )
        self._batch.n_tokens = at
        code = int(llama_cpp.llama_decode(self._context, self._batch))
        if code != 0:
            raise RuntimeError(f"llama_decode returned {code}")
        if rows == 0:
            return np.empty((0, self.model.size), np.float32)
        # Only the wanted rows, in the order of the batch, until the next llama_decode.
        first = llama_cpp.llama_get_logits(self._context)
        return np.ctypeslib.as_array(first, shape=(rows, self.model.size))

    def copy(self, source: int, target: int, length: int) -> None:
        """As in ``Runner``; in the common room only the cells' tags change."""
        end = -1 if self._streams else length  # streams copy all or abort the process
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, 0 if end > 0 else -1, end)
        if self._streams:
            self.trim(target, length)

    def trim(self, sequence: int, length: int) -> None:
        """As in ``Runner``; raises RuntimeError for a model whose state cannot be cut."""
        done = llama_cpp.llama_memory_seq_rm(self._memory, sequence, length or -1, -1)
        if not done:
            raise RuntimeError("this model's state cannot be cut back to a length")

    def close(self) -> None:
        """Release the context and the model."""
        if self._context:
            llama_cpp.llama_free(self._context)
            self._context = None
            self.model.close()


def _parameters(options: GgufContext, threads: int, sequences: int, on_card: bool) -> Any:
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = options.kv_tokens or options.length * sequences
    params.kv_unified = options.kv_tokens is not None
    params.n_seq_max = sequences
    params.n_batch, params.n_ubatch = options.n_batch, min(options.n_ubatch, options.n_batch)
    params.n_threads = params.n_threads_batch = threads
    params.flash_attn_type = flash_attention(options, on_card)
    params.type_k = _TYPES[options.type_k]
    params.type_v = _TYPES[options.type_v]
    params.offload_kqv = options.offload_kqv
    params.swa_full = options.swa_full
    apply_parameters(params, options.llama_cpp)
    params.no_perf = True
    return params


def flash_attention(options: GgufContext, on_card: bool) -> int:
    """llama.cpp's flash attention type for a context with these options."""
    flash = options.flash_attn
    if flash == "auto" and not on_card:  # llama.cpp wants it for a quantised V cache
        flash = "on" if options.type_v.startswith("q") else "off"
    return _FLASH[flash]


def _pointer(array: np.ndarray[Any, Any], kind: Any) -> Any:
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))
