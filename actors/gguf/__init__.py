"""GGUF models through llama.cpp; only this package and ``actors.vision`` import llama_cpp."""

from __future__ import annotations

from actors.extras import optional_imports

with optional_imports("a GGUF model"):
    from actors.gguf.backend import GenerativeBackend
    from actors.gguf.inputs import (
        DocumentError,
        Inputs,
        LoadedModel,
        Prepared,
        TextInputs,
        request_sampling,
        thinking,
    )
    from actors.gguf.llama_runner import LlamaRunner
    from actors.gguf.model import LlamaModel
    from actors.gguf.prompted_document import PromptedDocument

__all__ = [
    "DocumentError",
    "GenerativeBackend",
    "Inputs",
    "LlamaModel",
    "LlamaRunner",
    "LoadedModel",
    "Prepared",
    "PromptedDocument",
    "TextInputs",
    "request_sampling",
    "thinking",
]
