"""Encoders of pictures (mmproj files) of a true architecture and any size, as holes behind a
header: llama.cpp maps their weights as zeros, and reserves the buffers of real ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

from support.memory_models import close_with_hole

KINDS = {
    "qwen2vl": "qwen2vl_merger",
    "qwen25vl": "qwen2.5vl_merger",
    "qwen3vl": "qwen3vl_merger",
    "gemma3": "gemma3",
    "internvl": "internvl",
    "llava": "mlp",
}


@dataclass(frozen=True)
class EncoderShape:
    """The sizes of an encoder. ``out``: width of the language model's embeddings."""

    kind: str
    width: int
    feed: int
    heads: int
    layers: int
    out: int
    patch: int = 14
    side: int = 560
    deep: tuple[int, ...] = ()
    windows: int = 2


def write_encoder(path: Path, shape: EncoderShape) -> Path:
    """Write the header of an encoder of this shape and leave a hole for its weights."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_file_type(0)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type(KINDS[shape.kind])
    writer.add_vision_image_size(shape.side)
    writer.add_vision_patch_size(shape.patch)
    writer.add_vision_embedding_length(shape.width)
    writer.add_vision_feed_forward_length(shape.feed)
    writer.add_vision_projection_dim(shape.out)
    writer.add_vision_block_count(shape.layers)
    writer.add_vision_head_count(shape.heads)
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_image_mean([0.5, 0.5, 0.5])
    writer.add_vision_image_std([0.5, 0.5, 0.5])
    if shape.kind == "qwen25vl":
        writer.add_vision_use_silu(True)
        writer.add_vision_n_wa_pattern(shape.windows)
    else:
        writer.add_vision_use_gelu(True)
    if shape.kind in ("gemma3", "internvl"):
        writer.add_vision_projector_scale_factor(4 if shape.kind == "gemma3" else 2)
    total = 0
    for name, *dims in tensors(shape):
        size = int(np.prod(dims)) * 4
        writer.add_tensor_info(name, dims, np.dtype("float32"), size)
        total += -(-size // 32) * 32
    return close_with_hole(writer, path, total)


def tensors(shape: EncoderShape) -> Iterator[tuple[str, *tuple[int, ...]]]:
    """Name and dimensions, outermost first, of every tensor."""
    width, kind = shape.width, shape.kind
    patches = (shape.side // shape.patch) ** 2
    qwen = kind.startswith("qwen")
    yield "v.patch_embd.weight", width, 3, shape.patch, shape.patch
    if qwen:
        yield "v.patch_embd.weight.1", width, 3, shape.patch, shape.patch
    if not qwen or kind == "qwen3vl":
        yield "v.patch_embd.bias", width
        with_class = kind in ("llava", "internvl")
        yield "v.position_embd.weight", patches + with_class, width
        if with_class:
            yield "v.class_embd", width
    if kind == "llava":
        yield from _norm("v.pre_ln", width)
    for layer in range(shape.layers):
        yield from _block(f"v.blk.{layer}.", shape)
    for layer in shape.deep:
        yield from _norm(f"v.deepstack.{layer}.norm", 4 * width)
        yield from _linear(f"v.deepstack.{layer}.fc1", 4 * width, 4 * width)
        yield from _linear(f"v.deepstack.{layer}.fc2", shape.out, 4 * width)
    if kind != "llava":
        yield from _norm("v.post_ln", width, bias=kind != "qwen25vl")
    if qwen:
        yield from _linear("mm.0", 4 * width, 4 * width)
        yield from _linear("mm.2", shape.out, 4 * width)
    elif kind == "llava":
        yield from _linear("mm.0", shape.out, width)
        yield from _linear("mm.2", shape.out, shape.out)
    elif kind == "internvl":
        yield from _norm("mm.model.mlp.0", 4 * width)
        yield from _linear("mm.model.mlp.1", shape.out, 4 * width)
        yield from _linear("mm.model.mlp.3", shape.out, shape.out)
    else:
        yield "mm.input_projection.weight", width, shape.out
        yield "mm.soft_emb_norm.weight", width


def _block(name: str, shape: EncoderShape) -> Iterator[tuple[str, *tuple[int, ...]]]:
    width = shape.width
    for norm in ("ln1", "ln2"):
        yield from _norm(name + norm, width, bias=shape.kind != "qwen25vl")
    if shape.kind == "qwen3vl":
        yield from _linear(name + "attn_qkv", 3 * width, width)
    else:
        for part in ("attn_q", "attn_k", "attn_v"):
            yield from _linear(name + part, width, width)
    yield from _linear(name + "attn_out", width, width)
    yield from _linear(name + "ffn_up", shape.feed, width)
    yield from _linear(name + "ffn_down", width, shape.feed)
    if shape.kind == "qwen25vl":
        yield from _linear(name + "ffn_gate", shape.feed, width)
    if shape.kind == "internvl":
        yield name + "ls1.weight", width
        yield name + "ls2.weight", width


def _linear(name: str, out: int, into: int) -> Iterator[tuple[str, *tuple[int, ...]]]:
    yield name + ".weight", out, into
    yield name + ".bias", out


def _norm(name: str, size: int, bias: bool = True) -> Iterator[tuple[str, *tuple[int, ...]]]:
    yield name + ".weight", size
    if bias:
        yield name + ".bias", size
