"""Total GPU memory estimate of a model, by purpose."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from actors.config import ConfigError, GgufModel, GlinerModel, OnnxModel
from actors.config.gguf_parts import gguf_parts
from actors.gliner_folder import read_gliner_folder
from actors.memory.header import Header, joined, read_header
from actors.memory.image_encoder import encoder_memory, largest_picture
from actors.memory.llama import llama_memory
from actors.memory.shape import shape_of
from actors.model_folder import CLASSIFIER_FILES, longest, model_parts

CUDA_CONTEXT = 500 * 2**20
"""Bytes that a process uses on a GPU before it loads a model: context, kernels, library handles. An
assumption at the upper end of observed drivers; benchmarks/gpu_checks.py measures it."""

Opened = Callable[[str], AbstractContextManager[BinaryIO]]
_FLOAT = 4
_TOKEN_LABELS = 25


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
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
    """Size of an ONNX model's file, and the dimensions in its configuration; ``longest`` is the
    maximum sequence length in tokens. ``spans``: values per token that spans take, 0 without."""

    size: int
    width: int
    feed: int
    heads: int
    longest: int
    spans: int = 0


def estimate_gguf(file: GgufFile, model: GgufModel) -> MemoryEstimate:
    """Estimate the memory of a GGUF model with the options of its file."""
    header = file.header
    take, shape = (
        llama_memory(header, model.context, gpu=True),
        shape_of(header, model.context, True),
    )
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
        seen = encoder_memory(file.encoder, largest_picture(model), flash, together)
        parts |= {"encoder": seen.weights, "pictures": seen.compute}
        # Encoded images wait in main memory for their batch.
        host, exact = host + seen.embeddings * model.context.slots, exact and seen.exact
    return MemoryEstimate(parts | {"CUDA context": CUDA_CONTEXT}, host, exact)


def read_gguf(open_file: Opened, model: GgufModel) -> GgufFile:
    """Read the headers of a model's files; ``open_file`` opens a file at any location."""
    weights, further = model.weights, dict[str, int]()
    parts = []
    for part in gguf_parts(weights.model):
        with open_file(part) as file:
            parts.append(read_header(file, part))
    header = joined(parts)
    encoder = None
    if weights.mmproj is not None:
        with open_file(weights.mmproj) as file:
            encoder = read_header(file, weights.mmproj)
    for number, adapter in enumerate(weights.lora, start=1):
        with open_file(adapter.model) as file:
            further[f"adapter {number}"] = file.seek(0, 2)
    return GgufFile(header, further, encoder)


def estimate_onnx(file: OnnxFile, model: OnnxModel | GlinerModel) -> MemoryEstimate:
    """Estimate the memory of a token classifier or a GLiNER model for its batches.

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
    # Spans are scored when the layers are done: the larger of the two is what the arena holds.
    activations = max(activations, _FLOAT * tokens * file.spans)
    parts = {"weights": file.size, "activations": activations, "CUDA context": CUDA_CONTEXT}
    return MemoryEstimate(parts, 2 * file.size, exact=False)


def longest_window(file: OnnxFile, model: OnnxModel | GlinerModel) -> int:
    """Tokens of the longest window, including special ones; longer ones are rejected on loading."""
    return min(model.window.size or file.longest, file.longest)


def read_onnx(folder: Path, weights_file: str | None = None) -> OnnxFile:
    """Read the sizes of a model folder as exported by optimum; raises ConfigError if config.json
    lacks them and FileNotFoundError if files are missing. ``weights_file`` is ``weights.file``."""
    model, *_ = CLASSIFIER_FILES.chosen(weights_file).present(folder)
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    return OnnxFile(_size(model), longest=longest(config, folder), **_sizes(config, file))


def read_gliner(folder: Path, weights_file: str | None = None) -> OnnxFile:
    """Like ``read_onnx``, for a GLiNER model; the sizes are those of its text encoder."""
    found = read_gliner_folder(folder, weights_file)
    sizes = _sizes(found.encoder, folder / "gliner_config.json")
    size = _size(found.model)
    # Per span: its two ends (before and after the ReLU), the inner layer, four times as wide as
    # the model (likewise), and the span itself.
    spans = found.width * sizes["width"] * (2 * 2 + 2 * 4 + 1)
    if found.token_level:
        # The same per word and label, for as many labels as GLiNER is trained with at a time.
        spans = _TOKEN_LABELS * sizes["width"] * (3 + 2 * 4)
    return OnnxFile(size, longest=found.longest, spans=spans, **sizes)


def _size(model: Path) -> int:
    return sum(part.stat().st_size for part in model_parts(model))


def _sizes(config: Mapping[str, Any], file: Path) -> dict[str, int]:
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
            raise ConfigError(f"{file}: has no {known[0]}, so its memory cannot be estimated")
        found[key] = value
    return found
