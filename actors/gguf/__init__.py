"""GGUF models through llama.cpp; only this package and ``actors.vision`` import llama_cpp."""

from __future__ import annotations

from actors.extras import optional_imports

with optional_imports("a GGUF model"):
    from actors.gguf.backend import GenerativeBackend
    from actors.gguf.in_flight import InFlightDocument
    from actors.gguf.inputs import (
        DocumentError,
        Inputs,
        LoadedModel,
        Prepared,
        TextInputs,
        request_sampling,
        thinking,
    )
    from actors.gguf.model import LlamaModel
    from actors.gguf.runner import LlamaRunner

__all__ = [
    "DocumentError",
    "GenerativeBackend",
    "InFlightDocument",
    "Inputs",
    "LlamaModel",
    "LlamaRunner",
    "LoadedModel",
    "Prepared",
    "TextInputs",
    "request_sampling",
    "thinking",
]
