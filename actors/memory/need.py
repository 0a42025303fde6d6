"""Total GPU memory estimate of a model, by purpose."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from actors.config import ConfigError, GgufModel, OnnxModel
from actors.memory.header import Header, read_header
from actors.memory.llama import llama_take
from actors.memory.pictures import encoder_take, largest_picture
from actors.memory.shape import shape_of
from actors.model_folder import longest

CUDA_CONTEXT = 500 * 2**20
"""Bytes that a process uses on a GPU before it loads a model: context, kernels, library handles. An
assumption at the upper end of observed drivers; benchmarks/gpu_checks.py measures it."""

Opened = Callable[[str], AbstractContextManager[BinaryIO]]
_FLOAT = 4


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes on the GPU by purpose, and on the host. ``exact`` is False if the model's graph is
    unknown and its compute memory is estimated from a similar one."""

    parts: Mapping[str, int]
    host: int
    exact: bool

    @property
    def device(self) -> int:
        """Bytes on the GPU."""
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class GgufFile:
    """Headers of a language model and its image encoder, and the sizes of other files loaded with
    it."""

    header: Header
    further: Mapping[str, int] = field(default_factory=dict)
    encoder: Header | None = None


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """Size of a token classifier's file, and the dimensions in its config.json; ``longest`` is the
    maximum sequence length in tokens."""

    size: int
    width: int
    feed: int
    heads: int
    longest: int


def gguf_need(file: GgufFile, model: GgufModel) -> Need:
    """Estimate the memory of a GGUF model with the options of its file."""
    header = file.header
    take, shape = llama_take(header, model.context, gpu=True), shape_of(header, model.context, True)
    parts = {
        "weights": take.weights_device,
        "KV cache": take.kv_device,
        "compute": take.compute_device,
        # ggml-cuda's pool: a ubatch in half precision before the widest matrix product.
        "scratch": 2 * shape.tokens * max(shape.width, shape.feed),
        **file.further,
    }
    host, exact = take.host, take.exact
    if file.encoder is not None:
        flash = model.context.flash_attn != "off"
        together = model.images.encode_tokens if model.images is not None else 1
        seen = encoder_take(file.encoder, largest_picture(model), flash, together)
        parts |= {"encoder": seen.weights, "pictures": seen.compute}
        # Encoded images wait in main memory for their batch.
        host, exact = host + seen.embeddings * model.context.slots, exact and seen.exact
    return Need(parts | {"CUDA context": CUDA_CONTEXT}, host, exact)


def read_gguf(open_file: Opened, model: GgufModel) -> GgufFile:
    """Read the headers of a model's files; ``open_file`` opens a file at any location."""
    weights, further = model.weights, dict[str, int]()
    with open_file(weights.model) as file:
        header = read_header(file, weights.model)
    encoder = None
    if weights.mmproj is not None:
        with open_file(weights.mmproj) as file:
            encoder = read_header(file, weights.mmproj)
    for number, adapter in enumerate(weights.lora, start=1):
        with open_file(adapter.model) as file:
            further[f"adapter {number}"] = file.seek(0, 2)
    return GgufFile(header, further, encoder)


def onnx_need(file: OnnxFile, model: OnnxModel) -> Need:
    """Estimate the memory of a token classifier for its batches.

    The arena holds the widest layer: four tensors of the feed-forward width (GELU, unfused) and two
    of the model width, plus the attention scores if they are too large for the free blocks that the
    others leave. Measured on the shipped model with onnxruntime's CPU arena: within 6% for windows
    of 256 tokens in batches of 512 to 2,048, and of 512 in batches of up to 1,024; 26 to 29% too
    high for windows of 512 in batches of 2,048 and more. Longer windows have not been measured.
    """
    longest = longest_window(file, model)
    rows = max(1, model.session.batch_tokens // longest)
    tokens = max(model.session.batch_tokens, longest)
    scores = _FLOAT * rows * file.heads * longest**2
    feed, width = _FLOAT * tokens * file.feed, _FLOAT * tokens * file.width
    activations = 4 * feed + 2 * width + (scores if scores > 2 * feed else 0)
    parts = {"weights": file.size, "activations": activations, "CUDA context": CUDA_CONTEXT}
    return Need(parts, 2 * file.size, exact=False)


def longest_window(file: OnnxFile, model: OnnxModel) -> int:
    """Tokens of the longest window, including special ones; longer ones are rejected on loading."""
    return min(model.window.size or file.longest, file.longest)


def read_onnx(folder: Path) -> OnnxFile:
    """Read the sizes of a model folder as exported by optimum; raises ConfigError if config.json
    lacks them and FileNotFoundError if files are missing."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # DistilBERT uses different names.
    names = {
        "width": ("hidden_size", "dim"),
        "feed": ("intermediate_size", "hidden_dim"),
        "heads": ("num_attention_heads", "n_heads"),
    }
    found = {}
    for key, known in names.items():
        value = next((config[name] for name in known if isinstance(config.get(name), int)), None)
        if value is None:
            raise ConfigError(
                f"{folder / 'config.json'}: has no {known[0]}, so its memory cannot be estimated"
            )
        found[key] = value
    # Large tensors are stored in separate files whose names start with the model's.
    size = sum(file.stat().st_size for file in folder.glob("model.onnx*"))
    return OnnxFile(size, longest=longest(config, folder), **found)
