"""What a model needs of a card, all in all, and what of it can be chosen."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from actors.config import ConfigError, GgufModel, GlinerModel, OnnxModel
from actors.gliner_folder import read_gliner_folder
from actors.memory.header import Header, read_header
from actors.memory.llama import llama_take
from actors.memory.pictures import encoder_take, largest_picture
from actors.memory.shape import shape_of
from actors.model_folder import longest

CUDA_CONTEXT = 500 * 2**20
"""Bytes that a process takes of a card before it has a model: context, kernels, library handles. An
assumption that lies at the upper end of what drivers show; benchmarks/gpu_checks.py measures it."""

Opened = Callable[[str], AbstractContextManager[BinaryIO]]
_FLOAT = 4
_TOKEN_LABELS = 25


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes on a card by purpose, and on the host. ``exact`` is False where the model's graph is
    not known, so that what it computes with is taken for that of a like one."""

    parts: Mapping[str, int]
    host: int
    exact: bool

    @property
    def device(self) -> int:
        """Bytes on the card."""
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class GgufFile:
    """A language model's header, that of its encoder of pictures, and the bytes of what else is
    loaded beside it."""

    header: Header
    further: Mapping[str, int] = field(default_factory=dict)
    encoder: Header | None = None


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """An ONNX model's file, and the sizes in the configuration beside it; ``longest``: tokens of
    the longest sequence that it takes. ``spans``: numbers that spans take a token, 0 without."""

    size: int
    width: int
    feed: int
    heads: int
    longest: int
    spans: int = 0


def gguf_need(file: GgufFile, model: GgufModel) -> Need:
    """What a GGUF model needs with the options of its file."""
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
        # Encoded pictures wait in main memory for their turn in a batch.
        host, exact = host + seen.embeddings * model.context.slots, exact and seen.exact
    return Need(parts | {"CUDA context": CUDA_CONTEXT}, host, exact)


def read_gguf(open_file: Opened, model: GgufModel) -> GgufFile:
    """The heads of a model's files; ``open_file`` opens one, wherever it is."""
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


def onnx_need(file: OnnxFile, model: OnnxModel | GlinerModel) -> Need:
    """What a token classifier or a GLiNER model needs for its batches.

    The arena holds the widest layer: four tensors of the feed-forward's width (GELU, spelt out) and
    two of the model's; and the attention's scores beside them, where these are too large for gaps
    that the others leave. Measured on the shipped model with onnxruntime's arena on the CPU: within
    6% for windows of 256 tokens in batches of 512 to 2,048, and of 512 in batches of up to 1,024;
    26 to 29% too much for windows of 512 in batches of 2,048 and more. Longer windows have not been
    measured.
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
    return Need(parts, 2 * file.size, exact=False)


def longest_window(file: OnnxFile, model: OnnxModel | GlinerModel) -> int:
    """Tokens of the longest window, special ones included; a longer one is refused on loading."""
    return min(model.window.size or file.longest, file.longest)


def read_onnx(folder: Path) -> OnnxFile:
    """The sizes of a model folder as optimum exports it; raises ConfigError where config.json does
    not say them and FileNotFoundError where files are missing."""
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    # Large tensors lie in files of their own, whose names begin with the model's.
    size = sum(part.stat().st_size for part in folder.glob("model.onnx*"))
    return OnnxFile(size, longest=longest(config, folder), **_sizes(config, file))


def read_gliner(folder: Path) -> OnnxFile:
    """As ``read_onnx``, of a GLiNER model's folder; the sizes are those of its text encoder."""
    found = read_gliner_folder(folder)
    sizes = _sizes(found.encoder, folder / "gliner_config.json")
    size = sum(part.stat().st_size for part in folder.glob(f"{found.model.name}*"))
    # Of each span its two ends (with and without what is negative), the inner layer that is four
    # times as wide as the model (likewise), and the span itself.
    spans = found.width * sizes["width"] * (2 * 2 + 2 * 4 + 1)
    if found.token_level:
        # The same of each word and label, for as many labels as GLiNER is trained with at a time.
        spans = _TOKEN_LABELS * sizes["width"] * (3 + 2 * 4)
    return OnnxFile(size, longest=found.longest, spans=spans, **sizes)


def _sizes(config: Mapping[str, Any], file: Path) -> dict[str, int]:
    # DistilBERT has names of its own.
    names = {
        "width": ("hidden_size", "dim"),
        "feed": ("intermediate_size", "hidden_dim"),
        "heads": ("num_attention_heads", "n_heads"),
    }
    found = {}
    for key, known in names.items():
        value = next((config[name] for name in known if isinstance(config.get(name), int)), None)
        if value is None:
            raise ConfigError(f"{file}: has no {known[0]}: its need is unknown")
        found[key] = value
    return found
