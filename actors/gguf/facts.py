"""What a GGUF file says of itself, read without loading a weight."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import llama_cpp

from actors.config import ConfigError
from actors.gguf import library


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """A model file in numbers. ``kv_bytes_per_token`` is of a float16 KV cache with every layer
    attending to the whole context: an upper bound where some attend to a window only."""

    architecture: str
    name: str
    megabytes: float
    trained_context: int
    layers: int
    embedding: int
    heads: int
    kv_heads: int
    vocabulary: int
    kv_bytes_per_token: int
    chat_template: bool


def read_facts(path: Path) -> GgufFacts:
    """The facts of a GGUF file; raises FileNotFoundError, and ConfigError for a broken file."""
    if not path.is_file():
        raise FileNotFoundError(f"no model file {path}")
    library.start()
    library.loading_errors()
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        raise ConfigError(f"{path}: llama.cpp cannot read it: {library.loading_errors()}")
    try:
        tokens = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        return _facts(path, lambda key: _value(model, key), int(tokens))
    finally:
        llama_cpp.llama_model_free(model)


def _facts(path: Path, value: Callable[[str], str], vocabulary: int) -> GgufFacts:
    # The keys are those of GGUF's specification (ggml/docs/gguf.md).
    kind = value("general.architecture")

    def number(key: str, default: int = 0) -> int:
        return int(value(f"{kind}.{key}") or default)

    heads = number("attention.head_count")
    width = number("embedding_length")
    kv_heads = number("attention.head_count_kv", heads)
    per_head = width // heads if heads else 0
    key = number("attention.key_length", per_head)
    wide = number("attention.value_length", per_head)
    layers = number("block_count")
    return GgufFacts(
        architecture=kind,
        name=value("general.name"),
        megabytes=round(path.stat().st_size / 1e6, 1),
        trained_context=number("context_length"),
        layers=layers,
        embedding=width,
        heads=heads,
        kv_heads=kv_heads,
        vocabulary=vocabulary,
        kv_bytes_per_token=layers * kv_heads * (key + wide) * 2,
        chat_template=bool(value("tokenizer.chat_template")),
    )


def _value(model: object, key: str) -> str:
    """A value of the metadata as text, cut at 255 bytes; empty where there is none."""
    buffer = ctypes.create_string_buffer(256)
    length = llama_cpp.llama_model_meta_val_str(model, key.encode(), buffer, len(buffer))
    return buffer.value.decode("utf-8", "replace") if length >= 0 else ""
