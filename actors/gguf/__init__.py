"""GGUF models through llama.cpp; with ``actors.vision`` the only rooms that import llama_cpp."""

from __future__ import annotations

from actors.gguf.backend import GgufBackend
from actors.gguf.model import LlamaModel
from actors.gguf.runner import LlamaRunner

__all__ = ["GgufBackend", "LlamaModel", "LlamaRunner"]
