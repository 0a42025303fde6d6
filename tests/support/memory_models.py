"""Model files of a true architecture and any size, of which only the header is written.

The tensors are a hole in the file: llama.cpp maps them as zeros. So 500M parameters take
a few kilobytes of disk, and their buffers in llama.cpp are those of a real model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from pipelines.capacity.fractions import GpuMemory, resolve_fraction
from pipelines.pool import Pool
from pipelines.stages import PooledConfig, Stage

Kind = gguf.GGMLQuantizationType
ARCHITECTURES = ("qwen2", "qwen2vl", "qwen3", "qwen3vl", "llama", "gemma3")
_QK_NORM = ("qwen3", "qwen3vl", "gemma3")


@dataclass(frozen=True)
class Shape:
    """The sizes of a model. ``window``: tokens that a sliding layer sees (gemma3)."""

    architecture: str
    width: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    feed: int
    vocabulary: int
    kind: Any = Kind.F16
    tied: bool = False
    window: int = 512


def write(path: Path, shape: Shape, spoken: bool = False) -> Path:
    """Write the header of a model of this shape and leave a hole for its weights. ``spoken``: with
    a vocabulary, so that it can tokenise and be asked."""
    writer = gguf.GGUFWriter(path, shape.architecture)
    writer.add_block_count(shape.layers)
    writer.add_context_length(32768)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.feed)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    writer.add_vocab_size(shape.vocabulary)
    if spoken:
        _vocabulary(writer, shape.vocabulary)
    else:
        writer.add_tokenizer_model("no_vocab")
    if shape.architecture.endswith("vl"):
        part = shape.head // 8
        writer.add_rope_dimension_sections([part, part, shape.head // 2 - 2 * part, 0])
    if shape.architecture == "gemma3":
        writer.add_sliding_window(shape.window)
    total = 0
    for name, out, into in tensors(shape):
        kind = shape.kind if out else Kind.F32
        block, size = gguf.GGML_QUANT_SIZES[kind]
        count = (out or 1) * into // block * size
        columns = into // block * size if block > 1 else into  # of quantised rows, their bytes
        dims = (out, columns) if out else (into,)
        dtype = "uint8" if block > 1 else "float16" if kind == Kind.F16 else "float32"
        writer.add_tensor_info(name, dims, np.dtype(dtype), count, raw_dtype=kind)
        total += -(-count // 32) * 32
    return close_with_hole(writer, path, total)


def close_with_hole(writer: Any, path: Path, total: int) -> Path:
    """Write all but the weights, and leave a hole of ``total`` bytes for these."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    start = -(-path.stat().st_size // 32) * 32
    with path.open("r+b") as file:
        file.truncate(start + total)
    return path


def _vocabulary(writer: Any, size: int) -> None:
    """That of ``gguf_models``, and as many tokens that no text has."""
    from support.gguf_models import CHATML, SPECIAL, vocabulary

    tokens, merges = vocabulary()
    tokens = [*tokens, *(f"<|unused {i}|>" for i in range(size - len(tokens)))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    control = [token in SPECIAL or token.startswith("<|unused") for token in tokens]
    writer.add_token_types([3 if one else 1 for one in control])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)


def tensors(shape: Shape) -> Iterator[tuple[str, int, int]]:
    """Name, rows and columns of every tensor; rows 0: a vector."""
    query, key = shape.heads * shape.head, shape.kv_heads * shape.head
    yield "token_embd.weight", shape.vocabulary, shape.width
    yield "output_norm.weight", 0, shape.width
    if not shape.tied:
        yield "output.weight", shape.vocabulary, shape.width
    for layer in range(shape.layers):
        block = f"blk.{layer}."
        yield block + "attn_norm.weight", 0, shape.width
        yield block + "ffn_norm.weight", 0, shape.width
        for name, size in (("q", query), ("k", key), ("v", key)):
            yield f"{block}attn_{name}.weight", size, shape.width
            if shape.architecture.startswith("qwen2"):
                yield f"{block}attn_{name}.bias", 0, size
        if shape.architecture in _QK_NORM:
            yield block + "attn_q_norm.weight", 0, shape.head
            yield block + "attn_k_norm.weight", 0, shape.head
        if shape.architecture == "gemma3":
            yield block + "post_attention_norm.weight", 0, shape.width
            yield block + "post_ffw_norm.weight", 0, shape.width
        yield block + "attn_output.weight", shape.width, query
        yield block + "ffn_gate.weight", shape.feed, shape.width
        yield block + "ffn_up.weight", shape.feed, shape.width
        yield block + "ffn_down.weight", shape.width, shape.feed


def sized_model(pool: Pool, model: PooledConfig, card: GpuMemory) -> tuple[Pool, Any]:
    """The pool and the model of a stage that was sized for a GPU."""
    stage = resolve_fraction(Stage(model.name, model, pool), card)
    return stage.actors, stage.pooled
