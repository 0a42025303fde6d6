"""Inputs of the vision benchmark: qwen2vl models with a qwen2.5vl encoder, of noise from a seed,
with Qwen2's own vocabulary, and pages of made-up print. They cost what trained ones cost."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from PIL import Image, ImageDraw

from benchmarks.gguf_work import copy_vocabulary

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Size:
    """Widths and depths of the language model and of the encoder."""

    width: int
    layers: int
    heads: int
    feed: int
    inside: int
    depth: int
    inside_heads: int
    inside_feed: int


SIZES = {
    "tiny": Size(128, 4, 4, 256, 64, 2, 2, 128),
    "mid": Size(512, 20, 8, 2048, 384, 6, 6, 1536),
}


def make_model(path: Path, size: Size, vocabulary: Path) -> Path:
    """Write a qwen2vl language model, Q8_0, unless it is there."""
    if path.exists():
        return path
    draw = np.random.default_rng(0)
    partial = path.with_suffix(".partial")
    writer = gguf.GGUFWriter(partial, "qwen2vl")
    writer.add_name(path.stem)
    writer.add_block_count(size.layers)
    writer.add_context_length(32768)
    writer.add_embedding_length(size.width)
    writer.add_feed_forward_length(size.feed)
    writer.add_head_count(size.heads)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(1e6)
    half = size.width // size.heads // 2
    writer.add_rope_dimension_sections([half // 4, half * 3 // 8, half * 3 // 8, 0])
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(7)
    copy_vocabulary(writer, vocabulary)
    writer.add_chat_template(TEMPLATE)

    def matrix(name: str, out: int, into: int, scale: float = 0.0) -> None:
        values = draw.standard_normal((out, into), dtype=np.float32) * (scale or into**-0.5)
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

    def ones(name: str, width: int) -> None:
        writer.add_tensor(name, np.ones(width, np.float32))

    matrix("token_embd.weight", 151936, size.width, 1.0)
    ones("output_norm.weight", size.width)
    head = size.width // size.heads
    for i in range(size.layers):
        block = f"blk.{i}."
        ones(block + "attn_norm.weight", size.width)
        ones(block + "ffn_norm.weight", size.width)
        for name, count in (("q", size.heads), ("k", 2), ("v", 2)):
            matrix(f"{block}attn_{name}.weight", count * head, size.width)
            bias = draw.standard_normal(count * head, dtype=np.float32) * np.float32(0.1)
            writer.add_tensor(f"{block}attn_{name}.bias", bias)
        matrix(block + "attn_output.weight", size.width, size.width)
        matrix(block + "ffn_gate.weight", size.feed, size.width)
        matrix(block + "ffn_up.weight", size.feed, size.width)
        matrix(block + "ffn_down.weight", size.width, size.feed)
    return _written(writer, partial, path)


def make_encoder(path: Path, size: Size) -> Path:
    """Write a qwen2.5vl encoder in half precision, unless it is there."""
    if path.exists():
        return path
    draw = np.random.default_rng(1)
    partial = path.with_suffix(".partial")
    writer = gguf.GGUFWriter(partial, "clip")
    writer.add_name(path.stem)
    writer.add_file_type(1)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type("qwen2.5vl_merger")
    writer.add_vision_image_size(560)
    writer.add_vision_patch_size(14)
    writer.add_vision_embedding_length(size.inside)
    writer.add_vision_feed_forward_length(size.inside_feed)
    writer.add_vision_projection_dim(size.width)
    writer.add_vision_block_count(size.depth)
    writer.add_vision_head_count(size.inside_heads)
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_image_mean([0.48145466, 0.4578275, 0.40821073])
    writer.add_vision_image_std([0.26862954, 0.26130258, 0.27577711])
    writer.add_vision_use_silu(True)
    writer.add_vision_n_wa_pattern(2)

    def linear(name: str, out: int, into: int) -> None:
        values = draw.standard_normal((out, into)) * into**-0.5
        writer.add_tensor(name + ".weight", values.astype(np.float16))
        writer.add_tensor(name + ".bias", np.zeros(out, np.float32))

    inside, feed = size.inside, size.inside_feed
    for name in ("v.patch_embd.weight", "v.patch_embd.weight.1"):
        patch = draw.standard_normal((inside, 3, 14, 14)) * 0.03
        writer.add_tensor(name, patch.astype(np.float16))
    for i in range(size.depth):
        block = f"v.blk.{i}."
        for norm in ("ln1", "ln2"):
            writer.add_tensor(f"{block}{norm}.weight", np.ones(inside, np.float32))
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            linear(block + part, inside, inside)
        linear(block + "ffn_up", feed, inside)
        linear(block + "ffn_gate", feed, inside)
        linear(block + "ffn_down", inside, feed)
    writer.add_tensor("v.post_ln.weight", np.ones(inside, np.float32))
    linear("mm.0", 4 * inside, 4 * inside)
    linear("mm.2", size.width, 4 * inside)
    return _written(writer, partial, path)


def _written(writer: gguf.GGUFWriter, partial: Path, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return partial.rename(path)


def make_page(number: int, width: int = 448, height: int = 336) -> bytes:
    """A PNG of lines of print, unlike those of other numbers."""
    draw = np.random.default_rng(number)
    page = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(page)
    for line in range(12):
        words = draw.integers(100, 99999, 6)
        pen.text((20, 16 + 26 * line), " ".join(f"mg {word}" for word in words), fill="black")
    out = io.BytesIO()
    page.save(out, "PNG")
    return out.getvalue()
