"""llama.cpp as the engine's Runner: one context, many sequences, one batch in our own memory.

Each sequence has its own KV cache (a stream), unless ``kv_tokens`` requests a unified one, in which
every row attends over the cells of all sequences.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import llama_cpp
import numpy as np

from actors.config.gguf import GgufContext
from actors.engine import Block, Logits
from actors.gguf import llama_library
from actors.gguf.hidden_states import HiddenStates, computed_order
from actors.gguf.model import LlamaModel
from actors.gguf.output_head import OutputHead
from actors.gguf.parameters import apply_parameters

_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "bf16": 30}
_FLASH = {"auto": -1, "off": 0, "on": 1}
_MOST_WANTED = 2000
"""Tokens of one row. So many take 0.4 ms with 512 dimensions; 8,000 take 4 ms, which is more than
a row's share of llama.cpp's product with the whole matrix."""
_CHECKED, _TOLERANCE = 256, 0.02


class LlamaRunner:
    """A context on a model; owns and closes both. See ``actors.engine.Runner``."""

    def __init__(
        self,
        model: LlamaModel,
        options: GgufContext,
        threads: int,
        rows: int | None = None,
        narrow: bool = True,
    ) -> None:
        """Raises ValueError if llama.cpp cannot create the context, e.g. for lack of memory.

        ``threads``: CPU threads; oversubscribing cores is ruinous. ``rows``: maximum rows of logits
        per step, at least one per sequence; None: one per token. They dominate the compute buffer:
        300 MB for 512 rows of 152,000 tokens. ``narrow``: compute only the wanted logits where a
        block says which; without such blocks that costs each step a millisecond for nothing.
        """
        self.model = model
        self.sequences = options.slots + options.prefixes
        self.batch = options.n_batch
        self.pieces = model.pieces
        self.ends = model.ends
        self._streams = options.kv_tokens is None
        params = _parameters(options, threads, self.sequences, model.on_gpu)
        params.n_outputs_max = rows or 0
        self._max_rows = min(rows or options.n_batch, options.n_batch)
        self._states = HiddenStates()
        narrow = narrow and not model.on_gpu  # on a GPU the whole product is cheap
        if narrow:
            params.cb_eval = ctypes.cast(self._states.callback, type(params.cb_eval))
        llama_library.loading_errors()
        llama_library.buffers()
        self._context: Any = llama_cpp.llama_init_from_model(model.handle, params)
        if not self._context:
            raise ValueError(
                f"llama.cpp cannot create the context: {llama_library.loading_errors()}"
            )
        self._apply_adapters(model.adapters)
        self.buffers = model.buffers + llama_library.buffers()
        self._memory = llama_cpp.llama_get_memory(self._context)
        cells = int(llama_cpp.llama_n_ctx(self._context))
        self.capacity = None if self._streams else cells
        self.context = min(options.length, cells)
        self._computed_together = int(params.n_ubatch)
        self._make_batch(options.n_batch)
        # In a thread that ends: OpenMP keeps threads for every thread that has computed, and those
        # left behind make the engine's own sleep at every operator (decision 053).
        with ThreadPoolExecutor(1) as thread:
            self._head = thread.submit(self._checked_head).result() if narrow else None

    def _apply_adapters(self, adapters: Sequence[tuple[Any, float]]) -> None:
        if adapters:
            count = len(adapters)
            handles = (llama_cpp.llama_adapter_lora_p_ctypes * count)(*(a for a, _ in adapters))
            scales = (ctypes.c_float * count)(*(scale for _, scale in adapters))
            code = llama_cpp.llama_set_adapters_lora(self._context, handles, count, scales)
            if code != 0:
                raise ValueError(f"llama.cpp cannot apply the LoRA adapters: error {code}")

    def _make_batch(self, size: int) -> None:
        # llama.cpp reads these arrays during llama_decode; they live as long as the runner.
        self._tokens = np.zeros(size, np.int32)
        self._positions = np.zeros(size, np.int32)
        self._output_rows = np.zeros(size, np.int8)
        self._counts = np.ones(size, np.int32)
        self._ids = np.zeros(size, np.int32)
        self._addresses = (self._ids.ctypes.data + 4 * np.arange(size)).astype(np.uint64)
        batch = llama_cpp.llama_batch()
        batch.embd = None
        batch.token = _pointer(self._tokens, ctypes.c_int32)
        batch.pos = _pointer(self._positions, ctypes.c_int32)
        batch.n_seq_id = _pointer(self._counts, ctypes.c_int32)
        batch.seq_id = _pointer(self._addresses, ctypes.POINTER(ctypes.c_int32))
        batch.logits = _pointer(self._output_rows, ctypes.c_int8)
        self._batch = batch

    def constraint_tokenizer(self) -> Any:
        """Return the ``llguidance.LLTokenizer`` of the model."""
        return self.model.constraint_tokenizer()

    def _checked_head(self) -> OutputHead | None:
        """Return the output matrix if the logits of one token are nothing but its product with the
        state; None for models that do more, or whose batches are divided in other ways."""
        model = self.model
        divided = (llama_cpp.llama_model_is_recurrent, llama_cpp.llama_model_is_hybrid)
        if any(one(model.handle) for one in divided):
            return None
        width = int(llama_cpp.llama_model_n_embd(model.handle))
        try:
            head = OutputHead(model.path, width, model.size)
        except ValueError:
            return None
        self._states.start(stop=False)
        (logits,) = self._decode([Block(0, 0, [model.size // 2], 1)])
        states = self._states.take(width)
        llama_cpp.llama_memory_seq_rm(self._memory, 0, -1, -1)
        ids = np.linspace(0, model.size - 1, min(_CHECKED, head.most)).astype(np.int64)
        if len(states) == 1:
            error = np.abs(head.logits(states[0], ids) - logits[ids]).mean()
            if error <= _TOLERANCE * logits[ids].std():
                return head
        head.close()
        return None

    def decode(self, blocks: Sequence[Block]) -> Sequence[Logits]:
        """See ``Runner``. Raises RuntimeError with llama_decode's return value: the scheduler
        reserves KV space, so even "no KV slot" (1) is a bug and not recoverable."""
        wanted = [block.wanted for block in blocks for _ in range(block.rows)]
        head = self._head
        narrow = [
            head is not None and ids is not None and len(ids) <= min(head.most, _MOST_WANTED)
            for ids in wanted
        ]
        if head is None or not any(narrow):
            rows = self._decode(blocks)
            return [row if ids is None else row[ids] for row, ids in zip(rows, wanted, strict=True)]
        self._states.start(stop=all(narrow))
        rows = self._decode(blocks)
        states = self._states.take(head.width)
        order = computed_order(blocks, self._computed_together, self._streams)
        if len(states) != len(order):
            raise RuntimeError(f"llama.cpp computed {len(states)} states of {len(order)}")
        found: list[Logits] = list(rows)
        for state, place in zip(states, order, strict=True):
            ids = wanted[place]
            if ids is not None:
                found[place] = head.logits(state, ids) if narrow[place] else rows[place][ids]
        return found

    def _decode(self, blocks: Sequence[Block]) -> Logits:
        """Return all logits of the requested rows, float32 [rows, vocabulary]."""
        at = rows = 0
        for block in blocks:
            end = at + len(block.tokens)
            self._tokens[at:end] = block.tokens
            self._positions[at:end] = np.arange(block.start, block.start + end - at)
            self._ids[at:end] = block.sequence
            self._output_rows[at:end] = 0
            if block.rows:
                self._output_rows[end - block.rows : end] = 1
            at, rows = end, rows + block.rows
        if rows > self._max_rows:  # llama.cpp would abort the process
            raise RuntimeError(
                f"{rows} rows of logits requested, but the buffer holds {self._max_rows}"
            )
        self._batch.n_tokens = at
        code = int(llama_cpp.llama_decode(self._context, self._batch))
        if code != 0:
            raise RuntimeError(f"llama_decode returned {code}")
        if rows == 0:
            return np.empty((0, self.model.size), np.float32)
        # Only the requested rows, in batch order, valid until the next llama_decode.
        first = llama_cpp.llama_get_logits(self._context)
        return np.ctypeslib.as_array(first, shape=(rows, self.model.size))

    def copy(self, source: int, target: int, length: int) -> None:
        """See ``Runner``; in a unified cache only the cells' tags change."""
        end = -1 if self._streams else length  # streams must copy everything, or llama.cpp aborts
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, 0 if end > 0 else -1, end)
        if self._streams:
            self.trim(target, length)

    def trim(self, sequence: int, length: int) -> None:
        """See ``Runner``; raises RuntimeError for a model whose state cannot be truncated."""
        done = llama_cpp.llama_memory_seq_rm(self._memory, sequence, length or -1, -1)
        if not done:
            raise RuntimeError("this model's state cannot be truncated")

    def close(self) -> None:
        """Release the context and the model."""
        if self._context:
            llama_cpp.llama_free(self._context)
            self._context = None
            self.model.close()
            if self._head is not None:
                self._head.close()


def _parameters(options: GgufContext, threads: int, sequences: int, on_gpu: bool) -> Any:
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = options.kv_tokens or options.length * sequences
    params.kv_unified = options.kv_tokens is not None
    params.n_seq_max = sequences
    params.n_batch, params.n_ubatch = options.n_batch, min(options.n_ubatch, options.n_batch)
    params.n_threads = params.n_threads_batch = threads
    # With AVX-512 a step of 16 rows takes 0.78 of the time, without it 1.05 (decision 155).
    wide = b"AVX512 = 1" in llama_cpp.llama_print_system_info()
    params.flash_attn_type = flash_attention(options, on_gpu or wide)
    params.type_k = _TYPES[options.type_k]
    params.type_v = _TYPES[options.type_v]
    params.offload_kqv = options.offload_kqv
    params.swa_full = options.swa_full
    apply_parameters(params, options.llama_cpp)
    params.no_perf = True
    return params


def flash_attention(options: GgufContext, fast: bool) -> int:
    """Return llama.cpp's flash-attention type for these options; ``fast``: it is faster here."""
    flash = options.flash_attn
    if flash == "auto" and not fast:  # llama.cpp requires it for a quantised V cache
        flash = "on" if options.type_v.startswith("q") else "off"
    return _FLASH[flash]


def _pointer(array: np.ndarray[Any, Any], kind: Any) -> Any:
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))
