"""Tiny vision models made on the spot: a language model of ``gguf_models`` and an encoder (mmproj)
with the true tensor names of its architecture and random weights. And pictures to show them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from PIL import Image

from support.gguf_models import WIDTH, make

SPECIAL = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
KINDS = {
    "qwen2vl": ("qwen2vl", "qwen2vl_merger"),
    "qwen25vl": ("qwen2vl", "qwen2.5vl_merger"),
    "llava": ("llama", "mlp"),
    "gemma3": ("gemma3", "gemma3"),
    "internvl": ("qwen2", "internvl"),
}
"""By name: the architecture of the language model, and the projector."""
PARTS = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML for contents of text and of parts, as vision models have it."""
SIDE, PATCH, INSIDE, HEADS, FEED, LAYERS = 112, 14, 32, 2, 64, 2


@dataclass(frozen=True)
class VisionFiles:
    model: Path
    mmproj: Path


def make_vision(folder: Path, kind: str, seed: int = 0) -> VisionFiles:
    """Write both files of a vision model to ``folder``."""
    architecture, projector = KINDS[kind]
    model = make(folder / f"{kind}.gguf", architecture, seed=seed, special=SPECIAL, template=PARTS)
    return VisionFiles(model, _mmproj(folder / f"{kind}-mmproj.gguf", projector, seed + 1))


def _mmproj(path: Path, projector: str, seed: int) -> Path:
    writer = gguf.GGUFWriter(path, "clip")
    _settings(writer, projector)
    _Encoder(writer, np.random.default_rng(seed)).write(projector)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _settings(writer: gguf.GGUFWriter, projector: str) -> None:
    writer.add_name("tiny-encoder")
    writer.add_file_type(0)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type(projector)
    writer.add_vision_image_size(SIDE)
    writer.add_vision_patch_size(PATCH)
    writer.add_vision_embedding_length(INSIDE)
    writer.add_vision_feed_forward_length(FEED)
    writer.add_vision_projection_dim(WIDTH)
    writer.add_vision_block_count(LAYERS)
    writer.add_vision_head_count(HEADS)
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_image_mean([0.48145466, 0.4578275, 0.40821073])
    writer.add_vision_image_std([0.26862954, 0.26130258, 0.27577711])
    if projector == "qwen2.5vl_merger":
        writer.add_vision_use_silu(True)
        writer.add_vision_n_wa_pattern(2)
    else:
        writer.add_vision_use_gelu(True)
    if projector in ("gemma3", "internvl"):
        writer.add_vision_projector_scale_factor(2)


class _Encoder:
    """The tensors of an encoder. Norms without a bias where the architecture has none."""

    def __init__(self, writer: gguf.GGUFWriter, draw: np.random.Generator) -> None:
        self._writer, self._draw = writer, draw

    def write(self, projector: str) -> None:
        patches = (SIDE // PATCH) ** 2
        self._random("v.patch_embd.weight", INSIDE, 3, PATCH, PATCH)
        if projector.startswith("qwen"):
            self._random("v.patch_embd.weight.1", INSIDE, 3, PATCH, PATCH)
        else:
            self._flat("v.patch_embd.bias", INSIDE, 0.0)
            with_class = projector in ("mlp", "internvl")
            self._random("v.position_embd.weight", patches + with_class, INSIDE)
            if with_class:
                self._random("v.class_embd", INSIDE)
        if projector == "mlp":
            self._norm("v.pre_ln", INSIDE)
        for i in range(LAYERS):
            self._block(f"v.blk.{i}.", projector)
        if projector != "mlp":
            self._norm("v.post_ln", INSIDE, bias=projector != "qwen2.5vl_merger")
        self._projector(projector)

    def _block(self, name: str, projector: str) -> None:
        rms = projector == "qwen2.5vl_merger"
        for norm in ("ln1", "ln2"):
            self._norm(name + norm, INSIDE, bias=not rms)
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            self._linear(name + part, INSIDE, INSIDE)
        self._linear(name + "ffn_up", FEED, INSIDE)
        self._linear(name + "ffn_down", INSIDE, FEED)
        if rms:
            self._linear(name + "ffn_gate", FEED, INSIDE)
        if projector == "internvl":
            self._flat(name + "ls1.weight", INSIDE, 1.0)
            self._flat(name + "ls2.weight", INSIDE, 1.0)

    def _projector(self, projector: str) -> None:
        if projector.startswith("qwen"):
            self._linear("mm.0", 4 * INSIDE, 4 * INSIDE)
            self._linear("mm.2", WIDTH, 4 * INSIDE)
        elif projector == "mlp":
            self._linear("mm.0", WIDTH, INSIDE)
            self._linear("mm.2", WIDTH, WIDTH)
        elif projector == "internvl":
            self._norm("mm.model.mlp.0", 4 * INSIDE)
            self._linear("mm.model.mlp.1", WIDTH, 4 * INSIDE)
            self._linear("mm.model.mlp.3", WIDTH, WIDTH)
        else:
            self._random("mm.input_projection.weight", INSIDE, WIDTH)
            self._flat("mm.soft_emb_norm.weight", INSIDE, 1.0)

    def _linear(self, name: str, out: int, into: int) -> None:
        self._random(name + ".weight", out, into)
        self._flat(name + ".bias", out, 0.0)

    def _norm(self, name: str, size: int, bias: bool = True) -> None:
        self._flat(name + ".weight", size, 1.0)
        if bias:
            self._flat(name + ".bias", size, 0.0)

    def _random(self, name: str, *shape: int) -> None:
        into = int(np.prod(shape[1:])) or 1
        values = self._draw.standard_normal(shape) * into**-0.5
        self._writer.add_tensor(name, values.astype(np.float32))

    def _flat(self, name: str, size: int, value: float) -> None:
        self._writer.add_tensor(name, np.full(size, value, np.float32))


def picture(seed: int, width: int = SIDE, height: int = SIDE, form: str = "PNG") -> bytes:
    """A picture of coloured rectangles, unlike those of other seeds."""
    draw = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 255, np.uint8)
    for _ in range(12):
        x, y = draw.integers(0, width), draw.integers(0, height)
        right, low = x + draw.integers(1, width + 1), y + draw.integers(1, height + 1)
        pixels[y:low, x:right] = draw.integers(0, 256, 3)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form)
    return out.getvalue()
